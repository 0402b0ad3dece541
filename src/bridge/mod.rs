//! Carries commands down to the shards and events up to the owners.
//!
//! It knows neither Erlang nor the distribution protocol: whoever does gives it commands and an
//! [`Uplink`]. It also runs inside the BEAM, so it needs no runtime: one thread of its own, named
//! `pump`, which batches events.

mod asks;
mod credits;
mod down;
mod gather;
mod owners;
mod pump;

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

pub use crate::edge::Now;
use crate::edge::{Edge, Watch};
use crate::metrics::Metrics;
use crate::wire::{Command, Conn, Event, Gone, Ids, Lent, Owner, Refusal, Reply, Signal, Watcher};
use credits::Credits;
use down::Down;
use owners::Owners;

/// What the bridge is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Events told at once. Default: 1,000.
    pub batch_events_max: usize,
    /// How long an event waits for others. Default: 5 ms.
    pub batch_window: Duration,
    /// Events waiting for an owner that lags; past it they are dropped, and a new snapshot makes
    /// up for them. Default: 100,000.
    pub owner_events_max: usize,
    /// Owners attached at the same time. Default: 64, more than a cluster has routing nodes.
    pub owners_max: usize,
    /// The first epoch is above this. It must grow from start to start. Default: the wall clock in
    /// microseconds.
    pub epoch_base: u64,
    /// What `info` tells that the node is called: of a hidden node its name, in the VM what the edge is
    /// called there. Default: empty.
    pub name: String,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            batch_events_max: 1000,
            batch_window: Duration::from_millis(5),
            owner_events_max: 100_000,
            owners_max: 64,
            epoch_base: wall_clock_us(),
            name: String::new(),
        }
    }
}

/// Where owners are reached: the links of the hidden node, or processes in the same VM.
pub trait Uplink: Send + Sync + 'static {
    /// Tells `owner` these events. Never blocks; [`Busy`] means: not now, nothing was told.
    fn tell(&self, owner: Owner, epoch: u64, events: &[Event]) -> Result<(), Busy>;

    /// Tells `watcher` that a connection is gone, once for each [`Command::Watch`]. Never blocks and
    /// never loses it. In no order with what owners are told: it does not wait for a batch.
    fn gone(&self, watcher: Watcher, conn: Conn, gone: Gone);
}

/// The way of shards to an uplink.
struct Up(Arc<dyn Uplink>);

impl Watch for Up {
    fn gone(&self, watcher: Watcher, conn: Conn, gone: Gone) {
        self.0.gone(watcher, conn, gone);
    }
}

/// The way is full, to an owner or to a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// Receives the answer to a command, on any thread: it must not block.
pub type Answer = Box<dyn FnOnce(Reply) + Send>;

/// A running bridge. Cloning gives another handle on the same one.
#[derive(Clone)]
pub struct Bridge(Arc<Inner>);

struct Inner {
    down: Down,
    owners: Arc<Mutex<Owners>>,
    edge: Edge,
    pump: Mutex<Option<JoinHandle<()>>>,
}

/// Starts the pump.
pub fn start(
    config: Config,
    edge: Edge,
    uplink: Arc<dyn Uplink>,
    metrics: Arc<Metrics>,
) -> std::io::Result<Bridge> {
    let credits = Arc::new(Credits::default());
    let owners = Owners::new(
        &config,
        edge.shards(),
        Arc::clone(&credits),
        Arc::clone(&metrics),
    );
    let owners = Arc::new(Mutex::new(owners));
    let up = Arc::new(Up(Arc::clone(&uplink)));
    let pump = pump::Pump::new(
        &config,
        edge.clone(),
        uplink,
        Arc::clone(&owners),
        Arc::clone(&metrics),
    );
    let log = tracing::dispatcher::get_default(Clone::clone);
    let thread = std::thread::Builder::new()
        .name("pump".into())
        .spawn(move || {
            // As the shards do: its edge's log.
            let _told = tracing::dispatcher::set_default(&log);
            pump.run();
        })?;
    let down = Down::new(edge.clone(), credits, up, metrics, config.name);
    let pump = Mutex::new(Some(thread));
    Ok(Bridge(Arc::new(Inner {
        down,
        owners,
        edge,
        pump,
    })))
}

impl Bridge {
    /// Carries out a command. Never blocks. The answer may come before this returns, from another
    /// thread, or not at all when the edge stops before: then `answer` is dropped.
    pub fn handle(&self, command: Command, answer: Option<Answer>) {
        match command {
            Command::Attach { owner, handlers } => {
                let attached = self.lock().attach(owner, handlers, &self.0.edge);
                if let Some(answer) = answer {
                    answer(match attached {
                        Some((epoch, credit)) => Reply::Attached { epoch, credit },
                        None => Reply::Refused(Refusal::OwnersLimit),
                    });
                }
            }
            Command::Detach { owner } => {
                self.owner_gone(owner);
                if let Some(answer) = answer {
                    answer(Reply::Ok);
                }
            }
            command => self.0.down.handle(command, answer),
        }
    }

    /// Carries out commands that nobody waits for, in order: sends to one shard are handed over
    /// together, with one wake. Takes them out of `commands`. Their payloads may be parts of one
    /// piece of memory of `held_bytes`, which each queue counts as a whole. Never blocks. Whether
    /// what was handed over last waits behind what was there before.
    pub fn handle_all(&self, commands: &mut Vec<Command>, held_bytes: usize) -> bool {
        let mut batch = self.0.down.batch(held_bytes);
        for command in commands.drain(..) {
            if let Command::Send { .. } = command {
                self.0.down.gather(command, &mut batch);
            } else {
                self.0.down.hand_over(&mut batch);
                self.handle(command, None);
            }
        }
        let is_behind = self.0.down.hand_over(&mut batch);
        self.0.down.keep(batch);
        is_behind
    }

    /// Sends a message to ids now, without credit: all of their shards take it, or none does, and whoever
    /// asked hears so. Waits for nobody. Where the shard sleeps a small message for one id is written here
    /// and now, to 16 connections at most; else it allocates nothing but a part of a block of the queue.
    ///
    /// # Errors
    /// When as much waits for a shard as may wait of what is sent so, or the edge has stopped.
    pub fn send_now(&self, ids: Ids, message: Lent<'_>) -> Result<Now, Busy> {
        self.0.down.send_now(ids, message)
    }

    /// Sends a message to one connection, in the same way. One that is gone is told nothing: that is no error.
    ///
    /// # Errors
    /// The same.
    pub fn deliver_now(&self, conn: Conn, message: Lent<'_>) -> Result<Now, Busy> {
        self.0.down.deliver_now(conn, message)
    }

    /// Tells one connection something, in its shard's queue. One that is gone is told nothing: that is no error.
    ///
    /// # Errors
    /// The same.
    pub fn signal_now(&self, conn: Conn, signal: Signal) -> Result<Now, Busy> {
        self.0.down.signal_now(conn, signal)
    }

    /// Tells this owner nothing more.
    pub fn owner_gone(&self, owner: Owner) {
        self.lock().detach(owner);
        // After that nothing more is asked of it.
        self.0.edge.asked_is_gone(owner);
    }

    /// Stops the edge, tells what its end brought, and ends the pump. Blocks until it has.
    pub fn stop(&self) {
        self.0.edge.stop();
        let pump = self
            .0
            .pump
            .lock()
            .expect("only taken here, and nothing panics")
            .take();
        if let Some(pump) = pump {
            // A pump that panicked has said so on its own.
            let _ = pump.join();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Owners> {
        self.0
            .owners
            .lock()
            .expect("the owners' lock is never poisoned")
    }
}

fn wall_clock_us() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX / 2)
}
