//! Who is attached, what waits for them, and when they need a new snapshot.
//!
//! No thread and no socket: [`pump`](super::pump) brings news and takes batches. Life of an owner:
//!
//! | state | news of a shard | leaves it by |
//! |---|---|---|
//! | syncing | told from that shard's `SnapshotBegin` on | the last shard's `SnapshotEnd` → in step; too much waiting, or news lost → lagging |
//! | in step | told | too much waiting, or news lost → lagging; attach → syncing |
//! | lagging | dropped and counted | its way is free again → syncing, with a new epoch |
//!
//! Why a snapshot needs no pause: a shard tells its news in order, and from `SnapshotBegin` on they
//! are complete. A connection that opens meanwhile may be told twice, which does no harm; one that
//! closes is told as closed only after it was told as opened, or without, which does no harm
//! either.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use super::credits::Credits;
use super::{Busy, Config, Uplink};
use crate::edge::{Edge, Ledger, News};
use crate::metrics::{Dropped, Metrics};
use crate::wire::{Conn, Event, Handler, Owner, Reason, Signal};

/// All owners.
pub(super) struct Owners {
    owners: BTreeMap<Owner, Attached>,
    shards: usize,
    epoch: u64,
    owners_max: usize,
    events_max: usize,
    batch_max: usize,
    /// What owners have been told of overload: messages, bytes.
    overload: (u64, u64),
    credits: Arc<Credits>,
    metrics: Arc<Metrics>,
}

struct Attached {
    /// Also the name of its snapshot.
    epoch: u64,
    /// Shards whose snapshot has begun, by number.
    live: Vec<bool>,
    /// Shards whose snapshot has ended.
    ended: usize,
    waiting: VecDeque<Event>,
    /// What it serves.
    handlers: Vec<Handler>,
    /// Whether it has been told anything since it attached: it knows its epoch then.
    is_told: bool,
    /// Shards that have more of the snapshot, and from where. They are asked for it when the part
    /// before is told, so that a snapshot of any size needs the room of a few parts.
    more: Vec<(u8, u32)>,
    is_lagging: bool,
    /// Goes on through lag, and begins anew with each attach.
    credit: Arc<Ledger>,
    /// What the owner has been told of it.
    acked: u64,
}

impl Owners {
    pub(super) fn new(
        config: &Config,
        shards: usize,
        credits: Arc<Credits>,
        metrics: Arc<Metrics>,
    ) -> Owners {
        Owners {
            owners: BTreeMap::new(),
            shards,
            epoch: config.epoch_base,
            owners_max: config.owners_max,
            events_max: config.owner_events_max,
            batch_max: config.batch_events_max,
            overload: (0, 0),
            credits,
            metrics,
        }
    }

    /// Attaches, or attaches anew; says the epoch and the credit, `None` when there are too many
    /// owners.
    pub(super) fn attach(
        &mut self,
        owner: Owner,
        handlers: Vec<Handler>,
        edge: &Edge,
    ) -> Option<(u64, u64)> {
        if !self.owners.contains_key(&owner) && self.owners.len() >= self.owners_max {
            return None;
        }
        let credit = edge.ledger();
        self.credits.open(owner, Arc::clone(&credit));
        let attached = Attached {
            handlers,
            ..self.sync(edge, credit, 0)
        };
        let granted = (attached.epoch, attached.credit.window());
        if self.owners.insert(owner, attached).is_none() {
            self.metrics.owners.add(1);
        }
        Some(granted)
    }

    pub(super) fn detach(&mut self, owner: Owner) {
        self.credits.close(owner);
        if self.owners.remove(&owner).is_some() {
            self.metrics.owners.sub(1);
        }
    }

    /// Who serves this handler, in order.
    pub(super) fn serving(&self, handler: &Handler) -> Vec<Owner> {
        let all = self.owners.iter();
        all.filter(|(_, attached)| attached.handlers.contains(handler))
            .map(|(&owner, _)| owner)
            .collect()
    }

    /// Whether its snapshot has begun: before, its node may not know the epoch yet.
    pub(super) fn is_told(&self, owner: Owner) -> bool {
        self.owners
            .get(&owner)
            .is_some_and(|attached| attached.is_told)
    }

    /// What its owner calls this attachment.
    pub(super) fn epoch_of(&self, owner: Owner) -> Option<u64> {
        self.owners.get(&owner).map(|attached| attached.epoch)
    }

    /// The beginning of a new epoch for one owner.
    fn sync(&mut self, edge: &Edge, credit: Arc<Ledger>, acked: u64) -> Attached {
        self.epoch += 1;
        self.metrics.snapshots.increment();
        edge.snapshot(self.epoch);
        Attached {
            epoch: self.epoch,
            live: vec![false; self.shards],
            ended: 0,
            waiting: VecDeque::from([Event::SnapshotBegin]),
            handlers: Vec::new(),
            is_told: false,
            more: Vec::new(),
            is_lagging: false,
            credit,
            acked,
        }
    }

    /// Gives a piece of news to those whom it concerns.
    pub(super) fn handle_news(&mut self, news: News, edge: &Edge) {
        match news {
            News::Event {
                event: received @ Event::Received { .. },
                ..
            } => self.handle_received(received, edge),
            News::Event { shard, event } => {
                let shard = usize::from(shard);
                let concerned = |owner: &&mut Attached| owner.live[shard];
                for owner in self.owners.values_mut().filter(concerned) {
                    owner.waiting.push_back(event.clone());
                }
            }
            News::SnapshotBegin { shard, attachment } => {
                if let Some(owner) = self.of(attachment) {
                    owner.live[usize::from(shard)] = true;
                }
            }
            News::Snapshot {
                shard,
                attachment,
                events,
                next,
            } => {
                let shards = self.shards;
                if let Some(owner) = self.of(attachment) {
                    owner.waiting.extend(events);
                    match next {
                        Some(from) => owner.more.push((shard, from)),
                        None => owner.ended += 1,
                    }
                    if owner.ended == shards && next.is_none() {
                        owner.waiting.push_back(Event::SnapshotEnd);
                    }
                }
            }
        }
    }

    /// What a client has said: for one owner that serves its handler, always the same one while the same
    /// ones serve it, because order matters; without a handler for all. Also before the snapshot has
    /// come to its connection: what was said is not said again. A client that nobody hears is told.
    fn handle_received(&mut self, event: Event, edge: &Edge) {
        let Event::Received { conn, handler, .. } = &event else {
            return;
        };
        let conn = *conn;
        if let Some(handler) = handler {
            let serving = self.serving(handler);
            let chosen = chosen(&serving, conn).and_then(|owner| self.owners.get_mut(&owner));
            match chosen.filter(|owner| !owner.is_lagging) {
                Some(owner) => owner.waiting.push_back(event),
                None => unserved(conn, edge, &self.metrics),
            }
            return;
        }
        let owners = self.owners.values_mut();
        let mut hearing: Vec<_> = owners.filter(|owner| !owner.is_lagging).collect();
        if hearing.is_empty() {
            unserved(conn, edge, &self.metrics);
        }
        for owner in &mut hearing {
            owner.waiting.push_back(event.clone());
        }
    }

    /// News were lost on the way: nobody's picture can be trusted.
    pub(super) fn handle_loss(&mut self, edge: &Edge) {
        for owner in self.owners.values_mut() {
            owner.lag(edge, &self.metrics);
        }
    }

    /// Tells overload, when there was any since the last time.
    pub(super) fn handle_overload(&mut self) {
        let count = self.metrics.dropped.of(Dropped::ShardQueueFull).value();
        let bytes = self.metrics.overloaded_bytes.value();
        let (told_count, told_bytes) = self.overload;
        if count > told_count {
            self.overload = (count, bytes);
            let (count, bytes) = (count - told_count, bytes.saturating_sub(told_bytes));
            for owner in self.owners.values_mut().filter(|owner| !owner.is_lagging) {
                owner.waiting.push_back(Event::Overloaded { count, bytes });
            }
        }
    }

    /// Tells what waits, as far as the ways are free. `true` when something still waits.
    pub(super) fn tell(&mut self, uplink: &dyn Uplink, edge: &Edge) -> bool {
        let mut is_waiting = false;
        let mut returned = Vec::new();
        for (&owner, attached) in &mut self.owners {
            if attached.is_lagging {
                // An empty batch asks whether the way is free; nothing is sent for it.
                if uplink.tell(owner, attached.epoch, &[]).is_ok() {
                    returned.push(owner);
                }
                is_waiting = true;
                continue;
            }
            while !attached.waiting.is_empty() {
                let count = attached.waiting.len().min(self.batch_max);
                let batch = &attached.waiting.make_contiguous()[..count];
                if uplink.tell(owner, attached.epoch, batch) == Err(Busy) {
                    is_waiting = true;
                    break;
                }
                attached.waiting.drain(..count);
                attached.is_told = true;
                self.metrics.events.add(count as u64);
            }
            if attached.waiting.is_empty() {
                attached.waiting.shrink_to(self.batch_max);
                is_waiting |= attached.ack(owner, uplink) == Err(Busy);
                for (shard, from) in attached.more.drain(..) {
                    edge.snapshot_more(shard, attached.epoch, from);
                }
            }
            if attached.waiting.len() > self.events_max {
                attached.lag(edge, &self.metrics);
            }
        }
        for owner in returned {
            if let Some(before) = self.owners.remove(&owner) {
                let attached = Attached {
                    handlers: before.handlers,
                    ..self.sync(edge, before.credit, before.acked)
                };
                self.owners.insert(owner, attached);
            }
        }
        is_waiting
    }

    fn of(&mut self, attachment: u64) -> Option<&mut Attached> {
        self.owners
            .values_mut()
            .find(|owner| owner.epoch == attachment && !owner.is_lagging)
    }
}

impl Attached {
    /// Tells what has come back of the credit since the last time. After all that waits, so never
    /// before the beginning of its epoch's snapshot, and outside of it, so never lost by lagging.
    fn ack(&mut self, owner: Owner, uplink: &dyn Uplink) -> Result<(), Busy> {
        let given = self.credit.given();
        let bytes = given - self.acked;
        if bytes > 0 {
            uplink.tell(owner, self.epoch, &[Event::Ack { bytes }])?;
            self.acked = given;
        }
        Ok(())
    }

    fn lag(&mut self, edge: &Edge, metrics: &Metrics) {
        metrics.events_lost.add(self.waiting.len() as u64);
        for event in std::mem::take(&mut self.waiting) {
            // No snapshot makes up for what a client has said.
            if let Event::Received { conn, .. } = event {
                unserved(conn, edge, metrics);
            }
        }
        self.more.clear();
        self.live.fill(false);
        self.is_lagging = true;
    }
}

/// Of those who serve the same handler the one for this connection: which it is changes for few of them
/// when one comes, and only for its own when one goes (rendezvous hashing).
fn chosen(serving: &[Owner], conn: Conn) -> Option<Owner> {
    let hasher = foldhash::fast::FixedState::default();
    let weight = |owner: &&Owner| hasher.hash_one((conn, owner.0));
    serving.iter().max_by_key(weight).copied()
}

/// Nobody hears what this client says: it is told, instead of losing more.
fn unserved(conn: Conn, edge: &Edge, metrics: &Metrics) {
    metrics.dropped.of(Dropped::Unserved).increment();
    if edge.signal(conn, Signal::Close(Reason::Unserved)).is_err() {
        // Its shard is overloaded, and what it says next is lost and counted as well.
        metrics.dropped.of(Dropped::ShardQueueFull).increment();
    }
}
