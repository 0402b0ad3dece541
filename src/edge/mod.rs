//! Holds the connections: listeners that read request heads, shards that own sockets.
//!
//! The edge does not know Erlang, the hidden node or owners. Commands come in as calls of
//! [`Edge`], news go out through the [`Newsfeed`].
//!
//! Threads: the listeners and heads run on the tokio runtime that [`start`] is called in; each
//! shard is one thread of its own, named `shard-N`. An id lives on exactly one shard.

mod ask;
mod batch;
mod config;
mod credit;
mod door;
mod drain;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod http;
mod newsfeed;
mod open_files;
mod shard;
mod token;
mod untold;

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

pub use ask::{Asked, Unasked};
pub use batch::{Batch, Now};
pub use config::Config;
pub use credit::{Credit, Ledger};
pub use door::listen::{Address, Listen, NoAddress};
pub use door::origin::{Network, NoNetwork, Trust};
pub use door::tls::{Tls, TlsError};
pub use drain::Drain;
pub use http::cors::{Origin, Origins};
pub use http::pattern::Pattern;
pub use http::publish::PublishToken;
pub use http::route::{Access, Route};
pub use newsfeed::{News, Newsfeed, Taken};
pub use open_files::open_files_limit;
pub use shard::queue::{Answer, QueueFull, ShardAnswer};
pub use shard::watchers::Watch;
pub use token::{Algorithm, Claims, KeyError, KeyFile, TokenRules, Tokens};
pub use untold::UntoldLimits;

pub use crate::wire::WhenFull;

use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::wire::{Conn, Gone, Id, Ids, Message, Reason, SHARDS_MAX, Signal, Transport, Watcher};
use ask::Asks;
use door::addresses::Addresses;
use door::permit::{Kept, Permits};
use door::{Door, listener};
use http::exchange::Bodies;
use http::gather::Gatherers;
use shard::direct::Direct;
use shard::queue::{Queue, ShardCommand};
use shard::sweep::Sweep;
use shard::watchers::{Watchers, Wish};
use shard::{Shard, WAKE};
use untold::{Desk, Whole};

/// Ids are chosen by clients, so the hash is seeded; the same seed picks the shard and serves the
/// shard's index.
type Hasher = foldhash::quality::RandomState;

/// A producer's credit is this part of a shard's queue. 8 MiB by default: a hundred thousand small
/// messages, while the way there and back takes some five milliseconds, so that a producer runs
/// into it only when the shards cannot keep up. Eight producers at their windows hold about as
/// much as one full queue.
const CREDIT_SHARES: usize = 8;

/// Why the edge did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator's: the address is in use, or not ours.
    #[error(
        "cannot listen for HTTP on {address}: {source}; choose another (--http, or http.listen)"
    )]
    Bind {
        /// Which address.
        address: Address,
        /// What the system says.
        source: std::io::Error,
    },
    /// The operator's: a route whose parts do not fit together.
    #[error("{key}: {what}")]
    Route {
        /// Which key.
        key: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The operator's: no shards, or too many.
    #[error("shards must be from 1 to {SHARDS_MAX}, not {0}")]
    Shards(usize),
    /// The system's: no thread or no poller to be had.
    #[error("cannot start a shard: {0}; look at the limits on threads and open files")]
    Start(#[from] std::io::Error),
}

/// A running edge. Cloning gives another handle on the same one.
#[derive(Clone)]
pub struct Edge(Arc<Inner>);

struct Inner {
    config: RwLock<Arc<Config>>,
    queues: Vec<Arc<Queue>>,
    directs: Vec<Arc<Direct>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    hasher: Hasher,
    permits: Permits,
    newsfeed: Arc<Newsfeed>,
    asks: Asks,
    gatherers: Gatherers,
    bodies: Bodies,
    metrics: Arc<Metrics>,
    addresses: Vec<Address>,
    stop_accepting: watch::Sender<bool>,
    /// That this process could use when the edge was started.
    cores: usize,
}

/// Starts shards and listeners. Call it inside a tokio runtime.
pub fn start(config: Config, metrics: Arc<Metrics>) -> Result<Edge, Error> {
    if !(1..=SHARDS_MAX).contains(&config.shards) {
        return Err(Error::Shards(config.shards));
    }
    for route in &config.routes {
        let checked = route.check();
        checked.map_err(|(key, what)| Error::Route { key, what })?;
    }
    let open = |listen| Door::open(listen, config.client_timeout);
    let doors = config.listen.iter().map(open);
    let doors = doors.collect::<Result<Vec<_>, _>>()?;
    let addresses = doors.iter().map(|door| door.address().clone()).collect();
    let hasher = Hasher::default();
    let permits = Permits::new(
        config.connections_max,
        Addresses::new(config.connections_per_address_max),
    );
    let newsfeed = Arc::new(Newsfeed::new(config.news_max));
    let of_shard = config.of_shard();
    let untold = Arc::new(Whole::default());
    let (mut queues, mut directs, mut threads) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..config.shards {
        let poll = mio::Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKE)?;
        let queue = Arc::new(Queue::new(
            waker,
            config.queue_bytes_max,
            Arc::clone(&metrics),
        ));
        queues.push(Arc::clone(&queue));
        let number = u8::try_from(number).expect("there are at most 255 shards");
        let mut hub = Hub::new(number, of_shard.limits, hasher.clone());
        hub.set_poll_linger(of_shard.poll_linger);
        // A pid tells two lives of a node apart, the name of an edge in the VM does not.
        hub.begin_with(fastrand::u32(..));
        let shard = Shard {
            number,
            registry: poll.registry().try_clone()?,
            queue: Arc::clone(&queue),
            hub,
            permits: Kept::new(permits.clone()),
            newsfeed: Arc::clone(&newsfeed),
            metrics: Arc::clone(&metrics),
            sweep: Sweep::new(of_shard.heartbeat, fastrand::f64()),
            comeback: of_shard.comeback,
            watchers: Watchers::default(),
            allowed: of_shard.allowed,
            desk: Desk::new(config.untold, Arc::clone(&untold), Arc::clone(&queue)),
        };
        let thread = std::thread::Builder::new().name(format!("shard-{number}"));
        let direct = Arc::new(Direct::new(shard));
        directs.push(Arc::clone(&direct));
        let log = tracing::dispatcher::get_default(Clone::clone);
        threads.push(thread.spawn(move || {
            // Where several edges are in one process, each has a log of its own.
            let _told = tracing::dispatcher::set_default(&log);
            direct.run(poll);
        })?);
    }
    let (stop_accepting, stop) = watch::channel(false);
    let edge = Edge(Arc::new(Inner {
        config: RwLock::new(Arc::new(config)),
        queues,
        directs,
        threads: Mutex::new(threads),
        hasher,
        permits,
        newsfeed,
        asks: Asks::new(fastrand::u64(..)),
        gatherers: Gatherers::default(),
        bodies: Bodies::default(),
        metrics,
        addresses,
        stop_accepting,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    }));
    for door in doors {
        tokio::spawn(listener::run(edge.clone(), door, stop.clone()));
    }
    Ok(edge)
}

impl Edge {
    /// The addresses that HTTP is spoken on, with the ports that were chosen.
    pub fn addresses(&self) -> &[Address] {
        &self.0.addresses
    }

    /// Tells the log where HTTP is spoken: whoever reads it may ask.
    pub fn say_where(&self) {
        let config = self.config();
        for (address, listen) in self.addresses().iter().zip(&config.listen) {
            tracing::info!(listener = listen.scheme(), %address, "listening");
        }
    }

    /// Reads the certificates of all TLS listeners again. Who is connected stays, who comes is shown
    /// the new ones; answers how many there are.
    ///
    /// # Errors
    /// When one of them cannot be shown: then none is changed.
    pub fn reload_certificates(&self) -> Result<usize, TlsError> {
        let config = self.config();
        let listeners = config.listen.iter();
        let secured = listeners.filter_map(|listen| listen.tls.as_ref());
        let reloaded = secured
            .map(Tls::read_again)
            .collect::<Result<Vec<_>, _>>()?;
        let count = reloaded.len();
        reloaded.into_iter().for_each(door::tls::Reloaded::show);
        Ok(count)
    }

    /// Takes what may change at run time from `new`: see [`Config::reloaded`]. Connections stay.
    pub fn reload(&self, new: &Config) {
        let config = Arc::new(self.config().reloaded(new));
        self.0.permits.set_max(config.connections_max);
        for queue in &self.0.queues {
            queue.push(ShardCommand::Reload(Box::new(config.of_shard())));
        }
        let mut current = self
            .0
            .config
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = config;
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.0.queues.len()
    }

    /// The shard that an id lives on.
    pub fn shard_of(&self, id: &Id) -> usize {
        // Bits that the shard's index does not use: it takes the lowest and the highest.
        let bits = (self.0.hasher.hash_one(id) >> 16) & 0xffff_ffff;
        let shard = (bits * self.shards() as u64) >> 32;
        usize::try_from(shard).expect("a shard's number is small")
    }

    /// Where the shards' news are to be taken.
    pub fn newsfeed(&self) -> Arc<Newsfeed> {
        Arc::clone(&self.0.newsfeed)
    }

    /// The credit of one more producer, all of it free.
    pub fn ledger(&self) -> Arc<Ledger> {
        let window = self.config().queue_bytes_max / CREDIT_SHARES;
        Ledger::new(window as u64, self.newsfeed())
    }

    /// Delivers to ids that all live on `shard`. A full queue drops the message: the caller counts.
    /// A message that its credit covers is always taken.
    pub fn send(
        &self,
        shard: usize,
        ids: Ids,
        message: Message,
        credit: Option<Credit>,
        answer: Option<Answer>,
    ) -> Result<(), QueueFull> {
        self.push_bounded(
            shard,
            ShardCommand::Send {
                ids,
                message,
                credit,
                answer,
            },
        )
    }

    /// Closes the connections of ids that all live on `shard`.
    pub fn close(
        &self,
        shard: usize,
        ids: Ids,
        reason: Reason,
        answer: Option<Answer>,
    ) -> Result<(), QueueFull> {
        self.push_bounded(
            shard,
            ShardCommand::Close {
                ids,
                reason,
                answer,
            },
        )
    }

    /// Closes those who are connected to `shard` now, at a steady rate; 0 stops doing so.
    pub fn close_all(&self, shard: usize, per_second: u32, answer: Option<Answer>) {
        self.0.queues[shard].push(ShardCommand::CloseAll { per_second, answer });
    }

    /// What each shard has to close in a second so that all together close `per_second`.
    pub fn rates(&self, per_second: u32) -> impl Iterator<Item = (usize, u32)> {
        shard::drain::rates(per_second, self.shards())
    }

    /// Asks for the connections of an id.
    pub fn connections(&self, id: Id, answer: Answer) -> Result<(), QueueFull> {
        self.push_bounded(self.shard_of(&id), ShardCommand::Connections { id, answer })
    }

    /// Tells one connection something. A conn of a shard that does not exist is gone.
    pub fn signal(&self, conn: Conn, signal: Signal) -> Result<(), QueueFull> {
        match self.shard_with(conn) {
            Some(shard) => self.push_bounded(shard, ShardCommand::Signal { conn, signal }),
            None => Ok(()),
        }
    }

    /// The shard of a conn; one without is counted as gone.
    fn shard_with(&self, conn: Conn) -> Option<usize> {
        let shard = usize::from(conn.shard);
        if shard >= self.shards() {
            let dropped = &self.0.metrics.dropped;
            dropped.of(crate::metrics::Dropped::Gone).increment();
            return None;
        }
        Some(shard)
    }

    /// Has `watch` told, exactly once, when the connection is gone, also when it is gone already.
    pub fn watch(&self, conn: Conn, watcher: Watcher, watch: Arc<dyn Watch>) {
        let wish = Wish::new(conn, watcher, watch);
        match self.0.queues.get(usize::from(conn.shard)) {
            Some(queue) => queue.push_wish(wish),
            None => wish.answer(Gone::Before),
        }
    }

    /// Takes a watch back. A full queue forgets it: then the watcher is told what it does not want
    /// to hear any more.
    pub fn unwatch(&self, conn: Conn, watcher: Watcher) -> Result<(), QueueFull> {
        match usize::from(conn.shard) {
            shard if shard < self.shards() => {
                self.push_bounded(shard, ShardCommand::Unwatch { conn, watcher })
            }
            _ => Ok(()),
        }
    }

    /// Takes all watches of a watcher back.
    pub fn forget(&self, watcher: Watcher) {
        for queue in &self.0.queues {
            queue.push(ShardCommand::Forget { watcher });
        }
    }

    /// Has every shard publish the first part of its connections for this attachment.
    pub fn snapshot(&self, attachment: u64) {
        for queue in &self.0.queues {
            queue.push(ShardCommand::Snapshot {
                attachment,
                from: 0,
            });
        }
    }

    /// Has one shard publish the next part, beginning where the part before said.
    pub fn snapshot_more(&self, shard: u8, attachment: u64, from: u32) {
        self.0.queues[usize::from(shard)].push(ShardCommand::Snapshot { attachment, from });
    }

    /// Up to `most` of those who are connected, and how many there are.
    async fn sample(&self, most: usize) -> (Vec<(Id, Transport)>, u64) {
        let mut sample = Vec::new();
        for queue in &self.0.queues {
            let (tell, told) = oneshot::channel();
            let answer: Answer = Box::new(move |answer| drop(tell.send(answer)));
            queue.push(ShardCommand::Sample {
                most: most - sample.len(),
                answer,
            });
            if let Ok(ShardAnswer::Sample(part)) = told.await {
                sample.extend(part);
            }
        }
        (sample, self.held())
    }

    /// How many connections are held.
    pub fn held(&self) -> u64 {
        self.0.metrics.connections.sum()
    }

    /// Stops accepting; what is held stays.
    pub fn stop_accepting(&self) {
        self.0.stop_accepting.send_replace(true);
    }

    /// Closes every connection, ends the shards and closes the newsfeed. Blocks until they have.
    pub fn stop(&self) {
        self.stop_accepting();
        self.0.asks.close();
        for queue in &self.0.queues {
            queue.push(ShardCommand::Stop);
        }
        let mut threads = self
            .0
            .threads
            .lock()
            .expect("only taken here, and nothing panics");
        for thread in threads.drain(..) {
            // A shard that panicked has said so on its own.
            let _ = thread.join();
        }
        self.0.newsfeed.close();
    }

    fn push_bounded(&self, shard: usize, command: ShardCommand) -> Result<(), QueueFull> {
        self.0.queues[shard].push_bounded(command)
    }

    fn queues(&self) -> &[Arc<Queue>] {
        &self.0.queues
    }

    fn queue_of(&self, id: &Id) -> &Queue {
        &self.0.queues[self.shard_of(id)]
    }

    /// As it is now: whoever goes on with it for a while keeps it.
    fn config(&self) -> Arc<Config> {
        let config = self.0.config.read();
        Arc::clone(&config.unwrap_or_else(PoisonError::into_inner))
    }

    /// Turns true when nothing more is accepted.
    fn stopping(&self) -> watch::Receiver<bool> {
        self.0.stop_accepting.subscribe()
    }

    fn is_stopping(&self) -> bool {
        *self.0.stop_accepting.borrow()
    }

    fn gatherers(&self) -> &Gatherers {
        &self.0.gatherers
    }

    fn bodies(&self) -> &Bodies {
        &self.0.bodies
    }

    fn permits(&self) -> &Permits {
        &self.0.permits
    }

    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }
}
