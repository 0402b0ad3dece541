//! Whom a command is for: one id, or a list of them.
//!
//! No policy: an id that appears twice is there twice, and which shard has which is the bridge's.

use super::Id;

/// What a message costs beside its payload: about the size of a command in a queue.
const MESSAGE_COST: u64 = 64;

/// What each id costs: about the size of an integer id in a queue.
pub const ID_COST: u64 = 16;

/// The ids that a command is for. One id needs no list of its own, and a list of integers alone, as
/// nearly all are, takes a third of the memory of others. [`Ids::list`] makes the one form that a
/// list has, so that equal lists are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Exactly one.
    One(Id),
    /// Any number, each an [`Id::Int`]; none at all, too.
    Ints(Vec<i64>),
    /// Any number, not all of them integers.
    Many(Vec<Id>),
}

impl Ids {
    /// A list of ids.
    pub fn list(ids: Vec<Id>) -> Ids {
        let int = |id: &Id| match id {
            Id::Int(value) => Some(*value),
            Id::Bin(_) | Id::Term(_) => None,
        };
        match ids.iter().map(int).collect() {
            Some(ints) => Ids::Ints(ints),
            None => Ids::Many(ids),
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Ids::One(_) => 1,
            Ids::Ints(ids) => ids.len(),
            Ids::Many(ids) => ids.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `visit` with each, in order.
    pub fn for_each(&self, mut visit: impl FnMut(&Id)) {
        match self {
            Ids::One(id) => visit(id),
            Ids::Ints(ids) => ids.iter().for_each(|&value| visit(&Id::Int(value))),
            Ids::Many(ids) => ids.iter().for_each(visit),
        }
    }

    /// Bytes of the list and of its ids' texts, for the byte bounds of queues.
    pub fn heap_bytes(&self) -> usize {
        let list = match self {
            Ids::One(_) => 0,
            Ids::Ints(ids) => size_of_val(ids.as_slice()),
            Ids::Many(ids) => size_of_val(ids.as_slice()),
        };
        list + self.text_bytes()
    }

    /// Bytes of the texts alone: what is not of a fixed size.
    pub fn text_bytes(&self) -> usize {
        match self {
            Ids::One(id) => id.heap_bytes(),
            Ids::Ints(_) => 0,
            Ids::Many(ids) => ids.iter().map(Id::heap_bytes).sum(),
        }
    }

    /// What sending `payload_bytes` to these takes of its owner's credit, in bytes; the same as
    /// `lariat_wire:cost/2`, and `test/vectors/credit.txt` holds both to it. An estimate of what
    /// the message occupies in the queues that both sides can make without looking at the ids.
    pub fn cost(&self, payload_bytes: usize) -> u64 {
        MESSAGE_COST + payload_bytes as u64 + ID_COST * self.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_is_the_one_that_erlang_computes() {
        let vectors = include_str!("../../test/vectors/credit.txt");
        let lines = vectors.lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            let numbers: Vec<u64> = line.split(' ').map(|n| n.parse().unwrap()).collect();
            let [payload, ids, cost] = numbers[..] else {
                panic!("three numbers in {line:?}")
            };
            let ids = match usize::try_from(ids).unwrap() {
                1 => Ids::One(Id::Int(0)),
                count => Ids::Ints(vec![0; count]),
            };
            assert_eq!(ids.cost(usize::try_from(payload).unwrap()), cost, "{line}");
        }
    }

    #[test]
    fn a_list_has_one_form_and_its_order() {
        let bin = Id::Bin((*b"b").into());
        assert_eq!(Ids::list(Vec::new()), Ids::Ints(Vec::new()));
        assert_eq!(
            Ids::list(vec![Id::Int(2), Id::Int(1)]),
            Ids::Ints(vec![2, 1])
        );
        let mixed = vec![Id::Int(2), bin.clone(), Id::Int(1)];
        assert_eq!(Ids::list(mixed.clone()), Ids::Many(mixed.clone()));
        for (ids, expected) in [
            (Ids::One(bin.clone()), vec![bin]),
            (Ids::Ints(vec![2, 1]), vec![Id::Int(2), Id::Int(1)]),
            (Ids::Many(mixed.clone()), mixed),
        ] {
            let mut visited = Vec::new();
            ids.for_each(|id| visited.push(id.clone()));
            assert_eq!(visited, expected);
            assert_eq!(ids.len(), expected.len());
        }
    }
}
