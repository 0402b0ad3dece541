//! What happens to one connection at its end: closing, removal.
//!
//! A private part of the hub; the transition table is in `hub`, delivery in `delivery`. Each function leaves the sums
//! (`queued_bytes`, `congested`) and the index true.

use std::hash::BuildHasher;

use super::outbox::Ending;
use super::{Farewell, Framing, Hub, Output, Sockets};
use crate::wire::{Conn, Reason};

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
