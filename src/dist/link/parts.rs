//! Large messages on their way out, cut into parts so that ticks and other messages get in between.
//!
//! No I/O and no bounds: the queue counts the bytes. One lane for each receiver that a large message
//! is going to: what else is for the same process waits behind it, because Erlang promises that
//! messages between two processes keep their order; everything else passes. The lanes take turns.

use std::collections::VecDeque;

use crate::dist::codec::{HEADER, Outgoing, Receiver, write_part_header};

/// The longest part, and the longest message that goes out in one frame: as OTP cuts.
const PART_BYTES_MAX: usize = 64 * 1024;

/// Messages that wait behind, or are, a large one.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: VecDeque<Lane>,
    last_sequence: u64,
    /// What [`Lanes::take`] will still count, 4 for the length of each message included.
    bytes: usize,
}

#[derive(Debug)]
struct Lane {
    to: Receiver,
    messages: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    body: Vec<u8>,
    /// Where the first part may end at the earliest; `None`: the message goes out whole.
    cut_from: Option<usize>,
    /// How much of the body has been taken.
    taken: usize,
    sequence: u64,
    left: u64,
}

impl Lanes {
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the message if it is large, or for somebody to whom a large one is going.
    pub(crate) fn push(&mut self, message: &Outgoing) -> bool {
        let lane = self.lanes.iter().position(|lane| lane.to == message.to);
        let is_large = message.cut_from.is_some() && message.body.len() > PART_BYTES_MAX;
        if lane.is_none() && !is_large {
            return false;
        }
        let mut waiting = Waiting {
            body: message.body.clone(),
            cut_from: message.cut_from.filter(|_| is_large),
            taken: 0,
            sequence: 0,
            left: 1,
        };
        if is_large {
            self.last_sequence += 1;
            waiting.sequence = self.last_sequence;
            let rest = message.body.len() - waiting.first_end();
            waiting.left += rest.div_ceil(PART_BYTES_MAX) as u64;
        }
        self.bytes += 4 + waiting.body.len();
        match lane.and_then(|at| self.lanes.get_mut(at)) {
            Some(lane) => lane.messages.push_back(waiting),
            None => self.lanes.push_back(Lane {
                to: message.to,
                messages: VecDeque::from([waiting]),
            }),
        }
        true
    }

    /// Appends the next frame of the lane whose turn it is; how many bytes of what
    /// [`Lanes::bytes`] said that was.
    pub(crate) fn take(&mut self, out: &mut Vec<u8>) -> usize {
        let Some(mut lane) = self.lanes.pop_front() else {
            return 0;
        };
        let Some(message) = lane.messages.front_mut() else {
            return 0;
        };
        let begun = if message.taken == 0 { 4 } else { 0 };
        let before = message.taken;
        message.write_frame(out);
        let counted = begun + message.taken - before;
        self.bytes -= counted;
        if message.taken == message.body.len() {
            lane.messages.pop_front();
        }
        if !lane.messages.is_empty() {
            self.lanes.push_back(lane);
        }
        counted
    }
}

impl Waiting {
    /// All of the control message is in the first part.
    fn first_end(&self) -> usize {
        let length = self.body.len();
        self.cut_from
            .unwrap_or(length)
            .max(PART_BYTES_MAX)
            .min(length)
    }

    fn write_frame(&mut self, out: &mut Vec<u8>) {
        let length_at = out.len();
        out.extend([0; 4]);
        let is_first = self.taken == 0;
        let mut end = self.body.len();
        if self.sequence == 0 {
            out.extend(&self.body);
        } else {
            write_part_header(out, self.sequence, self.left, is_first);
            let start = if is_first {
                end = self.first_end();
                HEADER.len()
            } else {
                end = end.min(self.taken + PART_BYTES_MAX);
                self.taken
            };
            out.extend_from_slice(&self.body[start..end]);
            self.left -= 1;
        }
        self.taken = end;
        let length = u32::try_from(out.len() - length_at - 4).unwrap_or(u32::MAX);
        out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dist::codec::{Body, open};
    use crate::dist::link::assembly::{Assemblies, Outcome};
    use crate::metrics::Metrics;

    fn message(to: u64, payload_bytes: usize) -> Outgoing {
        let mut body = HEADER.to_vec();
        body.extend(b"control");
        let cut_from = Some(body.len());
        body.extend((0..payload_bytes).map(|at| u8::try_from(at % 251).unwrap()));
        Outgoing {
            body,
            cut_from,
            to: Receiver(to),
        }
    }

    /// Takes everything; each message when its last frame comes, in that order.
    fn delivered(lanes: &mut Lanes) -> Vec<Vec<u8>> {
        let mut assemblies = Assemblies::new(usize::MAX, Arc::new(Metrics::default()));
        let mut delivered = Vec::new();
        while !lanes.is_empty() {
            let mut out = Vec::new();
            lanes.take(&mut out);
            let (length, body) = out.split_first_chunk().unwrap();
            assert_eq!(u32::from_be_bytes(*length) as usize, body.len());
            assert!(body.len() <= PART_BYTES_MAX + 32);
            let outcome = match open(body).unwrap() {
                Body::Whole(message) => {
                    delivered.push(message.bytes.to_vec());
                    continue;
                }
                Body::First(part) => assemblies.begin(part).unwrap(),
                Body::Next(part) => assemblies.go_on(part).unwrap(),
            };
            if let Outcome::Whole(bytes) = outcome {
                delivered.push(bytes.to_vec());
            }
        }
        assert_eq!(lanes.bytes(), 0);
        delivered
    }

    #[test]
    fn parts_make_the_message_again() {
        for payload_bytes in [PART_BYTES_MAX, 2 * PART_BYTES_MAX - 10, 1_000_000] {
            let mut lanes = Lanes::default();
            let message = message(1, payload_bytes);
            assert!(lanes.push(&message));
            assert_eq!(delivered(&mut lanes), [&message.body[3..]]);
        }
    }

    #[test]
    fn the_same_receiver_waits_and_the_others_take_turns() {
        let mut lanes = Lanes::default();
        assert!(!lanes.push(&message(1, 10)));
        let (large, small) = (message(1, 300_000), message(1, 10));
        let other = message(2, 100_000);
        assert!(lanes.push(&large));
        assert!(lanes.push(&small));
        assert!(!lanes.push(&message(2, 10)));
        assert!(lanes.push(&other));
        let expected = [&other.body[3..], &large.body[3..], &small.body[3..]];
        assert_eq!(delivered(&mut lanes), expected);
    }

    #[test]
    fn what_must_not_be_cut_goes_out_whole() {
        let mut lanes = Lanes::default();
        let uncut = Outgoing {
            cut_from: None,
            ..message(1, 300_000)
        };
        assert!(!lanes.push(&uncut));
        let control = Outgoing {
            cut_from: Some(200_000),
            ..message(1, 300_000)
        };
        assert!(lanes.push(&control));
        let mut out = Vec::new();
        lanes.take(&mut out);
        assert!(out.len() > 200_000, "all of the control message");
    }
}
