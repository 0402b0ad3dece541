//! Messages waiting for one connection whose socket is full, and what was lost among them.
//!
//! It holds references to shared frames and one offset, never copies, and decides nothing: the hub
//! knows the limits and what happens at them. A frame of which a part has gone out is never dropped:
//! the client could make nothing of the rest of the stream. Where messages were dropped there is a
//! gap, which says how many; what a client is told of it is the framing's.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use super::framing::{Farewell, Framing};
use super::pieces::Kept;
use crate::wire::Reason;

/// What waits, in the order in which it goes out; the first may be partly written.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    messages: usize,
    /// Whether a part of the first has gone out.
    is_started: bool,
    has_lost: bool,
    /// Whether the owners were told that this connection is congested.
    pub(super) is_told: bool,
    /// Set once the connection is to close when this is empty.
    pub(super) ending: Option<Ending>,
}

#[derive(Debug)]
enum Waiting {
    /// The frame of a message.
    Message(Kept),
    /// So many messages were dropped here. Has its frame once it was to be written.
    Gap { lost: u64, frame: Option<Bytes> },
    /// What the protocol itself has to say; at most one that is whole, ahead of all that is.
    Aside(Bytes),
}

/// One thing that waits.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// The frame of a message.
    Message(&'a [u8]),
    /// So many messages were dropped here.
    Lost(u64),
}

/// A connection that closes once its outbox is empty.
#[derive(Debug)]
pub(super) struct Ending {
    /// Why it closes.
    pub(super) reason: Reason,
    /// What its client is told.
    pub(super) farewell: Farewell,
    /// Whether a sweep has found it waiting; the next one ends it.
    pub(super) swept: bool,
}

impl Waiting {
    /// In their order; a gap that is not told yet has none.
    fn pieces(&self) -> &[Bytes] {
        match self {
            Waiting::Message(frame) => frame.pieces(),
            Waiting::Aside(frame) => std::slice::from_ref(frame),
            Waiting::Gap { frame, .. } => frame.as_slice(),
        }
    }

    fn len(&self) -> usize {
        self.pieces().iter().map(Bytes::len).sum()
    }
}

impl Outbox {
    /// How many frames, or pieces of large ones, one `writev` takes: the kernel's own limit (`UIO_MAXIOV`) is 1,024, and
    /// beyond a few dozen small frames the call's cost no longer shows.
    const GATHER_MAX: usize = 64;

    /// Adds what is left of a message's frame, of which the socket has taken `written` bytes.
    pub(super) fn push(&mut self, mut frame: Kept, written: usize) {
        frame.advance(written);
        self.is_started |= self.waiting.is_empty() && written > 0;
        self.bytes += frame.len();
        self.messages += 1;
        self.waiting.push_back(Waiting::Message(frame));
    }

    /// Puts what the protocol has to say ahead of what has not begun to go out; of two the later is said.
    pub(super) fn push_aside(&mut self, frame: Bytes) {
        let place = usize::from(self.is_started);
        if let Some(Waiting::Aside(_)) = self.waiting.get(place) {
            self.remove(place);
        }
        self.bytes += frame.len();
        self.waiting.insert(place, Waiting::Aside(frame));
    }

    /// The rest of what the protocol has to say, of which a part has gone out.
    pub(super) fn push_rest_aside(&mut self, frame: Bytes) {
        self.is_started = true;
        self.bytes += frame.len();
        self.waiting.push_back(Waiting::Aside(frame));
    }

    /// Bytes waiting.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages waiting, a partly written one included.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    /// Whether a message was dropped since there is this outbox.
    pub(super) fn has_lost(&self) -> bool {
        self.has_lost
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A message that found no place at the end.
    pub(super) fn lose_newest(&mut self) {
        self.gap_at(self.waiting.len(), 1);
    }

    /// Drops the oldest message that is whole; `false` when there is none.
    pub(super) fn drop_oldest(&mut self) -> bool {
        let from = usize::from(self.is_started);
        let is_message = |waiting: &Waiting| matches!(waiting, Waiting::Message(_));
        let Some(place) = self.waiting.iter().skip(from).position(is_message) else {
            return false;
        };
        let place = from + place;
        self.remove(place);
        self.gap_at(place, 1);
        true
    }

    /// Drops every message that is whole; says how many.
    pub(super) fn drop_waiting(&mut self) -> u64 {
        let mut from = usize::from(self.is_started);
        if let Some(Waiting::Aside(_)) = self.waiting.get(from) {
            from += 1;
        }
        let (mut dropped, mut lost) = (0, 0);
        while self.waiting.len() > from {
            match self.remove(from) {
                Waiting::Message(_) => dropped += 1,
                Waiting::Gap { lost: before, .. } => lost += before,
                Waiting::Aside(_) => {}
            }
        }
        if dropped + lost > 0 {
            self.gap_at(from, dropped + lost);
        }
        dropped
    }

    /// Drops what is first, `count` messages of it, the lost ones included: their client knows of them.
    pub(super) fn acknowledge(&mut self, mut count: u64) {
        while count > 0 {
            match self.waiting.front_mut() {
                None => return,
                Some(Waiting::Gap { lost, .. }) if *lost > count => {
                    *lost -= count;
                    return;
                }
                Some(Waiting::Gap { lost, .. }) => count -= *lost,
                // Nothing is said aside to those who acknowledge.
                Some(Waiting::Message(_) | Waiting::Aside(_)) => count -= 1,
            }
            self.remove(0);
        }
    }

    /// How many messages wait among what is first, `count` messages of it, the lost ones included.
    pub(super) fn messages_within(&self, count: u64) -> u64 {
        let (mut covered, mut messages) = (0, 0);
        for entry in self.entries() {
            if covered >= count {
                break;
            }
            match entry {
                Entry::Message(_) => (covered, messages) = (covered + 1, messages + 1),
                Entry::Lost(lost) => covered += lost,
            }
        }
        messages
    }

    /// What waits, in order; for those who frame it themselves.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.waiting.iter().map(|waiting| match waiting {
            // Those who frame it themselves have it in one piece.
            Waiting::Message(_) | Waiting::Aside(_) => {
                Entry::Message(waiting.pieces().first().map_or(&[], |piece| piece))
            }
            Waiting::Gap { lost, .. } => Entry::Lost(*lost),
        })
    }

    /// What to write next, gathered; the number says how many slices are used.
    pub(super) fn gather(&mut self, framing: Framing) -> ([IoSlice<'_>; Self::GATHER_MAX], usize) {
        self.tell_gaps(framing);
        let mut slices = [IoSlice::new(&[]); Self::GATHER_MAX];
        let mut count = 0;
        let pieces = self.waiting.iter().flat_map(Waiting::pieces);
        let pieces = pieces.filter(|piece| !piece.is_empty());
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        (slices, count)
    }

    /// Takes away what the socket took.
    pub(super) fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while written > 0 {
            let first = self.waiting.front_mut();
            let first = first.expect("the socket took no more than it was given");
            let length = first.len();
            if length > written {
                match first {
                    Waiting::Message(frame) => frame.advance(written),
                    Waiting::Aside(frame)
                    | Waiting::Gap {
                        frame: Some(frame), ..
                    } => frame.advance(written),
                    Waiting::Gap { frame: None, .. } => {
                        unreachable!("what was written has a frame")
                    }
                }
                self.is_started = true;
                return;
            }
            written -= length;
            self.is_started = false;
            if let Some(Waiting::Message(_)) = self.waiting.pop_front() {
                self.messages -= 1;
            }
        }
    }

    /// Gives a frame to each gap that is among the next to go out; one that the framing cannot tell
    /// goes.
    fn tell_gaps(&mut self, framing: Framing) {
        let mut place = 0;
        while place < self.waiting.len().min(Self::GATHER_MAX) {
            if let Waiting::Gap { lost, frame } = &mut self.waiting[place]
                && frame.is_none()
            {
                let Some(told) = framing.gap(*lost) else {
                    self.waiting.remove(place);
                    continue;
                };
                self.bytes += told.len();
                *frame = Some(told);
            }
            place += 1;
        }
    }

    /// `lost` more were dropped in front of `place`: into the gap that ends there, or begins there, or
    /// a new one. Two that touch become one.
    fn gap_at(&mut self, place: usize, lost: u64) {
        self.has_lost = true;
        let first = usize::from(self.is_started);
        let mut sum = lost;
        let mut at = place;
        if matches!(self.waiting.get(at), Some(Waiting::Gap { .. })) {
            sum += self.remove_gap(at);
        }
        if at > first && matches!(self.waiting[at - 1], Waiting::Gap { .. }) {
            at -= 1;
            sum += self.remove_gap(at);
        }
        let gap = Waiting::Gap {
            lost: sum,
            frame: None,
        };
        self.waiting.insert(at, gap);
    }

    fn remove_gap(&mut self, place: usize) -> u64 {
        match self.remove(place) {
            Waiting::Gap { lost, .. } => lost,
            Waiting::Message(_) | Waiting::Aside(_) => {
                unreachable!("the caller has seen a gap there")
            }
        }
    }

    fn remove(&mut self, place: usize) -> Waiting {
        let removed = self.waiting.remove(place).expect("it is there");
        self.bytes -= removed.len();
        self.messages -= usize::from(matches!(removed, Waiting::Message(_)));
        removed
    }
}
