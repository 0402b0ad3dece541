//! The mask of what clients send: RFC 6455, section 5.3.
//!
//! Eight bytes at a time; it keeps no place: a mask that goes on is turned by whoever goes on.

/// Takes the mask off, or puts it on.
pub(super) fn mask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for eight in words {
        *eight = (u64::from_ne_bytes(*eight) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// The mask for what comes behind `count` bytes.
pub(super) fn turned(mut key: [u8; 4], count: usize) -> [u8; 4] {
    key.rotate_left(count % 4);
    key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_mask_of_the_section(bytes in prop::collection::vec(any::<u8>(), 0..40), key: [u8; 4], cut in 0_usize..40) {
            let expected: Vec<u8> = bytes.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
            let cut = cut.min(bytes.len());
            let mut masked = bytes;
            let (one, other) = masked.split_at_mut(cut);
            mask(one, key);
            mask(other, turned(key, cut));
            prop_assert_eq!(masked, expected);
        }
    }
}
