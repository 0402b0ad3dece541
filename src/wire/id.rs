//! The address of a user or device.
//!
//! Two ids are equal exactly when Erlang's `=:=` holds for the terms they stand for. An id
//! never holds a decoded Erlang term: what is neither a small integer nor a binary is kept as
//! the bytes of its canonical external encoding, which `term` writes.

use std::fmt;
use std::hash::{Hash, Hasher};

/// An integer, a binary, or any other Erlang term.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Id {
    /// An integer that fits 64 signed bits; larger ones are [`Id::Term`].
    Int(i64),
    /// An Erlang binary.
    Bin(Box<[u8]>),
    /// Any other term: its canonical external format, without the version byte.
    Term(Box<[u8]>),
}

impl Id {
    /// The id that a path segment names: digits up to 9,223,372,036,854,775,807 are an integer,
    /// anything else is a binary. `segment` is already percent-decoded.
    pub fn from_path_segment(segment: &[u8]) -> Id {
        let digits = !segment.is_empty() && segment.iter().all(u8::is_ascii_digit);
        let parsed = digits
            .then(|| std::str::from_utf8(segment).ok())
            .flatten()
            .and_then(|text| text.parse::<i64>().ok());
        match parsed {
            Some(number) => Id::Int(number),
            None => Id::Bin(segment.into()),
        }
    }

    /// Bytes on the heap, for the byte bounds of queues.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Id::Int(_) => 0,
            Id::Bin(bytes) | Id::Term(bytes) => bytes.len(),
        }
    }
}

/// The value alone: an integer, as nearly all ids are, costs its hasher one step. Equal ids have equal
/// hashes; a binary that has the bytes of a term meets it in the same bucket, which is rare and legal.
impl Hash for Id {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Id::Int(value) => state.write_i64(*value),
            Id::Bin(bytes) | Id::Term(bytes) => state.write(bytes),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Int(number) => write!(f, "{number}"),
            Id::Bin(bytes) => write!(f, "<<\"{}\">>", bytes.escape_ascii()),
            Id::Term(bytes) => write!(f, "term:{}", bytes.escape_ascii()),
        }
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_integers_and_the_rest_binaries() {
        assert_eq!(Id::from_path_segment(b"123"), Id::Int(123));
        assert_eq!(
            Id::from_path_segment(b"9223372036854775807"),
            Id::Int(i64::MAX)
        );
        for text in ["9223372036854775808", "-1", "+1", "alice", "12a", ""] {
            assert_eq!(
                Id::from_path_segment(text.as_bytes()),
                Id::Bin(text.as_bytes().into())
            );
        }
    }
}
