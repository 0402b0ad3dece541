//! What outlives a frame and is shared by all links: which links there are, and which processes own.
//!
//! No I/O of its own and nothing that waits: every lock is held for a few table operations, and
//! never while the bridge or a socket is called.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tracing::info;

use super::Inbound;
use super::handshake::Remote;
use super::identity::Identity;
use super::link::{Limits, Link, Stream};
use super::name::NodeName;
use super::owners::{Attached, Owners};
use super::peers::{Outcome, Peers, Ticket, Verdict};
use crate::metrics::{Label, LinkDown, Metrics};
use crate::term::{self, Pid, Term};
use crate::wire::{Command, Conn, Gone, Owner, Watcher};

pub(crate) struct Registry {
    identity: Identity,
    limits: Limits,
    inbound: Arc<dyn Inbound>,
    metrics: Arc<Metrics>,
    links: Mutex<Links>,
    owners: Mutex<Owners>,
    /// Grows whenever a link comes or goes.
    changes: watch::Sender<u64>,
}

struct Links {
    peers: Peers,
    up: HashMap<Ticket, Arc<Link>>,
    is_stopping: bool,
}

impl Registry {
    pub(crate) fn new(
        identity: Identity,
        limits: Limits,
        inbound: Arc<dyn Inbound>,
        metrics: Arc<Metrics>,
    ) -> Registry {
        let links = Links {
            peers: Peers::new(identity.name.clone()),
            up: HashMap::new(),
            is_stopping: false,
        };
        Registry {
            identity,
            limits,
            inbound,
            metrics,
            links: Mutex::new(links),
            owners: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn inbound(&self) -> &dyn Inbound {
        &*self.inbound
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// To wait for links that come or go.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The names of the nodes that are linked, in order.
    pub(crate) fn linked(&self) -> Vec<NodeName> {
        let mut names: Vec<NodeName> = self
            .links()
            .up
            .values()
            .map(|link| link.peer().clone())
            .collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn is_up(&self, peer: &NodeName) -> bool {
        self.links().peers.is_up(peer)
    }

    /// See [`Peers::dial`].
    pub(crate) fn dial(self: &Arc<Self>, peer: &NodeName) -> Option<Attempt> {
        let ticket = self.links().peers.dial(peer)?;
        Some(Attempt::new(self, peer, ticket))
    }

    /// See [`Peers::inbound`].
    pub(crate) fn verdict(&self, peer: &NodeName) -> Verdict {
        self.links().peers.inbound(peer)
    }

    /// An inbound peer has proved itself: closes the link that it replaces.
    pub(crate) fn accepted(self: &Arc<Self>, peer: &NodeName) -> Attempt {
        let mut links = self.links();
        let Outcome::Up { link, replaced } = links.peers.accepted(peer) else {
            unreachable!("a peer that has proved itself is never stale");
        };
        let old = replaced.and_then(|ticket| links.up.get(&ticket).cloned());
        drop(links);
        if let Some(old) = old {
            old.close(LinkDown::Replaced);
        }
        Attempt::new(self, peer, link)
    }

    fn start_link(self: &Arc<Self>, ticket: Ticket, stream: Stream, remote: Remote) -> bool {
        let peer = remote.name.clone();
        let mut links = self.links();
        if links.is_stopping || !links.peers.is_current(&peer, ticket) {
            return false;
        }
        // The lock is held so that a link which ends at once is known before it is forgotten.
        match Link::start(stream, ticket, remote, self.limits, self) {
            Ok(link) => {
                links.up.insert(ticket, link);
            }
            Err(error) => {
                drop(links);
                tracing::error!(%peer, "no link: {error}. Raise the limit of threads or open files");
                return false;
            }
        }
        self.metrics.links.add(1);
        drop(links);
        info!(%peer, "link up");
        self.changes.send_modify(|count| *count += 1);
        true
    }

    /// Called once by each link's reader, as the last thing it does.
    pub(crate) fn link_ended(&self, link: &Link, reason: LinkDown) {
        // First the owners: who sees the link gone may rely on having been told of them.
        let gone = self.owners().forget_link(link.ticket);
        for owner in gone {
            self.inbound.owner_gone(owner);
        }
        if link.watches.clear() {
            let watcher = link.ticket.watcher();
            self.inbound.command(Command::Forget { watcher }, None);
        }
        // Counted under the lock: who finds it counted finds it gone, and the other way round.
        let mut links = self.links();
        self.metrics.links_down.of(reason).increment();
        links.peers.ended(link.peer(), link.ticket);
        if links.up.remove(&link.ticket).is_some() {
            self.metrics.links.sub(1);
        }
        drop(links);
        let reason = LinkDown::VALUES[reason.index()];
        info!(peer = %link.peer(), reason, "link down");
        self.changes.send_modify(|count| *count += 1);
    }

    /// Lets no link start any more; the links that there are.
    pub(crate) fn stop(&self) -> Vec<Arc<Link>> {
        let mut links = self.links();
        links.is_stopping = true;
        links.up.values().cloned().collect()
    }

    /// `{attach, Pid, _}` from a process of the link's node.
    pub(crate) fn attach(&self, link: &Arc<Link>, pid: Pid<'_>) -> Attached {
        let (attached, signal) = self.owners().attach(link, pid);
        if let Some(monitor) = signal {
            link.send(&monitor);
        }
        attached
    }

    /// The owner that this process was, now forgotten.
    pub(crate) fn detach_pid(&self, link: &Link, pid: Term<'_>) -> Option<Owner> {
        let owner = self.owners().find(link.ticket, pid.pid()?)?;
        self.detach(owner);
        Some(owner)
    }

    /// Forgets the owner, if it is known, and the monitor on it.
    pub(crate) fn detach(&self, owner: Owner) {
        let detached = self.owners().detach(owner);
        if let Some((link, demonitor)) = detached {
            link.send(&demonitor);
        }
    }

    /// A monitor of ours has fired.
    pub(crate) fn owner_died(&self, link: &Link, reference: &[u8]) {
        let died = self.owners().died(link, reference);
        if let Some(owner) = died {
            self.inbound.owner_gone(owner);
        }
    }

    /// A connection that a link watches is gone.
    pub(crate) fn gone(&self, watcher: Watcher, conn: Conn, gone: &Gone) {
        let link = self.links().up.get(&Ticket(watcher.0)).cloned();
        if *gone == Gone::Overloaded {
            self.metrics.watches_refused.increment();
        }
        if let Some(link) = link {
            link.watches.gone(&link, conn, term::gone(gone));
        }
    }

    /// The link and the pid of an owner.
    pub(crate) fn owner(&self, owner: Owner) -> Option<(Arc<Link>, Arc<[u8]>)> {
        self.owners().place(owner)
    }

    // A panic while one of these is held would leave tables that are still tables.
    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owners(&self) -> MutexGuard<'_, Owners> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// A place in the table of peers that is given back unless it becomes a link: also when the task
/// that holds it is cancelled by a deadline.
pub(crate) struct Attempt {
    registry: Arc<Registry>,
    peer: NodeName,
    ticket: Ticket,
    is_link: bool,
}

impl Attempt {
    fn new(registry: &Arc<Registry>, peer: &NodeName, ticket: Ticket) -> Attempt {
        Attempt {
            registry: Arc::clone(registry),
            peer: peer.clone(),
            ticket,
            is_link: false,
        }
    }

    /// See [`Peers::is_dialling`].
    pub(crate) fn is_dialling(&self) -> bool {
        self.registry
            .links()
            .peers
            .is_dialling(&self.peer, self.ticket)
    }

    /// Our dial has been proved. False: the peer's own attempt has won meanwhile.
    pub(crate) fn dialled(&self) -> bool {
        let outcome = self.registry.links().peers.dialled(&self.peer, self.ticket);
        matches!(outcome, Outcome::Up { .. })
    }

    /// The handshake is over: the socket becomes a link. False: no link.
    pub(crate) fn start_link(mut self, stream: Stream, remote: Remote) -> bool {
        let registry = Arc::clone(&self.registry);
        self.is_link = registry.start_link(self.ticket, stream, remote);
        self.is_link
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_link {
            self.registry.links().peers.ended(&self.peer, self.ticket);
        }
    }
}
