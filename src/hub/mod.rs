//! The sans-IO heart of a shard: who is connected, and what goes out next.
//!
//! No sockets, no threads, no clock, no randomness: the shard that owns the hub lends it a
//! [`Sockets`] for each call, and does afterwards what [`Hub::poll_output`] says. Writes go
//! through the lent `Sockets` instead of through the poll, because the frame they write lives in
//! scratch space that the next message reuses: handing it out would cost a copy or a reference
//! count per message.
//!
//! Life of a connection:
//!
//! | state | messages | leaves it by |
//! |---|---|---|
//! | open, no outbox | written at once; the rest of a short write starts an outbox | short write → congested; close → gone |
//! | congested | queued in the outbox, within the limits | drained → open; its limit → what [`WhenFull`] says, gone (`outbox_full`) by default; all outboxes' limit → the fullest go (`outbox_total`) or drop what waits; close → ending |
//! | ending | none accepted | drained, or swept twice → gone |
//! | gone | dropped: the slot's generation has moved on | – |

mod congestion;
#[cfg(test)]
mod congestion_test;
mod delivery;
mod frames;
mod framing;
mod index;
mod life;
mod mode;
mod outbox;
mod pieces;
mod polls;
mod roomy;
#[cfg(test)]
mod simulation;
mod slots;
#[cfg(test)]
mod writing_test;

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::io::IoSlice;

use bytes::Bytes;

pub use crate::wire::WhenFull;
pub use framing::{Farewell, Framing};
pub use polls::{Ask, Cursor, NoCursor, Polled};
pub use roomy::Roomy;

use crate::wire::{Conn, Id, Reason, Transport};
use frames::Frames;
use index::{Index, slots_from};
use mode::Mode;
use polls::Polls;
use slots::Slots;

/// What a hub allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that may share one id.
    pub connections_per_id_max: usize,
    /// Bytes that may wait for one connection. A message on an empty outbox is always taken, or
    /// one larger than this could never be sent.
    pub outbox_bytes_max: usize,
    /// Messages that may wait for one connection.
    pub outbox_messages_max: usize,
    /// Bytes that may wait for all connections of this hub together. A frame that waits in ten
    /// outboxes counts ten times, though its bytes are shared. At this limit the fullest outboxes go,
    /// until an eighth of it is free.
    pub outbox_total_bytes_max: usize,
}

/// The sockets of the connections, by slot. Lent to the hub by the shard.
pub trait Sockets {
    /// Writes as much as the socket takes now: `Some(0)` when it is full, `None` when it failed.
    fn write(&mut self, slot: u32, bytes: &[u8]) -> Option<usize>;
    /// The same for several pieces.
    fn write_vectored(&mut self, slot: u32, pieces: &[IoSlice<'_>]) -> Option<usize>;
}

/// What the shard has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask the poller for writability of this slot's socket.
    WantWrite(u32),
    /// The socket takes bytes again; stop asking.
    WroteAll(u32),
    /// A poll is answered: let go of its socket, and keep the slot.
    Answered(u32),
    /// Much waits for this connection, or something was dropped: told once, until it is drained.
    Congested {
        /// Which it is.
        conn: Conn,
        /// Its id.
        id: Id,
        /// Bytes that wait for it.
        bytes: u64,
    },
    /// Nothing waits any more for a connection that was told to be congested.
    Drained {
        /// Which it is.
        conn: Conn,
        /// Its id.
        id: Id,
    },
    /// The connection is gone: let go of its socket. The slot may be reused from now on.
    Gone {
        /// Which it was.
        conn: Conn,
        /// Its id.
        id: Id,
        /// How it was framed.
        transport: Transport,
        /// Why it closed.
        reason: Reason,
        /// Messages that were waiting for it.
        unsent: usize,
    },
}

/// What became of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Connections that the message was written to or queued for.
    pub connections: u64,
    /// Bytes that wait in the outboxes of these connections.
    pub queued_bytes: u64,
    /// Ids that have no connection.
    pub nobody: u64,
    /// Connections that were asked to close before and accept nothing more.
    pub ending: u64,
    /// Connections that were closed because their outbox was full.
    pub outbox_full: u64,
    /// Connections that were closed because the outboxes together were full, of those it was for.
    pub outbox_total: u64,
}

/// Messages that were dropped from outboxes, or before them, for connections that stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// By [`WhenFull::DropOldest`].
    pub oldest: u64,
    /// By [`WhenFull::DropNewest`].
    pub newest: u64,
    /// By [`WhenFull::KeepLatest`].
    pub replaced: u64,
    /// Because the outboxes together were full.
    pub total: u64,
}

/// The limit on connections per id is reached.
#[derive(Debug, PartialEq, Eq)]
pub struct IdLimit;

/// The connections of one shard. `S` hashes ids; it must be the same for the life of the hub.
#[derive(Debug)]
pub struct Hub<S> {
    shard: u8,
    limits: Limits,
    hasher: S,
    slots: Slots,
    index: Index,
    frames: Frames,
    outputs: VecDeque<Output>,
    /// Sum of all outboxes' bytes.
    queued_bytes: usize,
    /// Number of outboxes.
    congested: usize,
    /// Since it was last taken.
    lost: Lost,
    /// Where the next sweep begins.
    sweep: u32,
    /// Where the last part of a drain ended.
    drain: u32,
    polls: Polls,
    /// Receivers of one id, reused: an id's list may change while it is written to.
    receivers: Vec<u32>,
}

impl<S: BuildHasher> Hub<S> {
    /// A hub without connections.
    pub fn new(shard: u8, limits: Limits, hasher: S) -> Hub<S> {
        Hub::with_slots(shard, limits, hasher, Slots::new())
    }

    /// The generation of slots that are used for the first time, modulo 2^24; before there are any
    /// connections. Another one for each edge that has the same name, one after the other, keeps conns of
    /// those before from naming connections of this one.
    pub fn begin_with(&mut self, generation: u32) {
        self.slots.begin_with(generation);
    }

    /// An empty hub in the place of this one, whose state is not to be trusted any more. Conns of
    /// this one name nothing in that one.
    pub fn successor(&self) -> Hub<S>
    where
        S: Clone,
    {
        let slots = self.slots.successor();
        let hub = Hub::with_slots(self.shard, self.limits, self.hasher.clone(), slots);
        Hub {
            polls: self.polls.successor(),
            ..hub
        }
    }

    fn with_slots(shard: u8, limits: Limits, hasher: S, slots: Slots) -> Hub<S> {
        Hub {
            shard,
            limits,
            hasher,
            slots,
            index: Index::default(),
            frames: Frames::default(),
            outputs: VecDeque::new(),
            queued_bytes: 0,
            congested: 0,
            lost: Lost::default(),
            sweep: 0,
            drain: 0,
            polls: Polls::default(),
            receivers: Vec::new(),
        }
    }

    /// From now on. What is above them already stays until it leaves.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// How many connections are held.
    pub fn held(&self) -> usize {
        self.slots.held()
    }

    /// Slots of the slab, free ones included: what a sweep visits.
    pub fn slots(&self) -> usize {
        self.slots.len() as usize
    }

    /// Bytes waiting in outboxes.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Connections that have an outbox.
    pub fn congested(&self) -> usize {
        self.congested
    }

    /// What was dropped since this was last asked.
    pub fn take_lost(&mut self) -> Lost {
        std::mem::take(&mut self.lost)
    }

    /// The connections of `id`, newest first.
    pub fn connections(&self, id: &Id) -> Vec<Conn> {
        let head = self.index.head(self.hasher.hash_one(id), id, &self.slots);
        slots_from(head, &self.slots)
            .map(|slot| self.conn(slot))
            .collect()
    }

    /// Whether this very connection is held; one that is ending still is.
    pub fn is_held(&self, conn: Conn) -> bool {
        self.slots.find(conn).is_some()
    }

    /// The first connection at or behind slot `from`: walks all of them, across changes.
    pub fn next_held(&self, from: u32) -> Option<(Conn, &Id, Transport)> {
        let slot = self.slots.next_held(from)?;
        let held = self.slots.get(slot)?;
        Some((self.conn(slot), &held.id, held.mode.framing().transport()))
    }

    /// A slot for a new connection. The shard puts its socket there and calls
    /// [`Hub::handle_opened`].
    pub fn insert(
        &mut self,
        id: Id,
        framing: Framing,
        when_full: WhenFull,
    ) -> Result<Conn, IdLimit> {
        let hash = self.hasher.hash_one(&id);
        let most = self.limits.connections_per_id_max;
        if self.index.count(hash, &id, &self.slots, most) >= most {
            return Err(IdLimit);
        }
        let slot = self.slots.insert(id, Mode::new(framing, when_full));
        self.index
            .link(hash, slot, &mut self.slots, |id| self.hasher.hash_one(id));
        Ok(self.conn(slot))
    }

    /// Greets a connection: the answer's head and what the transport begins with.
    pub fn handle_opened(&mut self, conn: Conn, greeting: &[u8], sockets: &mut impl Sockets) {
        match sockets.write(conn.slot, greeting) {
            Some(written) if written == greeting.len() => {}
            Some(written) => {
                let _ = self.enqueue(conn.slot, Bytes::copy_from_slice(greeting), written);
            }
            None => self.remove(conn.slot, Reason::Client),
        }
    }

    /// The socket is gone, or must go at once. A poll's client may ask again on another one.
    pub fn handle_gone(&mut self, slot: u32, reason: Reason) {
        let is_at_end = reason == Reason::Shutdown;
        if is_at_end || !self.poll_lost_socket(slot) {
            self.remove(slot, reason);
        }
    }

    /// Closes every connection of `id`, after what waits for it. Says how many.
    pub fn handle_close(&mut self, id: &Id, reason: &Reason, sockets: &mut impl Sockets) -> u64 {
        let head = self.index.head(self.hasher.hash_one(id), id, &self.slots);
        let closing: Vec<u32> = slots_from(head, &self.slots).collect();
        for &slot in &closing {
            self.close(slot, reason.clone(), Farewell::default(), sockets);
        }
        closing.len() as u64
    }

    /// Closes one connection, after what waits for it; `false` when it is gone already.
    pub fn handle_close_conn(
        &mut self,
        conn: Conn,
        reason: Reason,
        sockets: &mut impl Sockets,
    ) -> bool {
        let Some(slot) = self.slots.find(conn) else {
            return false;
        };
        self.close(slot, reason, Farewell::default(), sockets);
        true
    }

    /// Closes the connection in this slot, after what waits for it, with this farewell.
    pub fn handle_farewell(
        &mut self,
        slot: u32,
        reason: Reason,
        farewell: Farewell,
        sockets: &mut impl Sockets,
    ) {
        self.close(slot, reason, farewell, sockets);
    }

    /// How the connection in this slot is framed.
    pub fn framing(&self, slot: u32) -> Option<Framing> {
        self.slots.get(slot).map(|held| held.mode.framing())
    }

    /// How the connection in this slot is framed, while it is not to close: whoever is hears nothing.
    pub fn listening(&self, slot: u32) -> Option<Framing> {
        let held = self.slots.get(slot)?;
        (!held.is_ending()).then(|| held.mode.framing())
    }

    /// Ends one connection at once, whatever waits for it; `false` when it is gone already.
    pub fn handle_abort_conn(&mut self, conn: Conn, reason: Reason) -> bool {
        let Some(slot) = self.slots.find(conn) else {
            return false;
        };
        self.remove(slot, reason);
        true
    }

    /// Closes up to `count` connections that are not ending already; says how many. Each SSE client
    /// and each WebSocket is asked to wait for what `retry_ms` draws before it comes back.
    pub fn handle_drain(
        &mut self,
        count: usize,
        reason: &Reason,
        mut retry_ms: impl FnMut() -> u32,
        sockets: &mut impl Sockets,
    ) -> usize {
        let mut closed = 0;
        // The slab may shrink meanwhile: what was its end then is empty.
        let all = self.slots.len();
        for _ in 0..all {
            if closed == count {
                break;
            }
            self.drain = (self.drain + 1) % all;
            let held = self.slots.get(self.drain);
            if held.is_some_and(|held| !held.is_ending()) {
                let farewell = Farewell {
                    retry_ms: Some(retry_ms()),
                    code: None,
                };
                self.close(self.drain, reason.clone(), farewell, sockets);
                closed += 1;
            }
        }
        closed
    }

    /// Visits the next `count` slots: heartbeats to those whose slot `beats`, an end to those
    /// that were asked to close a whole sweep ago and still do not read. `true` when this visit
    /// reached the last slot, and the next begins a new sweep.
    pub fn handle_sweep(
        &mut self,
        count: u32,
        beats: impl Fn(u32) -> bool,
        sockets: &mut impl Sockets,
    ) -> bool {
        let end = self.slots.len().min(self.sweep.saturating_add(count));
        for slot in std::mem::replace(&mut self.sweep, end)..end {
            let Some(held) = self.slots.get_mut(slot) else {
                continue;
            };
            let outbox = held.outbox.as_mut();
            if let Some(ending) = outbox.and_then(|outbox| outbox.ending.as_mut()) {
                if std::mem::replace(&mut ending.swept, true) {
                    let reason = ending.reason.clone();
                    self.remove(slot, reason);
                }
            } else if beats(slot) {
                self.handle_beat(slot, sockets);
            }
        }
        // The slab may have shrunk.
        let whole = self.sweep >= self.slots.len();
        if whole {
            self.sweep = 0;
        }
        whole
    }

    /// A heartbeat for one slot, if a connection is there for which nothing waits.
    pub fn handle_beat(&mut self, slot: u32, sockets: &mut impl Sockets) {
        let Some(held) = self.slots.get(slot).filter(|held| held.outbox.is_none()) else {
            return;
        };
        let beat = held.mode.framing().heartbeat();
        match sockets.write(slot, beat) {
            Some(written) if written == beat.len() => {}
            Some(written) => {
                let _ = self.enqueue(slot, Bytes::from_static(beat), written);
            }
            None => self.remove(slot, Reason::Client),
        }
    }

    /// Whether the shard has something to do: an output to take, or polls to answer.
    pub fn has_more(&self) -> bool {
        !self.outputs.is_empty() || self.has_ready_polls()
    }

    /// What is to be done next. To be called until it answers `None`, after each `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}
