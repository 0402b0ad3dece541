//! Commands on their way to the shards that they concern.
//!
//! Attaching is not here (`owners`): it changes what goes up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::credits::Credits;
use super::gather::Gather;
use super::{Answer, Busy};
use crate::edge::{Batch, Credit, Edge, Now, QueueFull, Watch};
use crate::metrics::{Dropped, Metrics};
use crate::wire::{
    Command, Conn, ID_COST, Id, Ids, InfoValue, Lent, Message, Owner, Reason, Refusal, Reply,
    Signal,
};

/// Batches whose memory is kept for the next read: as many as links that hand over at the same time,
/// which are at most as many as cores.
const BATCHES_KEPT: usize = 16;

/// The way down.
pub(super) struct Down {
    edge: Edge,
    credits: Arc<Credits>,
    /// Told of connections that are watched.
    up: Arc<dyn Watch>,
    batches: Mutex<Vec<Batch>>,
    metrics: Arc<Metrics>,
    name: String,
}

impl Down {
    pub(super) fn new(
        edge: Edge,
        credits: Arc<Credits>,
        up: Arc<dyn Watch>,
        metrics: Arc<Metrics>,
        name: String,
    ) -> Down {
        Down {
            edge,
            credits,
            up,
            batches: Mutex::default(),
            metrics,
            name,
        }
    }

    /// A batch for the sends of one read, which together hold `held_bytes`.
    pub(super) fn batch(&self, held_bytes: usize) -> Batch {
        let kept = self.batches().pop();
        let mut batch = kept.unwrap_or_else(|| self.edge.batch());
        batch.holds(held_bytes);
        batch
    }

    /// Keeps the memory of a batch that has been handed over.
    pub(super) fn keep(&self, batch: Batch) {
        let mut batches = self.batches();
        if batches.len() < BATCHES_KEPT {
            batches.push(batch);
        }
    }

    /// Adds a send that nobody waits for.
    pub(super) fn gather(&self, send: Command, batch: &mut Batch) {
        let Command::Send {
            ids,
            message,
            credit,
        } = send
        else {
            unreachable!("only sends are gathered");
        };
        let mut credit = self.credit(credit, &ids, &message);
        match ids {
            Ids::One(id) => batch.send(self.edge.shard_of(&id), Ids::One(id), message, credit),
            list => {
                let parts = self.by_shard(list);
                let last = parts.len();
                for (nth, (shard, ids)) in (1..).zip(parts) {
                    let share = share(&mut credit, ids.len(), nth == last);
                    batch.send(shard, ids, message.clone(), share);
                }
            }
        }
    }

    /// Sends to all receivers now, or to none: whoever asks hears that a queue is full, so nothing is
    /// dropped.
    pub(super) fn send_now(&self, ids: Ids, message: Lent<'_>) -> Result<Now, Busy> {
        let sent = match ids {
            Ids::One(id) => self.edge.send_now(id, message),
            list => self.edge.send_all(self.by_shard(list), message),
        };
        self.or_busy(sent)
    }

    /// The same for one connection.
    pub(super) fn deliver_now(&self, conn: Conn, message: Lent<'_>) -> Result<Now, Busy> {
        self.or_busy(self.edge.deliver_now(conn, message))
    }

    /// Tells one connection something.
    pub(super) fn signal_now(&self, conn: Conn, signal: Signal) -> Result<Now, Busy> {
        self.or_busy(self.edge.signal_now(conn, signal))
    }

    fn or_busy(&self, pushed: Result<Now, QueueFull>) -> Result<Now, Busy> {
        pushed.map_err(|QueueFull| {
            self.metrics.busy_sends.increment();
            Busy
        })
    }

    /// Hands what is gathered to the shards; what full queues refuse is dropped and counted. Whether
    /// all of it waits behind other work.
    pub(super) fn hand_over(&self, batch: &mut Batch) -> bool {
        self.edge.hand_over(batch, |ids, message| {
            self.dropped(ids.len(), message.bytes());
        })
    }

    fn batches(&self) -> MutexGuard<'_, Vec<Batch>> {
        // What a panic elsewhere leaves is still a list of batches.
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn handle(&self, command: Command, answer: Option<Answer>) {
        match command {
            Command::Send {
                ids,
                message,
                credit,
            } => self.send(ids, message, credit, answer),
            Command::Close { ids, reason } => self.close(ids, reason, answer),
            Command::CloseAll { per_second } => self.close_all(per_second, answer),
            Command::Connections { id } => self.connections(id, answer),
            Command::Signal { conn, signal } => {
                let bytes = match &signal {
                    Signal::Deliver(message) => message.bytes(),
                    Signal::Close(_) | Signal::Abort(_) => 0,
                };
                if let Err(QueueFull) = self.edge.signal(conn, signal) {
                    self.dropped(1, bytes);
                }
            }
            Command::Watch { conn, watcher } => {
                self.edge.watch(conn, watcher, Arc::clone(&self.up));
            }
            Command::Unwatch { conn, watcher } => {
                // What is told in vain then is ignored by who hears it.
                let _ = self.edge.unwatch(conn, watcher);
            }
            Command::Forget { watcher } => self.edge.forget(watcher),
            Command::Answers(answers) => {
                for (reference, answer) in answers {
                    self.edge.answer(reference, answer);
                }
                if let Some(answer) = answer {
                    answer(Reply::Ok);
                }
            }
            Command::Info => {
                if let Some(answer) = answer {
                    answer(Reply::Info(self.info()));
                }
            }
            Command::Attach { .. } | Command::Detach { .. } => {
                unreachable!("the bridge keeps these to itself")
            }
        }
    }

    fn send(&self, ids: Ids, message: Message, owner: Option<Owner>, answer: Option<Answer>) {
        let mut credit = self.credit(owner, &ids, &message);
        let parts = self.by_shard(ids);
        let gather = answer.map(|answer| Gather::sent(parts.len(), answer));
        let last = parts.len();
        for (nth, (shard, ids)) in (1..).zip(parts) {
            let (count, bytes) = (ids.len(), message.bytes());
            let share = share(&mut credit, count, nth == last);
            let part = gather.as_ref().map(Gather::part);
            let sent = self.edge.send(shard, ids, message.clone(), share, part);
            if sent.is_err() {
                self.dropped(count, bytes);
                if let Some(gather) = &gather {
                    gather.refuse(Refusal::Overloaded);
                }
            }
        }
    }

    /// What a message takes of its owner's credit. Given back in parts, each when its shard is through
    /// with it; without any part, at once.
    fn credit(&self, owner: Option<Owner>, ids: &Ids, message: &Message) -> Option<Credit> {
        owner.and_then(|owner| self.credits.take(owner, ids, message, &self.metrics))
    }

    fn close(&self, ids: Ids, reason: Reason, answer: Option<Answer>) {
        let parts = self.by_shard(ids);
        let gather = answer.map(|answer| Gather::closed(parts.len(), answer));
        for (shard, ids) in parts {
            let part = gather.as_ref().map(Gather::part);
            if self.edge.close(shard, ids, reason.clone(), part).is_err()
                && let Some(gather) = &gather
            {
                gather.refuse(Refusal::Overloaded);
            }
        }
    }

    fn close_all(&self, per_second: u32, answer: Option<Answer>) {
        let gather = answer.map(|answer| Gather::closed(self.edge.shards(), answer));
        for (shard, part) in self.edge.rates(per_second) {
            self.edge
                .close_all(shard, part, gather.as_ref().map(Gather::part));
        }
    }

    fn connections(&self, id: Id, answer: Option<Answer>) {
        let Some(answer) = answer else { return };
        let gather = Gather::connections(answer);
        if self.edge.connections(id, gather.part()).is_err() {
            gather.refuse(Refusal::Overloaded);
        }
    }

    fn info(&self) -> Vec<(&'static str, InfoValue)> {
        let metrics = &self.metrics;
        let addresses = self.edge.addresses().iter().map(ToString::to_string);
        let mut info = vec![
            ("node", InfoValue::Text(self.name.clone())),
            ("version", InfoValue::Text(env!("CARGO_PKG_VERSION").into())),
            ("http_addresses", InfoValue::Texts(addresses.collect())),
        ];
        for (name, value) in [
            ("connections", metrics.connections.sum()),
            ("shards", self.edge.shards() as u64),
            ("owners", metrics.owners.value()),
            ("links", metrics.links.value()),
            ("messages_delivered", metrics.delivered.value()),
            ("messages_dropped", metrics.dropped.sum()),
            ("outbox_bytes", metrics.outbox_bytes.value()),
            ("shard_queue_bytes", metrics.shard_queue_bytes.value()),
        ] {
            info.push((name, InfoValue::Int(value)));
        }
        info
    }

    /// The ids of each shard that has any, in their order.
    fn by_shard(&self, ids: Ids) -> Vec<(usize, Ids)> {
        let shards = self.edge.shards();
        match ids {
            Ids::One(id) => vec![(self.edge.shard_of(&id), Ids::One(id))],
            list if list.is_empty() => Vec::new(),
            list if shards == 1 => vec![(0, list)],
            Ids::Ints(ids) => split(ids, shards, |&id| self.edge.shard_of(&Id::Int(id)))
                .map(|(shard, ids)| (shard, Ids::Ints(ids)))
                .collect(),
            Ids::Many(ids) => split(ids, shards, |id| self.edge.shard_of(id))
                .map(|(shard, ids)| (shard, Ids::list(ids)))
                .collect(),
        }
    }

    fn dropped(&self, count: usize, bytes: usize) {
        self.metrics
            .dropped
            .of(Dropped::ShardQueueFull)
            .add(count as u64);
        self.metrics.overloaded_bytes.add(bytes as u64);
    }
}

/// The part of a message's credit for a shard that `ids` of its ids are on: the last gets the rest.
fn share(credit: &mut Option<Credit>, ids: usize, is_last: bool) -> Option<Credit> {
    if is_last {
        return credit.take();
    }
    let whole = credit.as_mut()?;
    Some(whole.split(ID_COST * ids as u64))
}

/// Looks at each id once, and makes one list a shard.
fn split<T>(
    ids: Vec<T>,
    shards: usize,
    shard_of: impl Fn(&T) -> usize,
) -> impl Iterator<Item = (usize, Vec<T>)> {
    // A quarter more than an even share: a seeded hash hardly ever needs more.
    let share = (ids.len() / shards).saturating_mul(5) / 4 + 1;
    let most = share.min(ids.len());
    let mut parts: Vec<Vec<T>> = (0..shards).map(|_| Vec::with_capacity(most)).collect();
    for id in ids {
        parts[shard_of(&id)].push(id);
    }
    let parts = parts.into_iter().enumerate();
    parts.filter(|(_, ids)| !ids.is_empty())
}
