//! The composition root: builds the rooms, joins them, runs them, and takes them down in order.
//!
//! Used by `main` and by tests alike. No logic of its own: what it joins is told apart by types,
//! commands come from `dist` and go to `bridge`, events the other way.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use crate::admin;
use crate::admin::Readiness;
use crate::bridge::{self, Bridge, Busy, Uplink};
use crate::dist::{self, ReplyTo};
use crate::edge::{self, Edge};
use crate::memory;
use crate::metrics::Metrics;
use crate::wire::{Command, Conn, Event, Gone, Owner, Watcher};

/// The rooms' configs.
#[derive(Clone, Debug)]
pub struct Config {
    /// What holds connections.
    pub edge: edge::Config,
    /// What carries commands and events.
    pub bridge: bridge::Config,
    /// What speaks to Erlang.
    pub dist: dist::Config,
    /// What the operator sees.
    pub admin: admin::Config,
}

/// Why the node did not start; each is the operator's to mend, and says how.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See there.
    #[error(transparent)]
    Edge(#[from] edge::Error),
    /// See there.
    #[error(transparent)]
    Dist(#[from] dist::Error),
    /// See there.
    #[error(transparent)]
    Admin(#[from] admin::Error),
    /// The system has no thread to give.
    #[error("cannot start the bridge: {0}; look at the limit on threads (ulimit -u)")]
    Bridge(#[from] std::io::Error),
}

/// A running node.
pub struct Node {
    edge: Edge,
    bridge: Bridge,
    links: Arc<Links>,
    readiness: Readiness,
    admin: SocketAddr,
    metrics: Arc<Metrics>,
}

/// Starts everything; logs one line per listener. Call it inside a tokio runtime.
pub async fn start(mut config: Config) -> Result<Node, Error> {
    let metrics = Arc::new(Metrics::default());
    let readiness = Readiness::default();
    fit_open_files(&mut config.edge);
    let admin = admin::start(config.admin, Arc::clone(&metrics), readiness.clone()).await?;
    let edge = edge::start(config.edge, Arc::clone(&metrics))?;
    let links = Arc::new(Links::default());
    let name = config.dist.name.to_string();
    config.bridge.name.clone_from(&name);
    let uplink = Arc::clone(&links);
    let bridge = bridge::start(config.bridge, edge.clone(), uplink, Arc::clone(&metrics))?;
    let inbound = Arc::new(Inbound {
        bridge: bridge.clone(),
    });
    let dist = dist::start(config.dist, inbound, Arc::clone(&metrics)).await?;
    let dist_address = dist.listen_address();
    assert!(links.0.set(dist).is_ok(), "the links are set once");
    // Before the log says so: whoever reads it may ask.
    readiness.set(true);
    edge.say_where();
    tracing::info!(listener = "admin", address = %admin, "listening");
    tracing::info!(listener = "dist", address = %dist_address, name, "listening");
    tokio::spawn(memory::watch(Arc::clone(&metrics)));
    Ok(Node {
        edge,
        bridge,
        links,
        readiness,
        admin,
        metrics,
    })
}

impl Node {
    /// Where HTTP is spoken.
    pub fn http_addresses(&self) -> &[edge::Address] {
        self.edge.addresses()
    }

    /// Where the admin side listens.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Where Erlang nodes connect.
    pub fn dist_address(&self) -> SocketAddr {
        self.links.dist().listen_address()
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Takes what may change at run time; nobody who is connected notices. Answers how many
    /// certificates were read again.
    ///
    /// # Errors
    /// When a certificate cannot be shown: then nothing is changed.
    pub fn reload(&self, config: &Config) -> Result<usize, edge::TlsError> {
        let certificates = self.edge.reload_certificates()?;
        let mut edge = config.edge.clone();
        fit_open_files(&mut edge);
        self.edge.reload(&edge);
        Ok(certificates)
    }

    /// Stops in order: readiness turns, accepting stops, connections leave, owners hear of it, links
    /// close. Takes no longer than the drain timeout; `false` when what follows on the connections
    /// took too long.
    pub async fn stop(self) -> bool {
        let how = self.edge.drains();
        let end = tokio::time::Instant::now() + how.timeout;
        self.readiness.set(false);
        self.edge.drain(how).await;
        let bridge = self.bridge.clone();
        let in_order = async {
            // Stopping shards and pump blocks; it must not block the runtime.
            let stopped = tokio::task::spawn_blocking(move || bridge.stop()).await;
            if let Err(error) = stopped {
                tracing::error!(%error, "the shards did not stop in order");
            }
            self.links.dist().stop().await;
        };
        tokio::time::timeout_at(end, in_order).await.is_ok()
    }
}

/// Commands on their way from the links to the bridge.
struct Inbound {
    bridge: Bridge,
}

impl dist::Inbound for Inbound {
    fn command(&self, command: Command, reply_to: Option<ReplyTo>) {
        let answer = reply_to
            .map(|reply_to| -> bridge::Answer { Box::new(move |reply| reply_to.send(reply)) });
        self.bridge.handle(command, answer);
    }

    fn sends(&self, sends: &mut Vec<Command>, held_bytes: usize) -> bool {
        self.bridge.handle_all(sends, held_bytes)
    }

    fn owner_gone(&self, owner: Owner) {
        self.bridge.owner_gone(owner);
    }
}

/// Events on their way from the bridge to the links. Empty until the links exist: they need the
/// bridge, the bridge needs them.
#[derive(Default)]
struct Links(OnceLock<dist::Node>);

impl Links {
    fn dist(&self) -> &dist::Node {
        self.0.get().expect("a started node has its links")
    }
}

impl Uplink for Links {
    fn tell(&self, owner: Owner, epoch: u64, events: &[Event]) -> Result<(), Busy> {
        let dist = self.0.get().ok_or(Busy)?;
        dist.events(owner, epoch, events).map_err(|dist::Busy| Busy)
    }

    fn gone(&self, watcher: Watcher, conn: Conn, gone: Gone) {
        // The first link may watch before the start that made it has returned: a matter of
        // microseconds, and the one time that this waits.
        self.0.wait().gone(watcher, conn, &gone);
    }
}

/// Raises the limit on open files as far as it goes, and fits the edge to it.
fn fit_open_files(edge: &mut edge::Config) {
    let raised = rlimit::increase_nofile_limit(rlimit::INFINITY);
    let limit = raised.unwrap_or_else(|_| edge::open_files_limit());
    edge.fit_open_files(limit, 0);
}
