//! How far the client of a long poll has got, as it says it itself.
//!
//! A text that means something only here: whose slot it is, a key that nobody can guess, and how many
//! messages have been told. A slot that has begun anew has another key, and so has every connection
//! of an edge that has.

use std::fmt;
use std::str::FromStr;

/// How far a client has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Where its connection is.
    pub(super) slot: u32,
    /// What only its client knows.
    pub(super) key: u64,
    /// Messages that it has been told, since its connection began.
    pub(super) seen: u64,
}

/// This is no cursor of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cursor { slot, key, seen } = self;
        write!(f, "{slot:x}-{key:016x}-{seen:x}")
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Cursor, NoCursor> {
        let mut parts = text.split('-');
        let mut number = |digits_max| {
            let part = parts.next().ok_or(NoCursor)?;
            let is_hex = part.bytes().all(|byte| byte.is_ascii_hexdigit());
            let number = u64::from_str_radix(part, 16).map_err(|_| NoCursor)?;
            (is_hex && part.len() <= digits_max)
                .then_some(number)
                .ok_or(NoCursor)
        };
        let cursor = Cursor {
            slot: u32::try_from(number(8)?).map_err(|_| NoCursor)?,
            key: number(16)?,
            seen: number(16)?,
        };
        parts.next().is_none().then_some(cursor).ok_or(NoCursor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_said_is_understood(slot: u32, key: u64, seen: u64) {
            let cursor = Cursor { slot, key, seen };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn any_text_is_answered(text in "[0-9a-f+-]{0,40}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(text.matches('-').count(), 2);
                prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
            }
        }
    }

    #[test]
    fn other_texts_are_none() {
        for text in [
            "",
            "-",
            "--",
            "1-2",
            "1-2-3-4",
            "+1-2-3",
            "100000000-1-1",
            "x-1-1",
            "1-1-1 ",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(NoCursor), "{text}");
        }
    }
}
