//! The slab of held connections: a slot each, reused, with a generation that grows on reuse.
//!
//! No index and no bytes here. An own slab, because the generation must outlive the connection
//! (a stale conn pid must not reach a newer one) and has 24 bits, the room a pid leaves for it;
//! and because it gives memory back.
//!
//! Slots lie in chunks. A new connection gets a free slot of the lowest chunk that has one, so that
//! the high chunks empty; a chunk that is empty goes, unless the others have little
//! room. What stays of it is its floor: a generation that none of its slots has had. Nothing here
//! takes longer than one chunk takes.

use std::collections::BTreeSet;

use super::mode::Mode;
use super::outbox::Outbox;
use crate::wire::{Conn, Id};

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// Slots of a chunk. At 1,024 a chunk is 40 KiB: made or given up in some ten microseconds, and what
/// the last one leaves unused weighs nothing beside 18,000 connections. Tests want many chunks.
const CHUNK: u32 = if cfg!(test) { 4 } else { 1024 };

/// One held connection. What a connection costs us is this, four bytes of socket beside it
/// (`edge::sockets`) and its share of the index.
///
/// | bytes | field |
/// |---|---|
/// | 24 | `id`: one of them says which kind, and whether the slot is free |
/// | 8 | `outbox` |
/// | 4 | `next` |
/// | 3 | `generation` |
/// | 1 | `mode` |
#[derive(Debug)]
pub(super) struct Held {
    /// Its address.
    pub(super) id: Id,
    /// Messages waiting for the socket; absent while the socket takes everything.
    pub(super) outbox: Option<Box<Outbox>>,
    /// The next connection of the same id, or [`NONE`].
    pub(super) next: u32,
    generation: Generation,
    /// How messages are laid out, and what happens when the outbox is full.
    pub(super) mode: Mode,
}

impl Held {
    /// Whether it is to close: nothing more is accepted, what waits still goes out.
    pub(super) fn is_ending(&self) -> bool {
        let outbox = self.outbox.as_ref();
        outbox.is_some_and(|outbox| outbox.ending.is_some())
    }
}

#[derive(Debug)]
enum Slot {
    Held(Held),
    Free {
        /// The generation of its next connection.
        generation: Generation,
        /// The place in the chunk of another free slot, or [`NONE`].
        next: u32,
    },
}

const _: () = assert!(size_of::<Slot>() == 40, "the bytes of the table above");

/// 24 bits, big-endian: aligned like a byte, so that it fits where a larger number would not.
#[derive(Clone, Copy, Debug)]
struct Generation([u8; 3]);

impl Generation {
    /// Generations count modulo [`Conn::GENERATIONS`].
    fn new(number: u32) -> Generation {
        let [_, high, middle, low] = number.to_be_bytes();
        Generation([high, middle, low])
    }

    fn number(self) -> u32 {
        let [high, middle, low] = self.0;
        u32::from_be_bytes([0, high, middle, low])
    }

    /// How many generations come before this one, beginning with `floor`.
    fn since(self, floor: Generation) -> u32 {
        Generation::new(self.number().wrapping_sub(floor.number())).number()
    }

    fn plus(self, count: u32) -> Generation {
        Generation::new(self.number().wrapping_add(count))
    }
}

const _: () = assert!(Conn::GENERATIONS == 1 << 24, "what three bytes hold");

#[derive(Debug)]
struct Chunk {
    /// [`CHUNK`] slots, or none while the chunk is absent.
    slots: Box<[Slot]>,
    held: u32,
    /// The place of the slot that was freed last, or of the first of those never used, or [`NONE`].
    free: u32,
    /// One more than the highest place that was used: new slots are used in order.
    used: u32,
    /// The generation that its slots begin with when they are made.
    floor: Generation,
}

impl Chunk {
    fn absent(floor: Generation) -> Chunk {
        Chunk {
            slots: Box::default(),
            held: 0,
            free: NONE,
            used: 0,
            floor,
        }
    }

    fn is_absent(&self) -> bool {
        self.slots.is_empty()
    }

    fn make(&mut self) {
        let free = |place| Slot::Free {
            generation: self.floor,
            next: if place + 1 < CHUNK { place + 1 } else { NONE },
        };
        self.slots = (0..CHUNK).map(free).collect();
        self.free = 0;
    }

    fn insert(&mut self, id: Id, mode: Mode) -> u32 {
        let place = self.free;
        let slot = &mut self.slots[place as usize];
        let Slot::Free { generation, next } = *slot else {
            unreachable!("a slot in the list of free ones is free");
        };
        *slot = Slot::Held(Held {
            id,
            outbox: None,
            next: NONE,
            generation,
            mode,
        });
        self.held += 1;
        self.used = self.used.max(place + 1);
        self.free = next;
        place
    }

    fn remove(&mut self, place: u32) -> Option<Held> {
        let slot = self.slots.get_mut(place as usize)?;
        let Slot::Held(held) = slot else {
            return None;
        };
        let free = Slot::Free {
            generation: held.generation.plus(1),
            next: self.free,
        };
        let Slot::Held(held) = std::mem::replace(slot, free) else {
            unreachable!("it was held a line above");
        };
        self.held -= 1;
        self.free = place;
        Some(held)
    }

    /// A generation that no slot of this chunk has had. The oldest comes back as late as the 24 bits
    /// allow for the slot that was used most.
    fn next_floor(&self) -> Generation {
        let used = self.slots.iter().map(|slot| match slot {
            Slot::Held(held) => held.generation.since(self.floor) + 1,
            Slot::Free { generation, .. } => generation.since(self.floor),
        });
        self.floor.plus(used.max().unwrap_or(0))
    }
}

/// All slots of one shard.
#[derive(Debug)]
pub(super) struct Slots {
    /// Absent ones stay, 40 bytes each, because they keep their floors.
    chunks: Vec<Chunk>,
    /// How many chunks there are up to the last that is present.
    used: usize,
    present: u32,
    /// Chunks that are present and have a free slot.
    roomy: BTreeSet<u32>,
    held: usize,
    /// The generation of a slot that is used for the first time.
    first: Generation,
}

impl Slots {
    pub(super) fn new() -> Slots {
        Slots::with_chunks(Vec::new(), Generation::new(1))
    }

    /// Slots that are used for the first time begin with this generation; before any is.
    pub(super) fn begin_with(&mut self, generation: u32) {
        debug_assert!(self.chunks.is_empty(), "no slot was used");
        self.first = Generation::new(generation);
    }

    /// Empty slots whose conns name nothing that was held in these.
    pub(super) fn successor(&self) -> Slots {
        let chunks = self.chunks.iter();
        Slots::with_chunks(
            chunks
                .map(|chunk| Chunk::absent(chunk.next_floor()))
                .collect(),
            self.first,
        )
    }

    fn with_chunks(chunks: Vec<Chunk>, first: Generation) -> Slots {
        Slots {
            chunks,
            first,
            used: 0,
            present: 0,
            roomy: BTreeSet::new(),
            held: 0,
        }
    }

    /// How many connections are held.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// One more than the highest slot that was used and is still there.
    pub(super) fn len(&self) -> u32 {
        let Some(last) = self.used.checked_sub(1) else {
            return 0;
        };
        let before = u32::try_from(last).expect("slots are numbered by 32 bits") * CHUNK;
        before + self.chunks[last].used
    }

    pub(super) fn insert(&mut self, id: Id, mode: Mode) -> u32 {
        let number = match self.roomy.first() {
            Some(&number) => number,
            None => self.make_chunk(),
        };
        let chunk = &mut self.chunks[number as usize];
        let place = chunk.insert(id, mode);
        if chunk.free == NONE {
            self.roomy.remove(&number);
        }
        self.held += 1;
        number * CHUNK + place
    }

    /// The lowest that is absent.
    fn make_chunk(&mut self) -> u32 {
        let absent = self.chunks.iter().position(Chunk::is_absent);
        let place = absent.unwrap_or(self.chunks.len());
        let number = u32::try_from(place).unwrap_or(NONE);
        assert!(
            number < NONE / CHUNK,
            "a shard has fewer than 2^32 - 1 slots"
        );
        if absent.is_none() {
            self.chunks.push(Chunk::absent(self.first));
        }
        self.chunks[place].make();
        self.used = self.used.max(place + 1);
        self.present += 1;
        self.roomy.insert(number);
        number
    }

    /// Frees the slot.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Held> {
        let (number, place) = (slot / CHUNK, slot % CHUNK);
        let chunk = self.chunks.get_mut(number as usize)?;
        let held = chunk.remove(place)?;
        self.held -= 1;
        if chunk.held == CHUNK - 1 {
            self.roomy.insert(number);
        }
        // Half a chunk of room elsewhere: connections that come and go do not make and drop chunks.
        let elsewhere = (self.present as usize - 1) * CHUNK as usize;
        if chunk.held == 0 && elsewhere >= self.held + CHUNK as usize / 2 {
            // If one was kept before for want of room, and it is the last, it goes in place of this one.
            let last = self.used - 1;
            let is_kept = self.chunks[last].held == 0;
            self.drop_chunk(if is_kept { last } else { number as usize });
        }
        Some(held)
    }

    fn drop_chunk(&mut self, place: usize) {
        let chunk = &mut self.chunks[place];
        *chunk = Chunk::absent(chunk.next_floor());
        let number = u32::try_from(place).expect("slots are numbered by 32 bits");
        self.roomy.remove(&number);
        self.present -= 1;
        while self.used > 0 && self.chunks[self.used - 1].is_absent() {
            self.used -= 1;
        }
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Held> {
        let chunk = self.chunks.get((slot / CHUNK) as usize)?;
        match chunk.slots.get((slot % CHUNK) as usize)? {
            Slot::Held(held) => Some(held),
            Slot::Free { .. } => None,
        }
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Held> {
        let chunk = self.chunks.get_mut((slot / CHUNK) as usize)?;
        match chunk.slots.get_mut((slot % CHUNK) as usize)? {
            Slot::Held(held) => Some(held),
            Slot::Free { .. } => None,
        }
    }

    /// The first held slot at or behind this one; what is absent is passed over whole.
    pub(super) fn next_held(&self, from: u32) -> Option<u32> {
        let mut at = from;
        while at < self.len() {
            let chunk = &self.chunks[(at / CHUNK) as usize];
            if chunk.held == 0 {
                at = (at / CHUNK + 1) * CHUNK;
                continue;
            }
            if matches!(chunk.slots[(at % CHUNK) as usize], Slot::Held(_)) {
                return Some(at);
            }
            at += 1;
        }
        None
    }

    /// How often the slot has been used, up to the connection that it holds.
    pub(super) fn generation(&self, slot: u32) -> Option<u32> {
        self.get(slot).map(|held| held.generation.number())
    }

    /// The slot of `conn`, while that very connection is held.
    pub(super) fn find(&self, conn: Conn) -> Option<u32> {
        (self.generation(conn.slot) == Some(conn.generation)).then_some(conn.slot)
    }
}

#[cfg(test)]
impl Slots {
    /// What holds after each change.
    pub(super) fn check(&self) {
        let present = self.chunks.iter().filter(|chunk| !chunk.is_absent());
        let empty = present.clone().filter(|chunk| chunk.held == 0).count();
        assert!(empty <= 1, "one empty chunk at most");
        assert_eq!(present.count(), self.present as usize);
        let used = self.chunks.iter().rposition(|chunk| !chunk.is_absent());
        assert_eq!(self.used, used.map_or(0, |last| last + 1));
        for (number, chunk) in (0..).zip(&self.chunks) {
            let free = chunk.slots.len() - chunk.held as usize;
            assert_eq!(self.roomy.contains(&number), free > 0);
            let mut listed = 0;
            let mut place = chunk.free;
            while let Some(Slot::Free { next, .. }) = chunk.slots.get(place as usize) {
                (listed, place) = (listed + 1, *next);
            }
            assert_eq!((listed, place), (free, NONE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::framing::Framing;
    use super::*;
    use crate::wire::WhenFull;

    fn insert(slots: &mut Slots) -> Conn {
        let slot = slots.insert(Id::Int(1), Mode::new(Framing::Chunked, WhenFull::Close));
        let generation = slots.generation(slot).expect("it is held");
        Conn {
            shard: 0,
            slot,
            generation,
        }
    }

    #[test]
    fn what_comes_after_a_wave_lies_low_and_the_rest_is_given_back() {
        let mut slots = Slots::new();
        let wave: Vec<Conn> = (0..10 * CHUNK).map(|_| insert(&mut slots)).collect();
        assert_eq!(slots.len(), 10 * CHUNK);
        // One stays high up: its chunk is kept for it, and one for those who come.
        let (last, others) = wave.split_last().expect("it is not empty");
        for conn in others {
            assert!(slots.remove(conn.slot).is_some());
            slots.check();
        }
        assert_eq!(
            (slots.held(), slots.len(), slots.present),
            (1, 10 * CHUNK, 2)
        );
        assert_eq!(slots.next_held(0), Some(last.slot));
        let again: Vec<Conn> = (0..CHUNK).map(|_| insert(&mut slots)).collect();
        assert!(again.iter().all(|conn| conn.slot < CHUNK));
        for conn in others {
            assert_eq!(slots.find(*conn), None);
        }
        for conn in again.iter().chain([last]) {
            slots.remove(conn.slot);
            slots.check();
        }
        assert_eq!((slots.held(), slots.present), (0, 1));
        // Where chunks were given up, too, conns are new.
        for _ in 0..2 * CHUNK {
            let conn = insert(&mut slots);
            assert!(!wave.contains(&conn) && !again.contains(&conn), "{conn:?}");
        }
    }

    #[test]
    fn another_beginning_names_other_connections() {
        let mut slots = Slots::new();
        slots.begin_with(u32::MAX);
        assert_eq!(insert(&mut slots).generation, Conn::GENERATIONS - 1);
        assert_eq!(insert(&mut slots.successor()).generation, 0);
    }

    #[test]
    fn generations_go_round_also_through_chunks_that_go() {
        let highest = Conn::GENERATIONS - 1;
        let floor = Chunk::absent(Generation::new(highest - 1));
        let mut slots = Slots::with_chunks(vec![floor], Generation::new(1));
        let mut given = Vec::new();
        for _ in 0..3 {
            let held: Vec<Conn> = (0..2 * CHUNK).map(|_| insert(&mut slots)).collect();
            held.iter().for_each(|conn| drop(slots.remove(conn.slot)));
            given.extend(held);
            slots = slots.successor();
        }
        let of_first: Vec<u32> = given
            .iter()
            .filter(|conn| conn.slot == 0)
            .map(|conn| conn.generation)
            .collect();
        assert_eq!(of_first, [highest - 1, highest, 0]);
        given.sort();
        assert!(given.is_sorted_by(|one, other| one < other), "none twice");
    }
}
