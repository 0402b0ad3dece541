//! The bounded walk over one term: where it ends, and whether it is safe to look into.
//!
//! Decodes nothing, allocates nothing, does not recurse. Everything else in `codec` runs only on
//! bytes that passed here, so depth, counts and lengths have been checked by then. Refused, because
//! no current Erlang sends them or because a decoder behind would panic or trust their numbers:
//! compressed terms (80), distribution headers and atom cache references (68, 82), floats as text
//! (99), funs of before OTP 23 (117), local terms (121), native records (67), unknown tags.
//! Spec: OTP "External Term Format".

/// Deepest nesting of a term. OTP sets none; 256 is far above what people write, and a stack of
/// that many counts is 2 KiB.
pub(super) const DEPTH_MAX: usize = 256;

/// The byte before every term that stands alone.
pub const VERSION: u8 = 131;

/// The tags of the format that are accepted.
pub(crate) mod tag {
    pub(crate) const NEW_FLOAT: u8 = 70;
    pub(crate) const BIT_BINARY: u8 = 77;
    pub(crate) const NEW_PID: u8 = 88;
    pub(crate) const NEW_PORT: u8 = 89;
    pub(crate) const NEWER_REFERENCE: u8 = 90;
    pub(crate) const SMALL_INTEGER: u8 = 97;
    pub(crate) const INTEGER: u8 = 98;
    pub(crate) const ATOM: u8 = 100;
    pub(crate) const REFERENCE: u8 = 101;
    pub(crate) const PORT: u8 = 102;
    pub(crate) const PID: u8 = 103;
    pub(crate) const SMALL_TUPLE: u8 = 104;
    pub(crate) const LARGE_TUPLE: u8 = 105;
    pub(crate) const NIL: u8 = 106;
    pub(crate) const STRING: u8 = 107;
    pub(crate) const LIST: u8 = 108;
    pub(crate) const BINARY: u8 = 109;
    pub(crate) const SMALL_BIG: u8 = 110;
    pub(crate) const LARGE_BIG: u8 = 111;
    pub(crate) const NEW_FUN: u8 = 112;
    pub(crate) const EXPORT: u8 = 113;
    pub(crate) const NEW_REFERENCE: u8 = 114;
    pub(crate) const SMALL_ATOM: u8 = 115;
    pub(crate) const MAP: u8 = 116;
    pub(crate) const ATOM_UTF8: u8 = 118;
    pub(crate) const SMALL_ATOM_UTF8: u8 = 119;
    pub(crate) const V4_PORT: u8 = 120;
}

/// Why bytes are not a term that is accepted here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The bytes end before the term does, or a count promises more than the bytes can hold.
    #[error("the term is cut off")]
    Truncated,
    /// A tag that is not accepted.
    #[error("tag {0} is not accepted")]
    Tag(u8),
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX}")]
    TooDeep,
    /// Something inside a term that must not be there.
    #[error("malformed {0}")]
    Malformed(&'static str),
}

/// The length of the term at the start of `bytes`, tag included, version byte not.
pub(super) fn term_length(bytes: &[u8]) -> Result<usize, Refused> {
    let mut walk = Walk { bytes, at: 0 };
    if walk.step()? == 0 {
        // Most terms asked about are ids: spare them the stack.
        return Ok(walk.at);
    }
    walk.at = 0;
    // How many terms are still to come on each level.
    let mut stack = [0_usize; DEPTH_MAX];
    let mut depth = 0;
    stack[0] = 1;
    loop {
        while stack[depth] == 0 {
            if depth == 0 {
                return Ok(walk.at);
            }
            depth -= 1;
        }
        stack[depth] -= 1;
        let inside = walk.step()?;
        if inside > 0 {
            // Each term takes a byte at least.
            if inside > walk.left() {
                return Err(Refused::Truncated);
            }
            depth += 1;
            *stack.get_mut(depth).ok_or(Refused::TooDeep)? = inside;
        }
    }
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    /// Passes one term but for the terms inside it; how many those are.
    fn step(&mut self) -> Result<usize, Refused> {
        let tag = self.u8()?;
        match tag {
            tag::SMALL_INTEGER => self.skip(1),
            tag::INTEGER => self.skip(4),
            tag::NEW_FLOAT => self.skip(8),
            tag::NIL => Ok(0),
            tag::ATOM | tag::SMALL_ATOM | tag::ATOM_UTF8 | tag::SMALL_ATOM_UTF8 => {
                self.atom_body(tag)
            }
            tag::SMALL_TUPLE => self.u8().map(usize::from),
            tag::LARGE_TUPLE => self.u32(),
            // The elements and the tail.
            tag::LIST => self.u32()?.checked_add(1).ok_or(Refused::Truncated),
            tag::MAP => self.u32()?.checked_mul(2).ok_or(Refused::Truncated),
            tag::STRING => {
                let length = self.u16()?;
                self.skip(length)
            }
            tag::BINARY => {
                let length = self.u32()?;
                self.skip(length)
            }
            tag::BIT_BINARY => {
                let length = self.u32()?;
                let bits = self.u8()?;
                if length == 0 || !(1..=8).contains(&bits) {
                    return Err(Refused::Malformed("bit string"));
                }
                self.skip(length)
            }
            tag::SMALL_BIG => {
                let digits = usize::from(self.u8()?);
                self.skip(1 + digits)
            }
            tag::LARGE_BIG => {
                let digits = self.u32()?;
                self.skip(1)?;
                self.skip(digits)
            }
            tag::NEW_PID => self.atom_then(12),
            tag::PID => self.atom_then(9),
            tag::NEW_PORT => self.atom_then(8),
            tag::PORT => self.atom_then(5),
            tag::V4_PORT => self.atom_then(12),
            tag::REFERENCE => self.atom_then(5),
            tag::NEWER_REFERENCE => self.reference(4),
            tag::NEW_REFERENCE => self.reference(1),
            tag::EXPORT => Ok(3),
            tag::NEW_FUN => self.fun(),
            other => Err(Refused::Tag(other)),
        }
    }

    /// Size, arity, unique, index, then as terms: module, two integers, pid, free variables.
    fn fun(&mut self) -> Result<usize, Refused> {
        let size = self.u32()?;
        if size.saturating_sub(4) > self.left() {
            return Err(Refused::Truncated);
        }
        self.skip(1 + 16 + 4)?;
        self.u32()?.checked_add(4).ok_or(Refused::Truncated)
    }

    /// OTP never has more than 5 words in a reference.
    fn reference(&mut self, creation_bytes: usize) -> Result<usize, Refused> {
        let words = self.u16()?;
        if words == 0 || words > 5 {
            return Err(Refused::Malformed("reference"));
        }
        self.atom_then(creation_bytes + 4 * words)
    }

    fn atom_then(&mut self, bytes: usize) -> Result<usize, Refused> {
        let tag = self.u8()?;
        self.atom_body(tag)?;
        self.skip(bytes)
    }

    fn atom_body(&mut self, tag: u8) -> Result<usize, Refused> {
        let length = match tag {
            tag::ATOM | tag::ATOM_UTF8 => self.u16()?,
            tag::SMALL_ATOM | tag::SMALL_ATOM_UTF8 => usize::from(self.u8()?),
            _ => return Err(Refused::Malformed("node name")),
        };
        // 255 characters of at most 4 bytes.
        if length > 1020 {
            return Err(Refused::Malformed("atom"));
        }
        self.skip(length)
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn skip(&mut self, count: usize) -> Result<usize, Refused> {
        if count > self.left() {
            return Err(Refused::Truncated);
        }
        self.at += count;
        Ok(0)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.first_chunk::<N>().ok_or(Refused::Truncated)?;
        self.at += N;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Refused> {
        self.take().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<usize, Refused> {
        self.take()
            .map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }

    fn u32(&mut self) -> Result<usize, Refused> {
        self.take().map(|bytes| u32::from_be_bytes(bytes) as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_beyond_the_bytes_are_refused_at_once() {
        for hostile in [
            &[108, 255, 255, 255, 255, 106][..],
            &[105, 255, 255, 255, 255],
            &[116, 255, 255, 255, 255, 97, 1],
            &[109, 255, 255, 255, 255, 0],
            &[111, 255, 255, 255, 255, 0],
            &[112, 255, 255, 255, 255, 0],
            &[104, 3, 97, 1],
        ] {
            assert_eq!(term_length(hostile), Err(Refused::Truncated), "{hostile:?}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |levels: usize| {
            let mut bytes = [104, 1].repeat(levels);
            bytes.push(106);
            bytes
        };
        assert_eq!(term_length(&deep(DEPTH_MAX - 1)), Ok(2 * DEPTH_MAX - 1));
        assert_eq!(term_length(&deep(DEPTH_MAX)), Err(Refused::TooDeep));
        assert_eq!(term_length(&deep(200_000)), Err(Refused::TooDeep));
    }

    #[test]
    fn what_no_erlang_sends_is_refused() {
        for tag in [0, 67, 68, 80, 82, 99, 117, 121, 255] {
            let mut bytes = [0; 64];
            bytes[0] = tag;
            assert_eq!(term_length(&bytes), Err(Refused::Tag(tag)));
        }
        assert_eq!(
            term_length(&[77, 0, 0, 0, 1, 9, 0]),
            Err(Refused::Malformed("bit string"))
        );
    }

    proptest! {
        #[test]
        fn the_length_is_within_the_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(length) = term_length(&bytes) {
                prop_assert!(length <= bytes.len());
                prop_assert_eq!(term_length(&bytes[..length]), Ok(length));
                prop_assert!(term_length(&bytes[..length - 1]).is_err());
            }
        }
    }
}
