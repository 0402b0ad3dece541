//! The slab of held connections: a slot each, reused, with a generation that grows on reuse.
//!
//! No index and no bytes here. An own slab, because the generation must outlive the connection
//! (a stale conn pid must not reach a newer one) and has 24 bits, the room a pid leaves for it.

use super::framing::Framing;
use super::outbox::Outbox;
use crate::wire::{Conn, Id, Reason};

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// One held connection. What a connection costs us is this, four bytes of socket beside it
/// (`edge::shard`) and its share of the index.
#[derive(Debug)]
pub(super) struct Held {
    /// Its address.
    pub(super) id: Id,
    /// Messages waiting for the socket; absent while the socket takes everything.
    pub(super) outbox: Option<Box<Outbox>>,
    /// Set once it is to close: nothing more is accepted, what waits still goes out.
    pub(super) ending: Option<Box<Ending>>,
    /// The next connection of the same id, or [`NONE`].
    pub(super) next: u32,
    /// How messages are laid out.
    pub(super) framing: Framing,
}

/// A connection that closes once its outbox is empty.
#[derive(Debug)]
pub(super) struct Ending {
    /// Why it closes.
    pub(super) reason: Reason,
    /// Whether a sweep has found it waiting; the next one ends it.
    pub(super) swept: bool,
}

#[derive(Debug)]
struct Slot {
    held: Option<Held>,
    generation: u32,
    /// While free: the next free slot, or [`NONE`].
    next_free: u32,
}

/// All slots of one shard.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: u32,
    held: usize,
    /// The generation of a slot that is used for the first time.
    first_generation: u32,
}

impl Slots {
    pub(super) fn new(first_generation: u32) -> Slots {
        let slots = Vec::new();
        Slots {
            slots,
            free: NONE,
            held: 0,
            first_generation,
        }
    }

    /// A generation that no slot has had.
    pub(super) fn next_generation(&self) -> u32 {
        let highest = self.slots.iter().map(|slot| slot.generation).max();
        (highest.unwrap_or(self.first_generation) + 1) % Conn::GENERATIONS
    }

    /// How many connections are held.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// One more than the highest slot ever used.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("slots are numbered by 32 bits")
    }

    pub(super) fn insert(&mut self, held: Held) -> u32 {
        self.held += 1;
        if self.free == NONE {
            let slot = self.len();
            assert!(slot < NONE, "a shard has fewer than 2^32 - 1 slots");
            self.slots.push(Slot {
                held: Some(held),
                generation: self.first_generation,
                next_free: NONE,
            });
            return slot;
        }
        let slot = self.free;
        let reused = &mut self.slots[slot as usize];
        self.free = reused.next_free;
        reused.generation = (reused.generation + 1) % Conn::GENERATIONS;
        reused.held = Some(held);
        slot
    }

    /// Frees the slot.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Held> {
        let freed = self.slots.get_mut(slot as usize)?;
        let held = freed.held.take()?;
        freed.next_free = self.free;
        self.free = slot;
        self.held -= 1;
        Some(held)
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Held> {
        self.slots.get(slot as usize)?.held.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Held> {
        self.slots.get_mut(slot as usize)?.held.as_mut()
    }

    /// How often the slot has been used.
    pub(super) fn generation(&self, slot: u32) -> u32 {
        self.slots[slot as usize].generation
    }

    /// The slot of `conn`, while that very connection is held.
    pub(super) fn find(&self, conn: Conn) -> Option<u32> {
        let slot = self.slots.get(conn.slot as usize)?;
        (slot.held.is_some() && slot.generation == conn.generation).then_some(conn.slot)
    }
}
