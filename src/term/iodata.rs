//! Flattening iodata: a binary, or a list of bytes, binaries and lists of the same.
//!
//! One pass without recursion; the result is never longer than the term. Bit strings are no
//! iodata, as in Erlang.

use bytes::Bytes;

use super::scan::{DEPTH_MAX, tag};

/// From this length on a lone binary is shared with the frame that brought it, below it is copied:
/// a share keeps the whole read (256 KiB at most, unless the frame itself is larger) alive while it
/// waits for its shard, so sharing costs at most 16 times the bytes that the shard's queue counts.
/// What `dist` recognises at sight is always shared: there the queue counts the read.
const SHARE_BYTES_MIN: usize = 16 * 1024;

/// And from this part of its frame on, for frames larger than a read.
const SHARE_PART: usize = 16;

/// The bytes of a scanned term that is iodata, `None` when it is something else. `frame` is the
/// buffer that the term lies in.
pub(super) fn flatten(term: &[u8], frame: &Bytes) -> Option<Bytes> {
    if let [tag::BINARY, _, _, _, _, bytes @ ..] = term {
        let is_large = bytes.len() >= SHARE_BYTES_MIN.max(frame.len() / SHARE_PART);
        return Some(if is_large {
            frame.slice_ref(bytes)
        } else {
            Bytes::copy_from_slice(bytes)
        });
    }
    matches!(term.first()?, &tag::LIST | &tag::STRING | &tag::NIL).then_some(())?;
    flatten_list(term).map(Bytes::from)
}

/// The bytes of a scanned list that is iodata.
pub(crate) fn flatten_list(term: &[u8]) -> Option<Vec<u8>> {
    let mut flat = Vec::with_capacity(term.len());
    // Terms still to come on each level: the elements of a list, then its tail.
    let mut stack = [0_usize; DEPTH_MAX + 1];
    let mut depth = 0;
    stack[0] = 1;
    let mut rest = term;
    loop {
        while stack[depth] == 0 {
            if depth == 0 {
                return rest.is_empty().then_some(flat);
            }
            depth -= 1;
        }
        // A byte may be an element, not a tail.
        let is_tail = stack[depth] == 1;
        stack[depth] -= 1;
        let (tag, body) = rest.split_first()?;
        rest = match *tag {
            tag::SMALL_INTEGER if !is_tail => {
                let (byte, rest) = body.split_first()?;
                flat.push(*byte);
                rest
            }
            tag::STRING => {
                let (length, body) = body.split_first_chunk()?;
                let (bytes, rest) =
                    body.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
                flat.extend_from_slice(bytes);
                rest
            }
            tag::BINARY => {
                let (length, body) = body.split_first_chunk()?;
                let (bytes, rest) = body.split_at_checked(u32::from_be_bytes(*length) as usize)?;
                flat.extend_from_slice(bytes);
                rest
            }
            tag::NIL => body,
            tag::LIST => {
                let (count, body) = body.split_first_chunk()?;
                depth += 1;
                *stack.get_mut(depth)? = (u32::from_be_bytes(*count) as usize).checked_add(1)?;
                body
            }
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::write::Writer;
    use super::*;

    fn flat(write: impl FnOnce(&mut Writer)) -> Option<Vec<u8>> {
        let mut writer = Writer::new();
        write(&mut writer);
        let frame = Bytes::from(writer.into_bytes());
        flatten(&frame, &frame).map(Vec::from)
    }

    #[test]
    fn iodata_is_flattened() {
        assert_eq!(
            flat(|w| {
                w.binary(b"hello");
            })
            .unwrap(),
            b"hello"
        );
        assert_eq!(
            flat(|w| {
                w.nil();
            })
            .unwrap(),
            b""
        );
        assert_eq!(
            flat(|w| {
                w.raw(&[107, 0, 2, 104, 105]);
            })
            .unwrap(),
            b"hi"
        );
        let nested = flat(|w| {
            w.list(3)
                .int(104)
                .binary(b"el")
                .list(1)
                .raw(&[107, 0, 1, 108])
                .nil()
                .binary(b"o");
        });
        assert_eq!(nested.unwrap(), b"hello", "with a binary as tail");
    }

    #[test]
    fn what_is_no_iodata_is_none() {
        assert_eq!(
            flat(|w| {
                w.atom("hello");
            }),
            None
        );
        assert_eq!(
            flat(|w| {
                w.int(65);
            }),
            None
        );
        assert_eq!(
            flat(|w| {
                w.list(1).int(256).nil();
            }),
            None
        );
        assert_eq!(
            flat(|w| {
                w.list(1).int(1).int(2);
            }),
            None,
            "a byte is no tail"
        );
        assert_eq!(
            flat(|w| {
                w.list(1).atom("a").nil();
            }),
            None
        );
        assert_eq!(
            flat(|w| {
                w.bit_binary(&[1], 3);
            }),
            None
        );
    }

    #[test]
    fn long_binaries_are_shared_short_ones_copied() {
        for (length, shared) in [(SHARE_BYTES_MIN, true), (SHARE_BYTES_MIN - 1, false)] {
            let mut writer = Writer::new();
            writer.binary(&vec![7; length]);
            let frame = Bytes::from(writer.into_bytes());
            let payload = flatten(&frame, &frame).unwrap();
            let inside = frame.as_ptr_range().contains(&payload.as_ptr());
            assert_eq!(inside, shared);
        }
    }
}
