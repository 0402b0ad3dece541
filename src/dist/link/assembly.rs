//! Messages that come in parts, put together again.
//!
//! No terms here: parts go in, the bytes of a whole message come out. Parts of different messages
//! may come in any mixture. Memory is taken for parts that are there, never for a number that a
//! peer sent; a message that would be larger than a frame may be, or than what all open messages of
//! the link may take together, is given up: its beginning comes out, so that a caller can be
//! answered, and the rest of it is skipped. A part of no open message, a beginning that is open
//! already and parts out of order end the link, as they do in OTP.
//! Spec: OTP "Distribution Protocol", section "Distribution Header for Fragmented Messages".

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::dist::codec::{Malformed, Part};
use crate::metrics::Metrics;

/// Messages that may be open at once. Each Erlang process has at most one, so only a node where so
/// many processes send more than 64 KiB each at the same time comes near; an entry without bytes
/// takes about 100 bytes.
const OPEN_MAX: usize = 65_536;

/// What all open messages of a link may take, in messages of the largest size: some of the largest
/// at once, or very many of the usual.
const TOTAL_IN_MESSAGES: usize = 4;

/// What a part makes of the message that it belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// More parts are to come.
    Open,
    /// This was the last: control message and payload.
    Whole(Bytes),
    /// It is too large and has been given up; this is its beginning.
    GivenUp(Vec<u8>),
}

/// The open messages of one link.
#[derive(Debug)]
pub(crate) struct Assemblies {
    open: HashMap<u64, Assembly>,
    /// What they take together.
    bytes: usize,
    message_bytes_max: usize,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Assembly {
    /// How many parts are to come.
    left: u64,
    /// `None` once it has been given up.
    bytes: Option<Vec<u8>>,
}

impl Assemblies {
    pub(crate) fn new(message_bytes_max: usize, metrics: Arc<Metrics>) -> Assemblies {
        Assemblies {
            open: HashMap::new(),
            bytes: 0,
            message_bytes_max,
            metrics,
        }
    }

    /// The first part of a message.
    pub(crate) fn begin(&mut self, part: Part<'_>) -> Result<Outcome, Malformed> {
        if self.open.len() >= OPEN_MAX {
            return Err(Malformed("too many messages are open at once"));
        }
        let assembly = Assembly {
            left: part.left,
            bytes: Some(Vec::new()),
        };
        if self.open.insert(part.sequence, assembly).is_some() {
            return Err(Malformed("a message begins that is open already"));
        }
        self.go_on(part)
    }

    /// A part of an open message.
    pub(crate) fn go_on(&mut self, part: Part<'_>) -> Result<Outcome, Malformed> {
        let total_max = self.message_bytes_max.saturating_mul(TOTAL_IN_MESSAGES);
        let assembly = self
            .open
            .get_mut(&part.sequence)
            .ok_or(Malformed("a part of no open message"))?;
        if assembly.left != part.left {
            return Err(Malformed("parts are out of order"));
        }
        assembly.left -= 1;
        let is_last = assembly.left == 0;
        let mut outcome = Outcome::Open;
        if let Some(bytes) = &mut assembly.bytes {
            let added = part.bytes.len();
            if bytes.len() + added > self.message_bytes_max || self.bytes + added > total_max {
                let given_up = assembly.bytes.take().unwrap_or_default();
                self.bytes -= given_up.len();
                self.metrics.assembly_bytes.sub(given_up.len() as u64);
                outcome = Outcome::GivenUp(given_up);
            } else {
                grow(bytes, added, assembly.left, self.message_bytes_max);
                bytes.extend_from_slice(part.bytes);
                self.bytes += added;
                self.metrics.assembly_bytes.add(added as u64);
            }
        }
        if is_last
            && let Some(Assembly {
                bytes: Some(bytes), ..
            }) = self.open.remove(&part.sequence)
        {
            self.bytes -= bytes.len();
            self.metrics.assembly_bytes.sub(bytes.len() as u64);
            outcome = Outcome::Whole(Bytes::from(bytes));
        }
        Ok(outcome)
    }
}

impl Drop for Assemblies {
    fn drop(&mut self) {
        self.metrics.assembly_bytes.sub(self.bytes as u64);
    }
}

/// Room that is left behind the first part: what a payload of 64 KiB and its envelope have beyond
/// 64 KiB, so that the usual large message is copied once.
const REST_BYTES: usize = 1024;

/// Doubles, but not beyond what a message may have, nor what the parts to come would need if they were
/// as large as this one: a large message is then copied only a few times and takes at most twice what
/// has come of it.
fn grow(bytes: &mut Vec<u8>, added: usize, left: u64, message_bytes_max: usize) {
    let needed = bytes.len() + added;
    if needed > bytes.capacity() {
        let to_come = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .saturating_mul(added);
        let doubled = bytes.len().saturating_sub(added);
        let room = doubled.max(REST_BYTES.min(added)).min(to_come);
        bytes.reserve_exact(added + room.min(message_bytes_max - needed));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(sequence: u64, left: u64, bytes: &[u8]) -> Part<'_> {
        Part {
            sequence,
            left,
            bytes,
        }
    }

    fn assemblies(message_bytes_max: usize) -> (Assemblies, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::default());
        let assemblies = Assemblies::new(message_bytes_max, Arc::clone(&metrics));
        (assemblies, metrics)
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_were_cut(
            messages in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 1..6), 1..6
            ),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let (mut assemblies, metrics) = assemblies(100);
            let mut next = vec![0; messages.len()];
            let mut whole = vec![None; messages.len()];
            // A random mixture, then what is missing.
            let mixture = order.iter().map(|index| index.index(messages.len()));
            let rest = (0..messages.len()).flat_map(|which| [which; 6]);
            for which in mixture.chain(rest) {
                let parts = &messages[which];
                let Some(bytes) = parts.get(next[which]) else { continue };
                let one = part(which as u64, (parts.len() - next[which]) as u64, bytes);
                let outcome = if next[which] == 0 {
                    assemblies.begin(one)
                } else {
                    assemblies.go_on(one)
                };
                next[which] += 1;
                if let Outcome::Whole(bytes) = outcome.unwrap() {
                    whole[which] = Some(bytes.to_vec());
                }
            }
            for (parts, whole) in messages.iter().zip(whole) {
                prop_assert_eq!(Some(parts.concat()), whole);
            }
            prop_assert_eq!((assemblies.open.len(), assemblies.bytes), (0, 0));
            prop_assert_eq!(metrics.assembly_bytes.value(), 0);
        }
    }

    #[test]
    fn broken_sequences_are_malformed() {
        let (mut assemblies, metrics) = assemblies(100);
        assert!(assemblies.go_on(part(1, 2, b"a")).is_err());
        assert_eq!(assemblies.begin(part(1, 3, b"a")), Ok(Outcome::Open));
        assert!(assemblies.go_on(part(1, 1, b"b")).is_err());
        assert!(assemblies.begin(part(1, 3, b"a")).is_err());
        drop(assemblies);
        assert_eq!(metrics.assembly_bytes.value(), 0);
    }

    #[test]
    fn what_is_too_large_is_given_up_and_its_rest_skipped() {
        let (mut assemblies, metrics) = assemblies(10);
        assert_eq!(assemblies.begin(part(1, 4, &[1; 9])), Ok(Outcome::Open));
        let given_up = Outcome::GivenUp(vec![1; 9]);
        assert_eq!(assemblies.go_on(part(1, 3, &[2; 2])), Ok(given_up));
        assert_eq!(metrics.assembly_bytes.value(), 0);
        assert_eq!(assemblies.go_on(part(1, 2, &[3; 99])), Ok(Outcome::Open));
        assert_eq!(assemblies.go_on(part(1, 1, &[4; 99])), Ok(Outcome::Open));
        assert!(assemblies.open.is_empty());
        // All of them together: four times the largest.
        for sequence in 0..4 {
            let one = part(sequence, 2, &[0; 10]);
            assert_eq!(assemblies.begin(one), Ok(Outcome::Open));
        }
        let outcome = assemblies.begin(part(4, 2, &[0; 1]));
        assert_eq!(outcome, Ok(Outcome::GivenUp(Vec::new())));
        assert!(assemblies.go_on(part(0, 1, &[])).is_ok());
    }

    #[test]
    fn an_announced_number_reserves_nothing() {
        let (mut assemblies, _) = assemblies(usize::MAX);
        assert_eq!(assemblies.begin(part(1, u64::MAX, b"a")), Ok(Outcome::Open));
        let bytes = assemblies.open[&1].bytes.as_ref().unwrap();
        assert!(bytes.capacity() < 100);
    }
}
