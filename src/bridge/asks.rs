//! Questions of the edge on their way to owners: each to one that serves its handler.
//!
//! No thread and no socket: the pump brings questions, and [`Owners`] says who serves what. Those that
//! serve the same handler have turns; one whose way is busy misses its turn. While all ways are busy
//! a question waits here, within the edge's limits and its deadline; so it does for one that has just
//! attached, until its snapshot has begun.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::owners::Owners;
use super::{Busy, Uplink};
use crate::edge::{Asked, Edge, Unasked};
use crate::metrics::Metrics;
use crate::wire::{Event, Handler, Owner};

/// Bytes of questions that are told together, or one of any size: what is told is written into one
/// buffer, and what does not fit a busy way is tried again.
const TOLD_BYTES_MAX: usize = 1024 * 1024;

/// What is not told yet, and whose turn it is.
#[derive(Default)]
pub(super) struct Asks {
    waiting: Vec<Asked>,
    /// The one that was asked last, of those that serve a handler.
    last: HashMap<Handler, Owner>,
}

impl Asks {
    /// Tells what waits, as far as the ways are free. `true` when something still waits.
    pub(super) fn tell(
        &mut self,
        owners: &Owners,
        uplink: &dyn Uplink,
        edge: &Edge,
        metrics: &Metrics,
    ) -> bool {
        edge.take_asked(&mut self.waiting);
        if self.waiting.is_empty() {
            return false;
        }
        let mut busy = HashSet::new();
        loop {
            let shares = self.share(owners, edge, &busy);
            if shares.is_empty() {
                break;
            }
            for (owner, share) in shares {
                let refused = tell_one(owner, share, owners, uplink, edge, metrics);
                if !refused.is_empty() {
                    busy.insert(owner);
                    self.waiting.extend(refused);
                }
            }
        }
        // In the order of their asking, also those that have missed their turn.
        self.waiting.sort_unstable_by_key(|asked| asked.reference.0);
        self.last
            .retain(|_, owner| owners.epoch_of(*owner).is_some());
        !self.waiting.is_empty()
    }

    /// Takes out what can be told, by owner; what nobody serves, or nobody waits for, goes.
    fn share(
        &mut self,
        owners: &Owners,
        edge: &Edge,
        busy: &HashSet<Owner>,
    ) -> BTreeMap<Owner, Vec<Asked>> {
        let mut shares = BTreeMap::<Owner, Vec<Asked>>::new();
        for asked in std::mem::take(&mut self.waiting) {
            let handler = asked.ask.handler();
            if !edge.ask_goes_to(asked.reference, None) {
                continue;
            }
            let serving = owners.serving(handler);
            let is_free = |owner| owners.is_told(owner) && !busy.contains(&owner);
            let Some(owner) = next(&serving, self.last.get(handler).copied(), is_free) else {
                if serving.is_empty() {
                    edge.refuse_ask(asked.reference, Unasked::NoHandler);
                } else {
                    self.waiting.push(asked);
                }
                continue;
            };
            self.last.insert(handler.clone(), owner);
            shares.entry(owner).or_default().push(asked);
        }
        shares
    }
}

/// The next behind `last` that is free.
fn next(serving: &[Owner], last: Option<Owner>, is_free: impl Fn(Owner) -> bool) -> Option<Owner> {
    let behind = serving.partition_point(|&owner| Some(owner) <= last);
    let (before, behind) = serving.split_at(behind);
    let mut in_turn = behind.iter().chain(before).copied();
    in_turn.find(|&owner| is_free(owner))
}

/// Tells one owner, and answers what its way did not take.
fn tell_one(
    owner: Owner,
    mut share: Vec<Asked>,
    owners: &Owners,
    uplink: &dyn Uplink,
    edge: &Edge,
    metrics: &Metrics,
) -> Vec<Asked> {
    let Some(epoch) = owners.epoch_of(owner) else {
        return share;
    };
    while !share.is_empty() {
        let mut bytes = 0;
        let fits = |asked: &&Asked| {
            bytes += asked.bytes();
            bytes <= TOLD_BYTES_MAX
        };
        let count = share.iter().take_while(fits).count().max(1);
        let events: Vec<Event> = share[..count]
            .iter()
            .map(|asked| Event::Ask {
                reference: asked.reference,
                ask: asked.ask.clone(),
            })
            .collect();
        // Noted first: the answer may come before this returns.
        for asked in &share[..count] {
            edge.ask_goes_to(asked.reference, Some(owner));
        }
        if uplink.tell(owner, epoch, &events) == Err(Busy) {
            break;
        }
        metrics.events.add(count as u64);
        share.drain(..count);
    }
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_serve_have_turns_and_the_busy_miss_theirs() {
        let serving = [Owner(1), Owner(3), Owner(7)];
        let turn = |last: Option<u64>, busy: &[u64]| {
            let is_free = |owner: Owner| !busy.contains(&owner.0);
            next(&serving, last.map(Owner), is_free)
        };
        assert_eq!(turn(None, &[]), Some(Owner(1)));
        assert_eq!(turn(Some(1), &[]), Some(Owner(3)));
        assert_eq!(turn(Some(2), &[]), Some(Owner(3)), "one that is gone");
        assert_eq!(turn(Some(7), &[]), Some(Owner(1)));
        assert_eq!(turn(Some(1), &[3]), Some(Owner(7)));
        assert_eq!(turn(Some(7), &[1, 3, 7]), None);
        assert_eq!(next(&[], None, |_| true), None);
    }
}
