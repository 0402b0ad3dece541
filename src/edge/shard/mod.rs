//! One shard: a thread with its own poller, its own hub and its own sockets.
//!
//! It parses no requests: sockets arrive with theirs read. What clients send afterwards is told if they
//! are WebSockets (`hearing`), and else only watched for the end of the connection. It shares nothing with other shards but counters.
//! Who works when is not said here: the thread, or for a moment a sender (`direct`).
//!
//! A turn: readable and writable sockets, then the commands that wait, then the clock (sweeps,
//! drains), then the news of this turn go out as one batch.

mod beats;
mod commands;
pub(in crate::edge) mod direct;
#[cfg(test)]
mod direct_test;
pub(in crate::edge) mod drain;
mod hearing;
pub(in crate::edge) mod inbox;
pub(in crate::edge) mod named;
pub(in crate::edge) mod parting;
mod polls;
pub(in crate::edge) mod queue;
#[cfg(test)]
mod recovery_test;
pub(in crate::edge) mod relief;
pub(in crate::edge) mod session;
#[cfg(test)]
mod session_test;
pub(in crate::edge) mod sockets;
pub(in crate::edge) mod sweep;
pub(in crate::edge) mod watchers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Registry, Token};

use super::Hasher;
use super::door::permit::Kept;
use super::newsfeed::{News, Newsfeed};
use super::shard::beats::Beats;
use super::shard::drain::{Comeback, Drain};
use super::shard::inbox::{Allowed, Inbox};
use super::shard::named::Named;
use super::shard::parting::Parting;
use super::shard::queue::{Load, Queue};
use super::shard::relief::Given;
use super::shard::sockets::Sockets;
use super::shard::sweep::Sweep;
use super::shard::watchers::Watchers;
use super::untold::Desk;
use crate::hub::{Hub, Output};
use crate::metrics::{self, Dropped, Metrics};
use crate::wire::{Event, Reason, Transport};

/// The poller's name for the queue's waker; slots are below it.
pub(super) const WAKE: Token = Token(usize::MAX);

/// What a shard is made of.
pub(super) struct Shard {
    pub(super) number: u8,
    pub(super) registry: Registry,
    pub(super) queue: Arc<Queue>,
    pub(super) hub: Hub<Hasher>,
    pub(super) permits: Kept,
    pub(super) newsfeed: Arc<Newsfeed>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) sweep: Sweep,
    pub(super) comeback: Comeback,
    pub(super) watchers: Watchers,
    pub(super) allowed: Allowed,
    pub(super) desk: Arc<Desk>,
}

/// The running shard.
pub(in crate::edge) struct Running {
    shard: Shard,
    sockets: Sockets,
    parting: Parting,
    named: Named,
    beats: Beats,
    inbox: Inbox,
    /// Where sockets are read, for all of them.
    buffer: Vec<u8>,
    /// Those that were read for long: they go on behind the others.
    unread: Vec<u32>,
    news: Vec<News>,
    drain: Option<Drain>,
    stopping: bool,
    /// A sender's turn has panicked: the state is not to be used before [`Running::recover`].
    is_broken: bool,
    /// Messages of senders since the thread has woken.
    overtaken: u32,
    /// When the last turn began to look at the clock.
    before: Instant,
    /// What a turn takes from the queue, empty between two.
    loads: Vec<Load>,
    /// Connections held, by transport: what is to be given back should the hub be lost.
    held: [usize; Transport::ALL.len()],
    /// What the gauges were told last; they are shared by all shards.
    told: [u64; 3],
    /// While the thread takes messages over from senders.
    given: Given,
}

impl Running {
    fn new(shard: Shard) -> Running {
        let inbox = Inbox::new(shard.allowed, Arc::clone(&shard.desk));
        Running {
            shard,
            inbox,
            buffer: Vec::new(),
            unread: Vec::new(),
            sockets: Sockets::default(),
            parting: Parting::default(),
            named: Named::default(),
            beats: Beats::default(),
            news: Vec::new(),
            drain: None,
            stopping: false,
            is_broken: false,
            overtaken: 0,
            before: now(),
            loads: Vec::new(),
            held: [0; Transport::ALL.len()],
            told: [0; 3],
            given: Given::default(),
        }
    }

    /// How long the shard may wait for something to happen. Behind zero lies nothing that waits for it, and
    /// whoever pushes from now on wakes it.
    fn patience(&self) -> Duration {
        match self.drain {
            _ if !self.unread.is_empty() || !self.shard.queue.may_sleep() => Duration::ZERO,
            Some(_) => Drain::TURN,
            None => Sweep::TURN,
        }
    }

    /// Answers how many loads it has taken from the queue.
    fn turn(&mut self, events: &Events) -> usize {
        // What a sender's turn has left, before a slot that it has given up is anybody's again.
        self.outputs();
        self.read_unread();
        for event in events {
            if event.token() != WAKE {
                self.ready(event);
            }
        }
        let mut loads = std::mem::take(&mut self.loads);
        self.shard.queue.take(&mut loads);
        let taken = loads.len();
        for load in loads.drain(..) {
            match load {
                Load::One(command) => self.carry_out(command),
                Load::Many(mut commands) => {
                    for command in commands.drain(..) {
                        self.carry_out(command);
                    }
                    self.shard.queue.keep(commands);
                }
            }
        }
        self.loads = loads;
        let at = now();
        let elapsed = at.duration_since(self.before);
        self.clock(elapsed);
        self.beat(elapsed);
        self.polls(elapsed);
        self.parting.look(at);
        self.before = at;
        self.finish_turn();
        taken
    }

    /// After a panic, which is a bug: this shard's state is not to be trusted any more, so its
    /// connections close and it begins anew. The other shards have not noticed; the owners get a
    /// snapshot instead of the news that were lost.
    fn recover(&mut self) {
        let held: usize = self.held.iter().sum();
        tracing::error!(
            shard = self.shard.number,
            connections = held,
            "a panic: the connections of this shard are closed; please report it as a bug"
        );
        let metrics = &self.shard.metrics;
        metrics.closed.of(metrics::Closed::Panic).add(held as u64);
        for (transport, count) in Transport::ALL
            .into_iter()
            .zip(std::mem::take(&mut self.held))
        {
            metrics.connections.of(label(transport)).sub(count as u64);
        }
        self.shard.permits.release_all(held);
        let [outbox_bytes, congested, unfinished] = std::mem::take(&mut self.told);
        metrics.outbox_bytes.sub(outbox_bytes);
        metrics.congested.sub(congested);
        metrics.unfinished_bytes.sub(unfinished);
        self.end_drain();
        self.is_broken = false;
        self.news.clear();
        self.sockets = Sockets::default();
        self.inbox = self.inbox.successor();
        self.unread.clear();
        self.named = Named::default();
        self.beats = Beats::default();
        self.shard.hub = self.shard.hub.successor();
        self.shard.watchers.lose();
        self.shard.newsfeed.lose();
    }

    fn ready(&mut self, event: &mio::event::Event) {
        let Ok(slot) = u32::try_from(event.token().0) else {
            return;
        };
        if (event.is_readable() || event.is_read_closed() || event.is_error())
            && let Some(reason) = self.read(slot)
        {
            self.shard.hub.handle_gone(slot, reason);
        }
        if event.is_writable() {
            self.shard.hub.handle_writable(slot, &mut self.sockets);
        }
        self.outputs();
    }

    /// Does what the hub says.
    fn outputs(&mut self) {
        while let Some(output) = self.shard.hub.poll_output() {
            let registry = &self.shard.registry;
            let both = Interest::READABLE | Interest::WRITABLE;
            match output {
                Output::WantWrite(slot) => {
                    if !self.sockets.interest(slot, both, registry) {
                        self.shard.hub.handle_gone(slot, Reason::Io);
                    }
                }
                Output::WroteAll(slot) => {
                    if !self.sockets.interest(slot, Interest::READABLE, registry) {
                        self.shard.hub.handle_gone(slot, Reason::Io);
                    }
                }
                Output::Answered(slot) => drop(self.sockets.close(slot, registry)),
                Output::Congested { conn, id, bytes } => {
                    self.tell(Event::Congested { conn, id, bytes });
                }
                Output::Drained { conn, id } => self.tell(Event::Drained { conn, id }),
                Output::Gone {
                    conn,
                    id,
                    transport,
                    reason,
                    unsent,
                } => {
                    let socket = self.sockets.close(conn.slot, registry);
                    // Who has left sends no more, and only clients of WebSockets send much.
                    let is_left = matches!(reason, Reason::Client | Reason::Io);
                    if let Some(socket) = socket.filter(|_| speaks(transport) && !is_left) {
                        self.parting.put(socket, now());
                    }
                    self.named.remove(conn.slot);
                    self.beats.remove(conn.slot);
                    self.shard.permits.release(conn.slot);
                    self.inbox.forget(conn.slot);
                    self.held[transport as usize] -= 1;
                    let metrics = &self.shard.metrics;
                    metrics.connections.of(label(transport)).sub(1);
                    metrics
                        .closed
                        .of(metrics::Closed::ALL[reason.index()])
                        .increment();
                    metrics.dropped.of(Dropped::Unsent).add(unsent as u64);
                    self.tell_gauges();
                    self.shard.watchers.gone(conn, &reason);
                    self.tell(Event::Closed { conn, id, reason });
                }
            }
        }
    }

    fn tell(&mut self, event: Event) {
        let shard = self.shard.number;
        self.news.push(News::Event { shard, event });
    }

    fn clock(&mut self, elapsed: Duration) {
        if let Some(drain) = &mut self.drain {
            let (metrics, hub) = (&self.shard.metrics, &self.shard.hub);
            let due = drain.due(elapsed, hub.held(), metrics);
            let closed = self.send_away(due, &Reason::Drain);
            let metrics = &self.shard.metrics;
            let goes_on = |drain: &mut Drain| drain.did(due, closed, metrics);
            self.drain.take_if(|drain| !goes_on(drain));
            self.outputs();
        }
        if let Some(visit) = self.shard.sweep.visit(elapsed, self.shard.hub.slots()) {
            let (hub, beats) = (&mut self.shard.hub, &self.beats);
            let beat = |slot| visit.heartbeat && !beats.has(slot);
            let whole = hub.handle_sweep(visit.slots, beat, &mut self.sockets);
            if whole {
                self.shard.sweep.next(fastrand::f64());
            }
            self.outputs();
        }
    }

    /// Heartbeats of those that have one of their own.
    fn beat(&mut self, elapsed: Duration) {
        self.beats.pass(elapsed);
        while let Some(slot) = self.beats.next_due() {
            self.shard.hub.handle_beat(slot, &mut self.sockets);
            self.outputs();
        }
    }

    /// Closes up to `count` connections, and asks each to come back at a time of its own.
    fn send_away(&mut self, count: usize, reason: &Reason) -> usize {
        let comeback = self.shard.comeback;
        let retry_ms = || comeback.wait_ms(fastrand::f64());
        self.shard
            .hub
            .handle_drain(count, reason, retry_ms, &mut self.sockets)
    }

    fn end_drain(&mut self) {
        if let Some(drain) = self.drain.take() {
            drain.end(&self.shard.metrics);
        }
    }

    fn finish_turn(&mut self) {
        self.count_turn();
        let metrics = &self.shard.metrics;
        let lost = self.shard.newsfeed.publish(&mut self.news, metrics);
        for conn in lost {
            metrics.dropped.of(Dropped::Unserved).increment();
            let (hub, reason) = (&mut self.shard.hub, Reason::Unserved);
            hub.handle_close_conn(conn, reason, &mut self.sockets);
        }
        self.outputs();
    }

    /// What a turn, or a sender's, has written, dropped and left waiting.
    fn count_turn(&mut self) {
        let written = self.sockets.take_written();
        self.shard.metrics.sent_bytes.add(written);
        self.count_lost();
        self.tell_gauges();
    }

    fn count_lost(&mut self) {
        let lost = self.shard.hub.take_lost();
        let metrics = &self.shard.metrics;
        for (reason, count) in [
            (Dropped::DropOldest, lost.oldest),
            (Dropped::DropNewest, lost.newest),
            (Dropped::KeepLatest, lost.replaced),
            (Dropped::OutboxTotal, lost.total),
        ] {
            if count > 0 {
                metrics.dropped.of(reason).add(count);
            }
        }
    }

    /// Before news and before watchers: whoever hears what happened finds it counted.
    fn tell_gauges(&mut self) {
        let now = [
            self.shard.hub.queued_bytes() as u64,
            self.shard.hub.congested() as u64,
            self.inbox.unfinished_bytes() as u64,
        ];
        let before = std::mem::replace(&mut self.told, now);
        if now != before {
            let metrics = &self.shard.metrics;
            let gauges = [
                &metrics.outbox_bytes,
                &metrics.congested,
                &metrics.unfinished_bytes,
            ];
            for ((gauge, now), before) in gauges.into_iter().zip(now).zip(before) {
                gauge.add(now.wrapping_sub(before));
            }
        }
    }

    fn stop(&mut self) {
        self.shard.queue.close();
        self.end_drain();
        self.send_away(self.shard.hub.held(), &Reason::Shutdown);
        self.outputs();
        // Those that still have an outbox do not read; their sockets close with the shard.
        let mut from = 0;
        while let Some((conn, ..)) = self.shard.hub.next_held(from) {
            from = conn.slot + 1;
            self.shard.hub.handle_gone(conn.slot, Reason::Shutdown);
        }
        self.outputs();
        self.finish_turn();
    }
}

fn speaks(transport: Transport) -> bool {
    transport == Transport::Websocket
}

fn label(transport: Transport) -> metrics::Transport {
    match transport {
        Transport::Chunked => metrics::Transport::Chunked,
        Transport::Sse => metrics::Transport::Sse,
        Transport::Websocket => metrics::Transport::Websocket,
        Transport::Poll => metrics::Transport::Poll,
    }
}

/// The shard is the one place of the edge that reads the clock for its hub.
fn now() -> Instant {
    Instant::now()
}
