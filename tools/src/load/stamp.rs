//! Stamps in payloads, `m:<20 digits>#<id>;`, found wherever a cut falls.
//!
//! The digits are the sender's CLOCK_REALTIME in nanoseconds, the id is whom the message was meant
//! for. It does not say what a stamp means: the report does. Something that begins like a stamp
//! and goes on otherwise is payload like any other.

/// A stamp, and whether its id is the one it was found under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// When it was sent: nanoseconds since the Unix epoch, by the sender's clock.
    pub(super) sent_ns: u64,
    /// False: the message reached somebody else than it was meant for.
    pub(super) ours: bool,
}

/// Where `#` stands in a stamp: after `m:` and 20 digits.
const HASH_AT: u8 = 22;

/// Where the id begins.
const ID_AT: u8 = HASH_AT + 1;

/// Bytes of an id before we believe that this is no stamp: no id of ours has more than 20.
const ID_BYTES_MAX: u8 = 64;

/// Recognises stamps; one per connection, so it is small.
#[derive(Debug, Default)]
pub(super) struct StampMatcher {
    sent_ns: u64,
    id: u64,
    /// Bytes of the stamp seen so far; 0 outside.
    at: u8,
    /// The id so far is not a number.
    foreign: bool,
}

impl StampMatcher {
    /// Forgets a stamp begun: stamps do not cross messages.
    pub(super) fn reset(&mut self) {
        self.at = 0;
    }

    /// Looks through `payload` of a message that reached `id`.
    pub(super) fn feed(&mut self, mut payload: &[u8], id: u64, mut sink: impl FnMut(Stamp)) {
        loop {
            if self.at == 0 {
                let Some(m) = memchr::memchr(b'm', payload) else {
                    return;
                };
                payload = &payload[m + 1..];
                self.at = 1;
            }
            let Some((&byte, rest)) = payload.split_first() else {
                return;
            };
            payload = rest;
            if let Some(stamp) = self.byte(byte, id) {
                sink(stamp);
            }
        }
    }

    fn byte(&mut self, byte: u8, id: u64) -> Option<Stamp> {
        match (self.at, byte) {
            (1, b':') => {
                self.sent_ns = 0;
                self.at += 1;
            }
            (2..HASH_AT, b'0'..=b'9') => {
                let sent_ns = self.sent_ns.checked_mul(10);
                match sent_ns.and_then(|ns| ns.checked_add(u64::from(byte - b'0'))) {
                    Some(ns) => {
                        self.sent_ns = ns;
                        self.at += 1;
                    }
                    None => self.at = 0,
                }
            }
            (HASH_AT, b'#') => {
                self.id = 0;
                self.foreign = false;
                self.at = ID_AT;
            }
            (ID_AT, b';') => self.at = 0,
            (ID_AT.., b';') => {
                self.at = 0;
                return Some(Stamp {
                    sent_ns: self.sent_ns,
                    ours: !self.foreign && self.id == id,
                });
            }
            (ID_AT.., _) if self.at < ID_AT + ID_BYTES_MAX => self.id_byte(byte),
            (_, b'm') => self.at = 1,
            _ => self.at = 0,
        }
        None
    }

    fn id_byte(&mut self, byte: u8) {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
        let id = digit.and_then(|digit| self.id.checked_mul(10)?.checked_add(digit));
        match id {
            Some(id) => self.id = id,
            None => self.foreign = true,
        }
        self.at += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found<'a>(parts: impl IntoIterator<Item = &'a [u8]>, id: u64) -> Vec<(u64, bool)> {
        let mut matcher = StampMatcher::default();
        let mut stamps = Vec::new();
        for part in parts {
            matcher.feed(part, id, |stamp| stamps.push((stamp.sent_ns, stamp.ours)));
        }
        stamps
    }

    #[test]
    fn stamps_are_found_anywhere_and_nothing_else_is() {
        let sent = 1_700_000_000_123_456_789;
        let stamp = format!("m:{sent:020}#42;");
        let broken = format!("m:m:{stamp}mm{stamp}m:123#42;m:{sent:020}#;m:{sent:020}x{stamp}tail");
        assert_eq!(found([broken.as_bytes()], 42), [(sent, true); 3]);
        assert_eq!(found([stamp.as_bytes()], 43), [(sent, false)]);
        let overflow = format!("m:{}#42;", "9".repeat(20));
        assert!(found([overflow.as_bytes()], 42).is_empty());
    }

    #[test]
    fn an_id_that_is_no_number_is_somebody_else() {
        assert_eq!(found([&b"m:00000000000000000001#4x;"[..]], 4), [(1, false)]);
        let long = format!("m:00000000000000000001#{};", "1".repeat(64));
        assert_eq!(found([long.as_bytes()], 1), [(1, false)]);
        let longer = format!("m:00000000000000000001#{};", "1".repeat(65));
        assert!(found([longer.as_bytes()], 1).is_empty());
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(
            parts in prop::collection::vec(
                prop::sample::select(&[
                    "m", ":", "#", ";", "7", "m:", "12345678901234567890", "0000000000",
                    "m:01700000000123456789#7;", "m:01700000000123456789#8;", "x",
                ][..]), 0..30),
            cuts in prop::collection::vec(1_usize..6, 0..100),
        ) {
            let text = parts.concat();
            let whole = found([text.as_bytes()], 7);
            prop_assert_eq!(&found(crate::load::cut(text.as_bytes(), &cuts), 7), &whole);
            prop_assert_eq!(&found(text.as_bytes().chunks(1), 7), &whole);
        }
    }
}
