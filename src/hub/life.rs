//! What happens to one connection: delivery, closing, removal.
//!
//! The private half of the hub; the transition table is in `hub`, queueing in `congestion`. Each function leaves the sums
//! (`queued_bytes`, `congested`) and the index true.

use std::hash::BuildHasher;

use super::congestion::Refused;
use super::index::slots_from;
use super::outbox::Ending;
use super::{Farewell, Framing, Hub, Output, Sent, Sockets};
use crate::wire::{Conn, Id, Lent, Reason};

impl<S: BuildHasher> Hub<S> {
    pub(super) fn conn(&self, slot: u32) -> Conn {
        Conn {
            shard: self.shard,
            slot,
            generation: self
                .slots
                .generation(slot)
                .expect("only held connections are named"),
        }
    }

    /// Delivers to every connection of `id`, if there are at most `most`; else to none.
    pub fn handle_message_to_few(
        &mut self,
        id: &Id,
        message: Lent<'_>,
        most: usize,
        sockets: &mut impl Sockets,
    ) -> Option<Sent> {
        let head = self.index.head(self.hasher.hash_one(id), id, &self.slots);
        let mut receivers = std::mem::take(&mut self.receivers);
        receivers.extend(slots_from(head, &self.slots).take(most + 1));
        let mut sent = Sent {
            nobody: u64::from(receivers.is_empty()),
            ..Sent::default()
        };
        let are_few = receivers.len() <= most;
        if are_few {
            self.frames.clear();
            for &slot in &receivers {
                self.deliver(slot, message, sockets, &mut sent);
            }
        }
        receivers.clear();
        self.receivers = receivers;
        are_few.then_some(sent)
    }

    pub(super) fn deliver(
        &mut self,
        slot: u32,
        message: Lent<'_>,
        sockets: &mut impl Sockets,
        sent: &mut Sent,
    ) {
        let Some(held) = self.slots.get(slot) else {
            return;
        };
        if held.is_ending() {
            sent.ending += 1;
            return;
        }
        let framing = held.mode.framing();
        let congested = held.outbox.is_some();
        let queued = if framing == Framing::Poll {
            let frame = self.frames.share(framing, message);
            self.deliver_poll(slot, frame)
        } else {
            let frame = self.frames.frame(framing, message);
            let length = frame.len();
            let written = if congested {
                Some(0)
            } else {
                frame.write(slot, sockets)
            };
            match written {
                Some(written) if written == length => Ok(()),
                Some(written) => {
                    let frame = self.frames.share(framing, message);
                    self.enqueue(slot, frame, written)
                }
                None => return self.remove(slot, Reason::Client),
            }
        };
        match queued {
            Ok(()) => {
                sent.connections += 1;
                let outbox = self.slots.get(slot).and_then(|held| held.outbox.as_ref());
                sent.queued_bytes += outbox.map_or(0, |outbox| outbox.bytes() as u64);
            }
            Err(Refused::Closed(Reason::OutboxTotal)) => sent.outbox_total += 1,
            Err(Refused::Closed(_)) => sent.outbox_full += 1,
            Err(Refused::Dropped) => {}
        }
    }

    /// Ends the body and removes the connection, or marks it as ending while messages wait.
    pub(super) fn close(
        &mut self,
        slot: u32,
        reason: Reason,
        farewell: Farewell,
        sockets: &mut impl Sockets,
    ) {
        let Some(held) = self.slots.get_mut(slot) else {
            return;
        };
        if held.mode.framing() == Framing::Poll {
            return self.close_poll(slot, reason, farewell.retry_ms, sockets);
        }
        if let Some(outbox) = &mut held.outbox {
            outbox.ending.get_or_insert(Ending {
                reason,
                farewell,
                swept: false,
            });
            return;
        }
        let framing = held.mode.framing();
        // A goodbye that does not fit is given up: the connection closes either way.
        let _ = sockets.write(slot, &framing.goodbye(&reason, farewell));
        self.remove(slot, reason);
    }

    pub(super) fn remove(&mut self, slot: u32, reason: Reason) {
        self.forget_poll(slot);
        let Some(held) = self.slots.get(slot) else {
            return;
        };
        let hash = self.hasher.hash_one(&held.id);
        let conn = self.conn(slot);
        self.index
            .unlink(hash, slot, &mut self.slots, |id| self.hasher.hash_one(id));
        let held = self
            .slots
            .remove(slot)
            .expect("the slot was held a line above");
        let unsent = held.outbox.as_ref().map_or(0, |outbox| outbox.messages());
        if let Some(outbox) = held.outbox {
            self.queued_bytes -= outbox.bytes();
            self.congested -= 1;
        }
        let transport = held.mode.framing().transport();
        self.outputs.push_back(Output::Gone {
            conn,
            id: held.id,
            transport,
            reason,
            unsent,
        });
    }
}
