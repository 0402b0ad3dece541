//! What happens when a socket is full: messages wait, within limits, and at a limit somebody pays.
//!
//! The limit of one connection is paid by that connection, as its [`WhenFull`] says. The limit of all
//! together is paid by those for whom most waits, never by who happens to be next. How an outbox
//! keeps what waits is `outbox`'s concern.

use std::hash::BuildHasher;

use bytes::Bytes;

use super::outbox::Outbox;
use super::pieces::Kept;
use super::{Framing, Hub, Output, Sockets, WhenFull};
use crate::wire::Reason;

/// Owners are told that a connection is congested when this part of its outbox is full: early enough
/// to send it less, and not for each message that a socket takes in two parts.
const TELL_PART: usize = 4;

/// At the limit of all outboxes this part of it is freed, so that looking for the fullest, which
/// visits every connection, is paid by the many messages that fit afterwards.
const FREED_PART: usize = 8;

/// What became of a message that does not wait.
pub(super) enum Refused {
    /// The connection is closed, because of this.
    Closed(Reason),
    /// The message is dropped, and counted.
    Dropped,
}

impl<S: BuildHasher> Hub<S> {
    /// The socket takes bytes again.
    pub fn handle_writable(&mut self, slot: u32, sockets: &mut impl Sockets) {
        while let Some(held) = self.slots.get_mut(slot) {
            if held.mode.framing() == Framing::Poll {
                return self.poll_writable(slot, sockets);
            }
            let Some(outbox) = held.outbox.as_mut() else {
                return;
            };
            let before = outbox.bytes();
            let (pieces, count) = outbox.gather(held.mode.framing());
            let offered: usize = pieces[..count].iter().map(|piece| piece.len()).sum();
            if count > 0 {
                let Some(written) = sockets.write_vectored(slot, &pieces[..count]) else {
                    return self.remove_congested(slot, before, Reason::Client);
                };
                outbox.advance(written);
                self.queued_bytes = self.queued_bytes - before + outbox.bytes();
                // Full again: it is told when that changes, and asking once more would say nothing.
                if written < offered {
                    return;
                }
            }
            if outbox.is_empty() {
                self.drained(slot, sockets);
            }
        }
    }

    /// `before`: what the sum of all outboxes still counts for this one.
    fn remove_congested(&mut self, slot: u32, before: usize, reason: Reason) {
        let outbox = self.slots.get(slot).and_then(|held| held.outbox.as_ref());
        let now = outbox.map_or(0, |outbox| outbox.bytes());
        self.queued_bytes = self.queued_bytes - before + now;
        self.remove(slot, reason);
    }

    fn drained(&mut self, slot: u32, sockets: &mut impl Sockets) {
        let conn = self.conn(slot);
        let held = self.slots.get_mut(slot).expect("the caller has seen it");
        let Some(outbox) = held.outbox.take() else {
            return;
        };
        self.congested -= 1;
        self.outputs.push_back(Output::WroteAll(slot));
        if outbox.is_told {
            let id = held.id.clone();
            self.outputs.push_back(Output::Drained { conn, id });
        }
        if let Some(ending) = outbox.ending {
            self.close(slot, ending.reason, ending.farewell, sockets);
        }
    }

    /// Queues what is left of a frame after `written` bytes of it. A connection that must close is
    /// closed here: a client that lost a part of a frame could make nothing of the rest.
    pub(super) fn enqueue(
        &mut self,
        slot: u32,
        frame: impl Into<Kept>,
        written: usize,
    ) -> Result<(), Refused> {
        let frame = frame.into();
        let length = frame.len() - written;
        if self.queued_bytes + length > self.limits.outbox_total_bytes_max {
            self.shed(length);
        }
        let Some(held) = self.slots.get_mut(slot) else {
            return Err(Refused::Closed(Reason::OutboxTotal));
        };
        let when_full = held.mode.when_full();
        if held.outbox.is_none() {
            self.congested += 1;
            if held.mode.framing() != Framing::Poll {
                self.outputs.push_back(Output::WantWrite(slot));
            }
        }
        let outbox = held.outbox.get_or_insert_default();
        let before = outbox.bytes();
        let is_full = |outbox: &Outbox| {
            outbox.messages() > 0
                && (outbox.bytes() + length > self.limits.outbox_bytes_max
                    || outbox.messages() >= self.limits.outbox_messages_max)
        };
        let mut is_taken = true;
        match when_full {
            WhenFull::KeepLatest => self.lost.replaced += outbox.drop_waiting(),
            _ if !is_full(outbox) => {}
            WhenFull::Close => {
                self.remove(slot, Reason::OutboxFull);
                return Err(Refused::Closed(Reason::OutboxFull));
            }
            WhenFull::DropOldest => {
                while is_full(outbox) && outbox.drop_oldest() {
                    self.lost.oldest += 1;
                }
            }
            WhenFull::DropNewest => {
                outbox.lose_newest();
                self.lost.newest += 1;
                is_taken = false;
            }
        }
        if is_taken {
            outbox.push(frame, written);
        }
        self.queued_bytes = self.queued_bytes - before + outbox.bytes();
        self.tell_congested(slot);
        is_taken.then_some(()).ok_or(Refused::Dropped)
    }

    /// Writes what the protocol itself has to say: between two messages, ahead of those that wait.
    pub fn handle_aside(&mut self, slot: u32, frame: &[u8], sockets: &mut impl Sockets) {
        let Some(held) = self.slots.get_mut(slot) else {
            return;
        };
        if let Some(outbox) = held.outbox.as_mut() {
            if outbox.ending.is_none() {
                let before = outbox.bytes();
                outbox.push_aside(Bytes::copy_from_slice(frame));
                self.queued_bytes = self.queued_bytes - before + outbox.bytes();
            }
            return;
        }
        match sockets.write(slot, frame) {
            Some(written) if written == frame.len() => {}
            Some(written) => {
                let outbox = held.outbox.get_or_insert_default();
                let rest = Bytes::copy_from_slice(&frame[written..]);
                match written {
                    0 => outbox.push_aside(rest),
                    _ => outbox.push_rest_aside(rest),
                }
                self.queued_bytes += frame.len() - written;
                self.congested += 1;
                self.outputs.push_back(Output::WantWrite(slot));
            }
            None => self.remove(slot, Reason::Client),
        }
    }

    fn tell_congested(&mut self, slot: u32) {
        let conn = self.conn(slot);
        let limits = self.limits;
        let held = self.slots.get_mut(slot).expect("the caller holds it");
        let Some(outbox) = held.outbox.as_mut() else {
            return;
        };
        let is_much = outbox.has_lost()
            || outbox.bytes() * TELL_PART >= limits.outbox_bytes_max
            || outbox.messages() * TELL_PART >= limits.outbox_messages_max;
        if is_much && !std::mem::replace(&mut outbox.is_told, true) {
            self.outputs.push_back(Output::Congested {
                conn,
                id: held.id.clone(),
                bytes: outbox.bytes() as u64,
            });
        }
    }

    /// Makes room for `needed` bytes and more, at the cost of the fullest outboxes.
    fn shed(&mut self, needed: usize) {
        let most = self.limits.outbox_total_bytes_max;
        let goal = (most - most / FREED_PART).saturating_sub(needed);
        let mut fullest = Vec::new();
        let mut from = 0;
        while let Some(slot) = self.slots.next_held(from) {
            from = slot + 1;
            let held = self.slots.get(slot).expect("it was found a line above");
            if let Some(outbox) = &held.outbox {
                fullest.push((outbox.bytes(), slot));
            }
        }
        fullest.sort_unstable();
        while self.queued_bytes > goal
            && let Some((_, slot)) = fullest.pop()
        {
            self.shed_one(slot);
        }
    }

    /// Drops what waits for this connection, where its policy is to drop; else, and where that frees
    /// nothing, the connection closes.
    fn shed_one(&mut self, slot: u32) {
        let held = self.slots.get_mut(slot).expect("nothing went meanwhile");
        let may_drop = held.mode.when_full() != WhenFull::Close;
        let outbox = held.outbox.as_mut().expect("only such are shed");
        let before = outbox.bytes();
        let dropped = if may_drop { outbox.drop_waiting() } else { 0 };
        if dropped == 0 {
            return self.remove(slot, Reason::OutboxTotal);
        }
        self.lost.total += dropped;
        self.queued_bytes = self.queued_bytes - before + outbox.bytes();
        self.tell_congested(slot);
    }
}
