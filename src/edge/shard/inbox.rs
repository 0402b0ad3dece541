//! What the clients of WebSockets are saying: those in the middle of it, and those who are not read.
//!
//! Tables beside the slab: a client that says nothing has no row in any of them. It reads nothing and
//! tells nobody: `hearing` does.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use crate::edge::untold::{Count, Desk};
use crate::hub::Framing;
use crate::websocket::{Incoming, Inflater, Rules};

/// Rows of [`Inbox::counts`] below which nobody looks for those that are done.
const COUNTS_KEPT: usize = 64;

/// What clients may say to a shard.
#[derive(Clone, Copy, Debug)]
pub(in crate::edge) struct Allowed {
    pub(in crate::edge) message_bytes_max: usize,
    pub(in crate::edge) frames_max: u32,
    /// Of messages that have not come whole, of all connections.
    pub(in crate::edge) unfinished_bytes_max: usize,
}

/// A connection in the middle of something.
#[derive(Debug, Default)]
pub(super) struct Middle {
    pub(super) incoming: Incoming,
    /// Read, and not looked at: the connection was paused before.
    pub(super) rest: Bytes,
    /// What [`Inbox::unfinished_bytes`] counts for it.
    counted: usize,
}

/// The tables of one shard.
pub(super) struct Inbox {
    allowed: Allowed,
    desk: Arc<Desk>,
    middles: HashMap<u32, Box<Middle>>,
    unfinished_bytes: usize,
    /// Of those that have said something which may not be told yet.
    counts: HashMap<u32, Arc<Count>>,
    counts_max: usize,
    paused: BTreeSet<u32>,
    pub(super) inflater: Inflater,
}

impl Inbox {
    pub(super) fn new(allowed: Allowed, desk: Arc<Desk>) -> Inbox {
        Inbox {
            allowed,
            desk,
            middles: HashMap::new(),
            unfinished_bytes: 0,
            counts: HashMap::new(),
            counts_max: COUNTS_KEPT,
            paused: BTreeSet::new(),
            inflater: Inflater::default(),
        }
    }

    /// An empty one in the place of this one.
    pub(super) fn successor(&self) -> Inbox {
        Inbox::new(self.allowed, Arc::clone(&self.desk))
    }

    pub(super) fn allow(&mut self, allowed: Allowed) {
        self.allowed = allowed;
    }

    pub(super) fn rules(&self, framing: Framing) -> Rules {
        Rules {
            message_bytes_max: self.allowed.message_bytes_max,
            frames_max: self.allowed.frames_max,
            may_deflate: framing.may_deflate(),
        }
    }

    /// Bytes of messages that have not come whole.
    pub(super) fn unfinished_bytes(&self) -> usize {
        self.unfinished_bytes
    }

    /// Where this connection is; a new middle when it is in none.
    pub(super) fn take(&mut self, slot: u32) -> Middle {
        if self.middles.is_empty() {
            return Middle::default();
        }
        let Some(mut middle) = self.middles.remove(&slot) else {
            return Middle::default();
        };
        self.unfinished_bytes -= std::mem::take(&mut middle.counted);
        *middle
    }

    /// Keeps where it is, if that is worth keeping.
    pub(super) fn keep(&mut self, slot: u32, mut middle: Middle) {
        if middle.incoming.is_idle() && middle.rest.is_empty() {
            if self.middles.is_empty() && self.middles.capacity() > 0 {
                self.middles = HashMap::new();
            }
            return;
        }
        middle.counted = middle.incoming.kept_bytes() + middle.rest.len();
        self.unfinished_bytes += middle.counted;
        self.middles.insert(slot, Box::new(middle));
    }

    /// Those of whom most is unfinished, when all together have too much: once they are gone an
    /// eighth of the limit is free.
    pub(super) fn worst(&self) -> Vec<u32> {
        let most = self.allowed.unfinished_bytes_max;
        if self.unfinished_bytes <= most {
            return Vec::new();
        }
        let rows = self.middles.iter();
        let mut rows: Vec<_> = rows.map(|(&slot, middle)| (middle.counted, slot)).collect();
        rows.sort_unstable();
        let mut left = self.unfinished_bytes;
        let mut worst = Vec::new();
        while left > most - most / 8
            && let Some((bytes, slot)) = rows.pop()
        {
            left -= bytes;
            worst.push(slot);
        }
        worst
    }

    /// The same bytes, counted until they are told. Whether no more is to be read for now.
    pub(super) fn count(&mut self, slot: u32, bytes: Bytes) -> (Bytes, bool) {
        if self.counts.len() >= self.counts_max && !self.counts.contains_key(&slot) {
            self.counts.retain(|_, count| !count.is_zero());
            self.counts_max = COUNTS_KEPT.max(2 * self.counts.len());
            self.counts.shrink_to(self.counts_max);
        }
        let desk = &self.desk;
        let count = self.counts.entry(slot).or_insert_with(|| desk.count());
        let bytes = count.add(bytes);
        if !count.is_full() {
            return (bytes, false);
        }
        // Said first: what is told from here on wakes us, what was told before is seen by looking again.
        self.desk.wait(true);
        let is_full = count.is_full();
        if is_full {
            self.paused.insert(slot);
        }
        (bytes, is_full)
    }

    pub(super) fn is_paused(&self, slot: u32) -> bool {
        !self.paused.is_empty() && self.paused.contains(&slot)
    }

    /// Takes out those that may be read on.
    pub(super) fn read_on(&mut self) -> Vec<u32> {
        if self.paused.is_empty() {
            return Vec::new();
        }
        // Said first: what is told from here on wakes us again.
        self.desk.wait(true);
        let counts = &self.counts;
        let may = |slot: &&u32| counts.get(slot).is_none_or(|count| count.has_room());
        let free: Vec<u32> = self.paused.iter().filter(may).copied().collect();
        for slot in &free {
            self.paused.remove(slot);
        }
        if self.paused.is_empty() {
            self.desk.wait(false);
        }
        free
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, slot: u32) {
        if !self.middles.is_empty() {
            let middle = self.take(slot);
            self.keep(slot, Middle::default());
            drop(middle);
        }
        if !self.counts.is_empty() {
            self.counts.remove(&slot);
        }
        self.paused.remove(&slot);
    }
}
