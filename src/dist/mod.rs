//! Our hidden node: what makes Erlang take this process for one of its own.
//!
//! No HTTP, no ids looked up, no code executed for anybody: commands go to whoever implements
//! [`Inbound`], events come back through [`Node::events`].
//!
//! ```text
//!   epmd ── being found          accept ─┐                        ┌─ reader ─► session ─► Inbound
//!   dial ── finding     ──►  handshake ──┴─► registry ──►  link ──┤               │
//!                              peers          (owners)            └─ writer ◄─ queue ◄─ events
//! ```
//!
//! Bytes and terms are `codec`'s alone, TLS is `tls`'s and, after the handshake, `link::stream`'s.
//! Accepting, dialling and EPMD run on tokio, each link on two threads of its own. Spec: OTP
//! "Distribution Protocol" and "External Term Format".

mod accept;
mod codec;
mod cookie;
mod dial;
mod epmd;
mod flags;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod handshake;
mod identity;
mod link;
mod name;
mod owners;
mod peers;
mod registry;
mod replay;
mod throttle;
mod tls;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use cookie::{Cookie, CookieError};
pub use epmd::Failure as EpmdFailure;
pub use link::ReplyTo;
pub use name::{NameError, NodeName, Peer};
pub use replay::replay;
pub use tls::{Tls, TlsError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::accept::Acceptor;
use self::cookie::Cookies;
use self::dial::Dialler;
use self::epmd::Registrar;
use self::handshake::{Local, Width, unguessable};
use self::identity::Identity;
use self::link::Limits;
use self::registry::Registry;
use self::throttle::Throttle;
use crate::metrics::{LinkDown, Metrics};
use crate::term::{self, Writer};
use crate::wire::{Command, Conn, Event, Gone, Owner, Watcher};

/// How long [`Node::stop`] lets links write what is queued: a peer that reads needs milliseconds.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(2);

/// The shortest tick time: a quarter of it is the finest clock of a link.
const TICK_TIME_MIN: Duration = Duration::from_secs(1);

/// How the node presents itself and what it accepts.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name that Erlang knows it by.
    pub name: NodeName,
    /// The secret shared with the Erlang nodes.
    pub cookie: Cookie,
    /// Peers with a secret of their own, which is then the only one that counts for them.
    pub cookies: HashMap<NodeName, Cookie>,
    /// TLS for all links, of Erlang nodes that run with `-proto_dist inet_tls`; `None`: plain TCP.
    pub tls: Option<Tls>,
    /// Where Erlang nodes dial; port 0 picks one.
    pub listen: SocketAddr,
    /// The port of EPMD, here and on the hosts of peers; `None` does without.
    pub epmd: Option<u16>,
    /// The nodes to dial.
    pub connect: Vec<Peer>,
    /// The nodes that may dial in; empty: whoever knows the cookie.
    pub allow: Vec<NodeName>,
    /// `net_ticktime` of the cluster; at least a second.
    pub tick_time: Duration,
    /// The longest frame accepted; a longer one ends its link.
    pub frame_bytes_max: usize,
    /// How long connecting and handshake may take together.
    pub handshake_timeout: Duration,
    /// Inbound handshakes at a time; one more is closed at once.
    pub handshakes_max: usize,
    /// What may wait to be written to one link. Above half of it events are refused, above all of it
    /// the link is closed: the peer does not read.
    pub send_queue_bytes_max: usize,
    /// Monitors of and links to connections that the processes of one Erlang node may hold together;
    /// one more is answered `system_limit`.
    pub watches_max: usize,
}

impl Config {
    /// Everything but name and cookie as OTP has it, or where OTP has no limit, generous.
    pub fn new(name: NodeName, cookie: Cookie) -> Config {
        Config {
            name,
            cookie,
            cookies: HashMap::new(),
            tls: None,
            // Who reaches this port and knows the cookie commands the edge: loopback unless told.
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            epmd: Some(4369),
            connect: Vec::new(),
            allow: Vec::new(),
            tick_time: Duration::from_secs(60),
            frame_bytes_max: 64 * 1024 * 1024,
            // `net_setuptime`.
            handshake_timeout: Duration::from_secs(7),
            // A cluster of hundreds that dials at once still fits.
            handshakes_max: 256,
            // Two seconds of events at full rate (about 350k a second, about 50 bytes each).
            send_queue_bytes_max: 32 * 1024 * 1024,
            // About 200 bytes each, so 20 MB; a node that watches more wants the events of an owner.
            watches_max: 100_000,
        }
    }
}

/// Why the node did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener.
    #[error("cannot listen for Erlang nodes at {address}: {source}. Choose another --dist address")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The registration.
    #[error("{0}. Start EPMD with `epmd -daemon`, correct ERL_EPMD_PORT, or do without: --no-epmd")]
    Epmd(EpmdFailure),
    /// The registration: another node has the name.
    #[error("{0}")]
    NameTaken(EpmdFailure),
    /// Without EPMD nobody knows the peer's port.
    #[error("without EPMD the port of {0} is unknown: write --connect {0}:PORT")]
    PeerWithoutPort(NodeName),
    /// A link would tick itself to death.
    #[error(
        "a tick time of {0:?} is too short: use at least 1 s, and what net_ticktime is in Erlang"
    )]
    TickTime(Duration),
}

/// Who carries commands out. Called from the threads of links, which must not wait: no method may
/// block.
pub trait Inbound: Send + Sync + 'static {
    /// A command; `reply_to` when somebody waits for the answer.
    fn command(&self, command: Command, reply_to: Option<ReplyTo>);
    /// The sends of one read that nobody waits for, in order; takes them out and leaves the memory.
    /// Their payloads are slices that together keep `held_bytes` alive, whichever of them is kept.
    /// Whether all of them wait behind others: then nobody gains by our reading on at once.
    fn sends(&self, sends: &mut Vec<Command>, held_bytes: usize) -> bool {
        let _ = held_bytes;
        for command in sends.drain(..) {
            self.command(command, None);
        }
        false
    }
    /// The process of this owner has died, or the link to its node is lost. The number never
    /// comes again.
    fn owner_gone(&self, owner: Owner);
}

/// The send queue of an owner's link is half full: nothing was sent, try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the send queue of the owner's link is half full")]
pub struct Busy;

/// The running node. Dropping it ends accepting and dialling; [`Node::stop`] also ends its links.
#[derive(Debug)]
pub struct Node {
    registry: Arc<Registry>,
    listen_address: SocketAddr,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// Starts the node: listens, registers, dials. Must be called inside a tokio runtime, which must
/// outlive the node. Returns when Erlang can reach it; dialling goes on in the background.
///
/// # Errors
/// When the configuration cannot work, the address is taken, or EPMD cannot be reached or knows the
/// name already.
pub async fn start(
    config: Config,
    inbound: Arc<dyn Inbound>,
    metrics: Arc<Metrics>,
) -> Result<Node, Error> {
    check(&config)?;
    let limits = limits(&config);
    let listening = |source| Error::Listen {
        address: config.listen,
        source,
    };
    let listener = TcpListener::bind(config.listen).await.map_err(listening)?;
    let listen_address = listener.local_addr().map_err(listening)?;
    let registrar = config.epmd.map(|epmd_port| Registrar {
        epmd_port,
        name: config.name.clone(),
        listen_port: listen_address.port(),
    });
    let registered = match registrar {
        Some(registrar) => match registrar.register().await {
            Ok(registration) => Some((registrar, registration)),
            Err(failure @ EpmdFailure::NameTaken(_)) => return Err(Error::NameTaken(failure)),
            Err(failure) => return Err(Error::Epmd(failure)),
        },
        None => None,
    };
    let creation = match &registered {
        Some((_, registration)) => registration.creation,
        None => unguessable(),
    };
    let identity = Identity {
        name: config.name.clone(),
        // 0 would mean "any creation" to Erlang.
        creation: creation.max(1),
    };
    let local = Local {
        name: config.name.clone(),
        cookies: Cookies {
            of_others: config.cookie.clone(),
            of_peers: config.cookies,
        },
        creation: identity.creation,
        width: if config.tls.is_some() {
            Width::Four
        } else {
            Width::Two
        },
    };
    let registry = Arc::new(Registry::new(
        identity,
        limits,
        inbound,
        Arc::clone(&metrics),
    ));
    let acceptor = Acceptor {
        registry: Arc::clone(&registry),
        local: local.clone(),
        tls: config.tls.clone(),
        allow: config.allow,
        handshake_timeout: config.handshake_timeout,
        handshakes_max: config.handshakes_max,
        failures: Throttle::default(),
    };
    let dialler = Arc::new(Dialler {
        registry: Arc::clone(&registry),
        local,
        tls: config.tls,
        epmd_port: config.epmd,
        handshake_timeout: config.handshake_timeout,
    });
    let mut tasks = vec![tokio::spawn(acceptor.run(listener))];
    if let Some((registrar, registration)) = registered {
        tasks.push(tokio::spawn(registrar.keep(registration, metrics)));
    }
    for peer in config.connect {
        tasks.push(tokio::spawn(Arc::clone(&dialler).keep(peer)));
    }
    Ok(Node {
        registry,
        listen_address,
        tasks: Mutex::new(tasks),
    })
}

fn limits(config: &Config) -> Limits {
    Limits {
        tick_time: config.tick_time,
        frame_bytes_max: config.frame_bytes_max,
        send_queue_bytes_max: config.send_queue_bytes_max,
        watches_max: config.watches_max,
    }
}

fn check(config: &Config) -> Result<(), Error> {
    if config.tick_time < TICK_TIME_MIN {
        return Err(Error::TickTime(config.tick_time));
    }
    let unknown = config.connect.iter().find(|peer| peer.port.is_none());
    match unknown {
        Some(peer) if config.epmd.is_none() => Err(Error::PeerWithoutPort(peer.name.clone())),
        _ => Ok(()),
    }
}

impl Node {
    /// Where it listens for Erlang nodes.
    pub fn listen_address(&self) -> SocketAddr {
        self.listen_address
    }

    /// Its name.
    pub fn name(&self) -> &NodeName {
        &self.registry.identity().name
    }

    /// The nodes it is linked to, in order.
    pub fn links(&self) -> Vec<NodeName> {
        self.registry.linked()
    }

    /// Sends events to an owner as `{lariat, Node, Epoch, [Event]}`; never blocks. Events for an
    /// owner that is gone are dropped: [`Inbound::owner_gone`] has been called or is about to be.
    ///
    /// # Errors
    /// [`Busy`] when the owner's link has half of its send queue full; nothing was sent then.
    pub fn events(&self, owner: Owner, epoch: u64, events: &[Event]) -> Result<(), Busy> {
        let Some((link, pid)) = self.registry.owner(owner) else {
            return Ok(());
        };
        let encode = || {
            let mut payload = Writer::new();
            term::events(&mut payload, self.registry.identity(), epoch, events);
            link.outbound.send(&pid, &payload.into_bytes())
        };
        if link.send_events(self.registry.metrics(), encode) {
            Ok(())
        } else {
            Err(Busy)
        }
    }

    /// Tells the processes behind a [`Command::Watch`] that the connection is gone: DOWN to those
    /// who monitor it, an exit signal to those who are linked. Never blocks. A watcher whose link has
    /// ended has been told by Erlang.
    pub fn gone(&self, watcher: Watcher, conn: Conn, gone: &Gone) {
        self.registry.gone(watcher, conn, gone);
    }

    /// Ends accepting, dialling and the registration, then every link, after what is queued has been
    /// written. Takes at most a few seconds. Owners are told gone.
    pub async fn stop(&self) {
        let mut changes = self.registry.changes();
        let tasks = std::mem::take(&mut *self.tasks());
        for task in &tasks {
            task.abort();
        }
        for task in tasks {
            // An aborted task ends with an error that says just that.
            let _ = task.await;
        }
        let links = self.registry.stop();
        for link in &links {
            link.finish();
        }
        for is_last in [false, true] {
            let all_down = async {
                while !self.registry.linked().is_empty() && changes.changed().await.is_ok() {}
            };
            if timeout(FLUSH_TIME_MAX, all_down).await.is_ok() || is_last {
                return;
            }
            for link in &links {
                link.close(LinkDown::Shutdown);
            }
        }
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for task in self.tasks().drain(..) {
            task.abort();
        }
    }
}
