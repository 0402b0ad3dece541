//! The composition root: builds the rooms, joins them, runs them, and takes them down in order.
//!
//! Used by `main` and by tests alike. No logic of its own: what it joins is told apart by types,
//! commands come from `dist` and go to `bridge`, events the other way.

mod drain;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use crate::admin;
use crate::admin::Readiness;
use crate::bridge::{self, Bridge, Busy, Uplink};
use crate::dist::{self, ReplyTo};
use crate::edge::{self, Edge};
use crate::memory;
use crate::metrics::Metrics;
use crate::wire::{Command, Conn, Event, Gone, InfoValue, Owner, Watcher};

pub use drain::Config as Drain;

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
    /// How it takes its leave.
    pub drain: drain::Config,
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
    drain: drain::Config,
}

/// Starts everything; logs one line per listener. Call it inside a tokio runtime.
pub async fn start(mut config: Config) -> Result<Node, Error> {
    let metrics = Arc::new(Metrics::default());
    let readiness = Readiness::default();
    fit_open_files(&mut config.edge);
    let admin = admin::start(config.admin, Arc::clone(&metrics), readiness.clone()).await?;
    let schemes: Vec<_> = config
        .edge
        .listen
        .iter()
        .map(edge::Listen::scheme)
        .collect();
    let edge = edge::start(config.edge, Arc::clone(&metrics))?;
    let links = Arc::new(Links::default());
    config.bridge.epoch_base = wall_clock_us();
    config.bridge.about = vec![
        ("node", InfoValue::Text(config.dist.name.to_string())),
        ("version", InfoValue::Text(env!("CARGO_PKG_VERSION").into())),
    ];
    let uplink = Arc::clone(&links);
    let bridge = bridge::start(config.bridge, edge.clone(), uplink, Arc::clone(&metrics))?;
    let inbound = Arc::new(Inbound {
        bridge: bridge.clone(),
    });
    let name = config.dist.name.to_string();
    let dist = dist::start(config.dist, inbound, Arc::clone(&metrics)).await?;
    let dist_address = dist.listen_address();
    assert!(links.0.set(dist).is_ok(), "the links are set once");
    // Before the log says so: whoever reads it may ask.
    readiness.set(true);
    for (address, scheme) in edge.addresses().iter().zip(schemes) {
        tracing::info!(listener = scheme, %address, "listening");
    }
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
        drain: config.drain,
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
    pub fn reload(&mut self, config: &Config) -> Result<usize, edge::TlsError> {
        let certificates = self.edge.reload_certificates()?;
        let mut edge = config.edge.clone();
        fit_open_files(&mut edge);
        self.edge.reload(&edge);
        self.drain = config.drain;
        Ok(certificates)
    }

    /// Stops in order: readiness turns, accepting stops, connections leave, owners hear of it, links
    /// close. Takes no longer than the drain timeout; `false` when what follows on the connections
    /// took too long.
    pub async fn stop(self) -> bool {
        let end = tokio::time::Instant::now() + self.drain.timeout;
        drain::drain(self.drain, &self.edge, &self.readiness, &self.metrics).await;
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

/// Descriptors that are no connections: listeners, pollers, links, admin, logs.
const OPEN_FILES_RESERVE: usize = 256;

/// Open files that a node needs to hold so many connections: what [`fit_open_files`] reckons, the
/// other way round.
pub fn open_files_needed(edge: &edge::Config, connections: usize) -> usize {
    let listeners = edge.listen.len();
    let waiting = waiting_for_their_end(edge);
    let others = connections
        .saturating_add(OPEN_FILES_RESERVE)
        .saturating_add(waiting);
    // Heads take at most a sixteenth for each listener, less with few open files.
    let squeezed = match HEADS_PART.checked_sub(listeners) {
        None | Some(0) => usize::MAX,
        Some(rest) => others.saturating_mul(HEADS_PART).div_ceil(rest),
    };
    let heads = edge.heads_max.saturating_mul(listeners);
    others.saturating_add(heads).min(squeezed)
}

/// Sockets that are no connections any more, beyond those that the reserve has room for: what the first
/// listener has refused. Each further listener has its own, and each shard those that it has closed.
fn waiting_for_their_end(edge: &edge::Config) -> usize {
    let refused = edge::REFUSED_WAITING_MAX * edge.listen.len().saturating_sub(1);
    refused + edge::PARTING_MAX * edge.shards
}

/// Heads of a listener take at most this part of the open files.
const HEADS_PART: usize = 16;

/// Raises the limit on open files as far as it goes, and lowers what the edge allows to what the
/// limit allows: a refusal with 503 is better than an accept that fails.
fn fit_open_files(edge: &mut edge::Config) {
    let limit = rlimit::increase_nofile_limit(rlimit::INFINITY).unwrap_or(1024);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // Heads being read hold descriptors too, and must not take them all.
    edge.heads_max = edge.heads_max.min(limit / HEADS_PART).max(1);
    let heads = edge.heads_max * edge.listen.len();
    let waiting = waiting_for_their_end(edge);
    let room = limit
        .saturating_sub(OPEN_FILES_RESERVE + heads + waiting)
        .max(1);
    let wanted = edge.connections_max;
    edge.connections_max = wanted.min(room);
    tracing::info!(
        connections_max = edge.connections_max,
        heads_max = edge.heads_max,
        open_files = limit,
        "limits"
    );
    if room < wanted {
        tracing::info!(
            wanted,
            "the limit on open files (ulimit -n) holds connections_max down: raise it for more"
        );
    }
}

fn wall_clock_us() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `fit_open_files` makes of a limit, without touching that of this process.
    fn room(limit: usize, edge: &edge::Config) -> usize {
        let listeners = edge.listen.len();
        let heads = edge.heads_max.min(limit / HEADS_PART).max(1) * listeners;
        let waiting = waiting_for_their_end(edge);
        limit.saturating_sub(OPEN_FILES_RESERVE + heads + waiting)
    }

    #[test]
    fn so_many_open_files_are_enough_and_hardly_more() {
        for listeners in [1, 2, 15, 16, 20] {
            let edge = edge::Config {
                listen: vec![SocketAddr::from(([127, 0, 0, 1], 1)).into(); listeners],
                ..edge::Config::default()
            };
            for connections in [1, 1_000, 18_000, 1_000_000] {
                let needed = open_files_needed(&edge, connections);
                assert!(
                    room(needed, &edge) >= connections,
                    "{listeners} {connections}"
                );
                let less = needed - needed / 10 - listeners;
                assert!(room(less, &edge) < connections, "{listeners} {connections}");
            }
        }
    }
}
