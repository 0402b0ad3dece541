//! Finds the connections of an id: a table of bare slot numbers, the ids stay in their slots.
//!
//! An id's connections form a list through the slots, newest first; the table knows its head.
//! An entry costs four bytes and one control byte, divided by the table's load.

use hashbrown::HashTable;

use super::slots::{NONE, Slots};
use crate::wire::Id;

/// The heads of the lists. The caller hashes, always in the same way.
#[derive(Debug, Default)]
pub(super) struct Index {
    heads: HashTable<u32>,
}

impl Index {
    /// The newest connection of `id`, or [`NONE`].
    pub(super) fn head(&self, hash: u64, id: &Id, slots: &Slots) -> u32 {
        self.heads
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
        let before = self.heads.find_mut(hash, |&head| id_of(slots, head) == id);
        match before.map(|head| std::mem::replace(head, slot)) {
            Some(next) => slots.get_mut(slot).expect("a linked slot is held").next = next,
            None => {
                self.heads
                    .insert_unique(hash, slot, |&head| hasher(id_of(slots, head)));
            }
        }
    }

    /// Takes the slot, still held, out of its id's list.
    pub(super) fn unlink(&mut self, hash: u64, slot: u32, slots: &mut Slots) {
        let next = slots
            .get(slot)
            .expect("an unlinked slot is still held")
            .next;
        let id = id_of(slots, slot);
        let entry = self
            .heads
            .find_entry(hash, |&head| id_of(slots, head) == id);
        let mut entry = entry.expect("a held connection is in the index");
        let head = *entry.get();
        if head != slot {
            let before = slots_from(head, slots).find(|&at| next_of(slots, at) == slot);
            let before = before.expect("a held connection is in its id's list");
            slots.get_mut(before).expect("listed slots are held").next = next;
        } else if next == NONE {
            entry.remove();
        } else {
            *entry.get_mut() = next;
        }
    }
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
