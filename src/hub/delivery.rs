//! Messages on their way to connections: by ids, by one id, and to one connection.
//!
//! What cannot be written now is queued elsewhere (`congestion`), and what a frame is `frames` knows. Each function
//! leaves the sums (`queued_bytes`, `congested`) and the index true.

use std::hash::BuildHasher;

use super::congestion::Refused;
use super::frames::Content;
use super::index::slots_from;
use super::{Framing, Hub, Roomy, Sent, Sockets};
use crate::wire::{Conn, Id, Ids, Lent, Reason};

impl<S: BuildHasher> Hub<S> {
    /// Delivers to every connection of each of `ids`.
    pub fn handle_message<'a>(
        &mut self,
        ids: &Ids,
        message: impl Into<Lent<'a>>,
        sockets: &mut impl Sockets,
    ) -> Sent {
        self.frames.clear();
        self.deliver_to(ids, Content::Lent(message.into()), sockets)
    }

    /// The same for a message that is the hub's from now on.
    pub fn handle_own_message(
        &mut self,
        ids: &Ids,
        message: Roomy,
        sockets: &mut impl Sockets,
    ) -> Sent {
        self.frames.adopt(message);
        let sent = self.deliver_to(ids, Content::Own, sockets);
        self.frames.clear();
        sent
    }

    fn deliver_to(&mut self, ids: &Ids, message: Content<'_>, sockets: &mut impl Sockets) -> Sent {
        let mut sent = Sent::default();
        ids.for_each(|id| {
            let mut receivers = std::mem::take(&mut self.receivers);
            let head = self.index.head(self.hasher.hash_one(id), id, &self.slots);
            receivers.extend(slots_from(head, &self.slots));
            sent.nobody += u64::from(receivers.is_empty());
            for slot in receivers.drain(..) {
                self.deliver(slot, message, sockets, &mut sent);
            }
            self.receivers = receivers;
        });
        sent
    }

    /// Delivers to one connection; `None` when it is gone.
    pub fn handle_signal<'a>(
        &mut self,
        conn: Conn,
        message: impl Into<Lent<'a>>,
        sockets: &mut impl Sockets,
    ) -> Option<Sent> {
        let slot = self.slots.find(conn)?;
        let mut sent = Sent::default();
        self.frames.clear();
        let message = Content::Lent(message.into());
        self.deliver(slot, message, sockets, &mut sent);
        Some(sent)
    }

    /// The same for a message that is the hub's from now on.
    pub fn handle_own_signal(
        &mut self,
        conn: Conn,
        message: Roomy,
        sockets: &mut impl Sockets,
    ) -> Option<Sent> {
        let slot = self.slots.find(conn)?;
        let mut sent = Sent::default();
        self.frames.adopt(message);
        self.deliver(slot, Content::Own, sockets, &mut sent);
        self.frames.clear();
        Some(sent)
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
                self.deliver(slot, Content::Lent(message), sockets, &mut sent);
            }
        }
        receivers.clear();
        self.receivers = receivers;
        are_few.then_some(sent)
    }

    pub(super) fn deliver(
        &mut self,
        slot: u32,
        message: Content<'_>,
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
}
