//! The shapes of a frame's body, told apart by their first bytes: the one place that knows them.
//!
//! ```text
//!   112  131 Control [131 Payload]         pass-through: links without fragments
//!   131 68 0  Control [Payload]            a whole message: links with fragments
//!   131 69 Sequence:64 Left:64 0  Control Part      the first of `Left` parts
//!   131 70 Sequence:64 Left:64  Part                one more; the last has `Left` 1
//! ```
//!
//! Keeps no parts (`link::assembly` does) and does not look into terms. What Erlang sends is fixed
//! by the flags of the link; what is read here is not, each shape says what it is. Headers that use
//! the atom cache are refused: it is never negotiated. Spec: OTP "Distribution Protocol", sections
//! "Protocol between Connected Nodes" and "Distribution Header".

use super::control::Malformed;
use crate::term::VERSION;

/// The mark of a frame without a distribution header.
pub(crate) const PASS_THROUGH: u8 = 112;
const WHOLE: u8 = 68;
const FIRST: u8 = 69;
const NEXT: u8 = 70;

/// What a whole message begins with on a link with fragments.
pub(crate) const HEADER: [u8; 3] = [VERSION, WHOLE, 0];

/// What a frame brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    Whole(Message<'a>),
    First(Part<'a>),
    Next(Part<'a>),
}

/// A control message and what it carries, encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// The control message, without its version byte, and all behind it.
    pub(crate) bytes: &'a [u8],
    /// Whether the payload begins with a version byte.
    pub(crate) is_versioned: bool,
}

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    /// Which message it belongs to, among those that are open on the link.
    pub(crate) sequence: u64,
    /// How many parts are left, this one included.
    pub(crate) left: u64,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// A message put together from its parts.
    pub(crate) fn assembled(bytes: &'a [u8]) -> Message<'a> {
        Message {
            bytes,
            is_versioned: false,
        }
    }
}

/// What the body of a frame is.
pub(crate) fn open(body: &[u8]) -> Result<Body<'_>, Malformed> {
    match body {
        [PASS_THROUGH, VERSION, bytes @ ..] => Ok(Body::Whole(Message {
            bytes,
            is_versioned: true,
        })),
        [VERSION, WHOLE, 0, bytes @ ..] => Ok(Body::Whole(Message::assembled(bytes))),
        [VERSION, FIRST, rest @ ..] => match part(rest)? {
            (sequence, left, [0, bytes @ ..]) => Ok(Body::First(Part {
                sequence,
                left,
                bytes,
            })),
            _ => Err(Malformed("it uses the atom cache")),
        },
        [VERSION, NEXT, rest @ ..] => part(rest).map(|(sequence, left, bytes)| {
            Body::Next(Part {
                sequence,
                left,
                bytes,
            })
        }),
        [VERSION, WHOLE, ..] => Err(Malformed("it uses the atom cache")),
        _ => Err(Malformed(
            "it begins neither with 112 nor with 131 and 68, 69 or 70",
        )),
    }
}

fn part(rest: &[u8]) -> Result<(u64, u64, &[u8]), Malformed> {
    let numbers = rest.split_first_chunk().and_then(|(sequence, rest)| {
        let (left, bytes) = rest.split_first_chunk()?;
        Some((
            u64::from_be_bytes(*sequence),
            u64::from_be_bytes(*left),
            bytes,
        ))
    });
    match numbers {
        Some((_, 0, _)) => Err(Malformed("a part that comes after the last")),
        Some(part) => Ok(part),
        None => Err(Malformed("the header of its part is cut off")),
    }
}

/// Writes the header of a part: of the first, where `is_first`, which the control message follows.
pub(crate) fn write_part_header(out: &mut Vec<u8>, sequence: u64, left: u64, is_first: bool) {
    out.extend([VERSION, if is_first { FIRST } else { NEXT }]);
    out.extend(sequence.to_be_bytes());
    out.extend(left.to_be_bytes());
    if is_first {
        out.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_they_were_written() {
        for is_first in [true, false] {
            let mut body = Vec::new();
            write_part_header(&mut body, 7, 1 << 40, is_first);
            body.extend(b"abc");
            let part = Part {
                sequence: 7,
                left: 1 << 40,
                bytes: b"abc",
            };
            let expected = if is_first {
                Body::First(part)
            } else {
                Body::Next(part)
            };
            assert_eq!(open(&body), Ok(expected));
            assert!(open(&body[..15]).is_err());
        }
    }

    #[test]
    fn the_atom_cache_and_parts_after_the_last_are_refused() {
        assert!(open(&[131, 68, 1, 0]).is_err());
        assert!(open(&[131, 68]).is_err());
        let mut body = Vec::new();
        write_part_header(&mut body, 7, 0, false);
        assert!(open(&body).is_err());
        body.clear();
        write_part_header(&mut body, 7, 1, true);
        *body.last_mut().unwrap() = 1;
        assert!(open(&body).is_err());
    }
}
