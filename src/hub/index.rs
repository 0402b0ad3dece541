//! Finds the connections of an id: tables of bare slot numbers, the ids stay in their slots.
//!
//! An id's connections form a list through the slots, newest first; a table knows its head. An
//! entry costs four bytes and one control byte, divided by the table's load. There are many small
//! tables instead of a large one, because a table that grows or shrinks has to look at each of its
//! ids again: at a million connections that is 4,000 ids at a time.

use hashbrown::HashTable;

use super::slots::{NONE, Slots};
use crate::wire::Id;

/// How many tables: as many as one byte of the hash can tell apart.
const TABLES: usize = 256;

/// A table smaller than this is not worth shrinking.
const SHRUNK_MIN: usize = 16;

/// The heads of the lists. The caller hashes, always in the same way.
#[derive(Debug)]
pub(super) struct Index {
    tables: Box<[HashTable<u32>]>,
}

impl Default for Index {
    fn default() -> Index {
        let tables = (0..TABLES).map(|_| HashTable::new()).collect();
        Index { tables }
    }
}

impl Index {
    /// The newest connection of `id`, or [`NONE`].
    pub(super) fn head(&self, hash: u64, id: &Id, slots: &Slots) -> u32 {
        self.tables[table_of(hash)]
            .find(hash, |&slot| id_of(slots, slot) == id)
            .copied()
            .unwrap_or(NONE)
    }

    /// How many connections `id` has, counted up to `most`.
    pub(super) fn count(&self, hash: u64, id: &Id, slots: &Slots, most: usize) -> usize {
        let head = self.head(hash, id, slots);
        slots_from(head, slots).take(most).count()
    }

    /// Puts the slot in front of its id's list.
    pub(super) fn link(
        &mut self,
        hash: u64,
        slot: u32,
        slots: &mut Slots,
        hasher: impl Fn(&Id) -> u64,
    ) {
        let id = id_of(slots, slot);
        let heads = &mut self.tables[table_of(hash)];
        let before = heads.find_mut(hash, |&head| id_of(slots, head) == id);
        match before.map(|head| std::mem::replace(head, slot)) {
            Some(next) => slots.get_mut(slot).expect("a linked slot is held").next = next,
            None => {
                heads.insert_unique(hash, slot, |&head| hasher(id_of(slots, head)));
            }
        }
    }

    /// Takes the slot, still held, out of its id's list.
    pub(super) fn unlink(
        &mut self,
        hash: u64,
        slot: u32,
        slots: &mut Slots,
        hasher: impl Fn(&Id) -> u64,
    ) {
        let next = slots
            .get(slot)
            .expect("an unlinked slot is still held")
            .next;
        let id = id_of(slots, slot);
        let heads = &mut self.tables[table_of(hash)];
        let entry = heads.find_entry(hash, |&head| id_of(slots, head) == id);
        let mut entry = entry.expect("a held connection is in the index");
        let head = *entry.get();
        if head != slot {
            let before = slots_from(head, slots).find(|&at| next_of(slots, at) == slot);
            let before = before.expect("a held connection is in its id's list");
            slots.get_mut(before).expect("listed slots are held").next = next;
        } else if next == NONE {
            entry.remove();
            shrink(heads, |&head| hasher(id_of(slots, head)));
        } else {
            *entry.get_mut() = next;
        }
    }

    /// Entries that fit without growing, all tables together.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.tables.iter().map(HashTable::capacity).sum()
    }
}

/// A table that is a quarter full gets half its size: it then takes as many removals or insertions
/// as it has entries until it changes again.
fn shrink(heads: &mut HashTable<u32>, hasher: impl Fn(&u32) -> u64) {
    if heads.is_empty() {
        *heads = HashTable::new();
    } else if heads.capacity() >= SHRUNK_MIN && heads.len() <= heads.capacity() / 4 {
        heads.shrink_to(heads.len() * 2, hasher);
    }
}

/// By bits that nothing else takes: tables use the lowest and the highest of a hash, and
/// `edge::Edge::shard_of` those from 40 on.
fn table_of(hash: u64) -> usize {
    usize::from(hash.to_be_bytes()[1])
}

/// The slots of a list, beginning with `head`.
pub(super) fn slots_from(head: u32, slots: &Slots) -> impl Iterator<Item = u32> {
    std::iter::successors((head != NONE).then_some(head), move |&slot| {
        let next = next_of(slots, slot);
        (next != NONE).then_some(next)
    })
}

fn next_of(slots: &Slots, slot: u32) -> u32 {
    slots.get(slot).expect("listed slots are held").next
}

fn id_of(slots: &Slots, slot: u32) -> &Id {
    &slots.get(slot).expect("indexed slots are held").id
}
