//! The Erlang processes that are told what happens on the edge.
//!
//! A table and nothing else: signals that must go out are returned, not sent. An owner is a process
//! and the link to its node; the same process over a new link is a new owner, because all that the
//! old one was told is void.

use std::collections::HashMap;
use std::sync::Arc;

use super::codec::Outgoing;
use super::link::Link;
use super::peers::Ticket;
use crate::term::{self, Pid};
use crate::wire::Owner;

/// Owners of one link. An application has one; a node that mints them in a loop is stopped here.
const OWNERS_PER_LINK_MAX: usize = 1024;

/// What became of `{attach, Pid, _}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attached {
    New(Owner),
    /// It was attached already: a snapshot is wanted again.
    Known(Owner),
    /// Too many on this link.
    Full,
    /// A process of another node than the one that asks.
    Elsewhere,
}

#[derive(Default)]
pub(crate) struct Owners {
    entries: HashMap<Owner, Entry>,
    last_owner: u64,
    /// Makes the references of our monitors.
    last_monitor: u32,
}

struct Entry {
    link: Arc<Link>,
    /// In the one encoding that is compared and sent.
    pid: Arc<[u8]>,
    monitor: u32,
}

impl Owners {
    /// With the monitor to send when the owner is new.
    pub(crate) fn attach(
        &mut self,
        link: &Arc<Link>,
        pid: Pid<'_>,
    ) -> (Attached, Option<Outgoing>) {
        if pid.node != link.peer().as_str() {
            return (Attached::Elsewhere, None);
        }
        if let Some(owner) = self.find(link.ticket, pid) {
            return (Attached::Known(owner), None);
        }
        if self.of_link(link.ticket).count() >= OWNERS_PER_LINK_MAX {
            return (Attached::Full, None);
        }
        self.last_owner += 1;
        self.last_monitor = self.last_monitor.wrapping_add(1);
        let owner = Owner(self.last_owner);
        let entry = Entry {
            link: Arc::clone(link),
            pid: term::pid(pid).into(),
            monitor: self.last_monitor,
        };
        let monitor = link.outbound.monitor(&entry.pid, entry.monitor);
        self.entries.insert(owner, entry);
        (Attached::New(owner), Some(monitor))
    }

    /// With the demonitor to send, and where.
    pub(crate) fn detach(&mut self, owner: Owner) -> Option<(Arc<Link>, Outgoing)> {
        let Entry { link, pid, monitor } = self.entries.remove(&owner)?;
        let demonitor = link.outbound.demonitor(&pid, monitor);
        Some((link, demonitor))
    }

    /// The owner whose monitor had this reference, now forgotten.
    pub(crate) fn died(&mut self, link: &Link, reference: &[u8]) -> Option<Owner> {
        let (owner, _) = self
            .of_link(link.ticket)
            .find(|(_, entry)| link.outbound.reference(entry.monitor) == reference)?;
        self.entries.remove(&owner);
        Some(owner)
    }

    pub(crate) fn find(&self, ticket: Ticket, pid: Pid<'_>) -> Option<Owner> {
        let pid = term::pid(pid);
        let mut of_link = self.of_link(ticket);
        let found = of_link.find(|(_, entry)| *entry.pid == *pid);
        found.map(|(owner, _)| owner)
    }

    pub(crate) fn place(&self, owner: Owner) -> Option<(Arc<Link>, Arc<[u8]>)> {
        let entry = self.entries.get(&owner)?;
        Some((Arc::clone(&entry.link), Arc::clone(&entry.pid)))
    }

    /// The owners of a link that has ended.
    pub(crate) fn forget_link(&mut self, ticket: Ticket) -> Vec<Owner> {
        let gone: Vec<Owner> = self.of_link(ticket).map(|(owner, _)| owner).collect();
        for owner in &gone {
            self.entries.remove(owner);
        }
        gone
    }

    fn of_link(&self, ticket: Ticket) -> impl Iterator<Item = (Owner, &Entry)> {
        let entries = self.entries.iter().map(|(owner, entry)| (*owner, entry));
        entries.filter(move |(_, entry)| entry.link.ticket == ticket)
    }
}
