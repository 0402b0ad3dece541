//! Who is told what happens on the edge, and how much of it may wait in their mailboxes.
//!
//! Called by the pump and the shards. It keeps no events: when an owner has not dealt with what it was told,
//! its way is busy, and the bridge keeps them, drops them when they are too many, and makes up for them with
//! a snapshot.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lariat::bridge::{self, Busy};
use lariat::term::{self, InVm, Names};
use lariat::wire::{Conn, Event, Gone, Owner, Watcher};
use rustler::{LocalPid, OwnedEnv};

use crate::commands::standalone;
use crate::entry::{self, Monitor};

/// Events that an owner was told and has not dealt with: ten batches.
const UNHEARD_MAX: usize = 10_000;

/// Owners attached at the same time: as many as the bridge takes.
const OWNERS_MAX: usize = 64;

pub(crate) struct Uplink {
    names: InVm,
    /// Told of connections that are watched.
    starter: LocalPid,
    attached: Mutex<Vec<Attached>>,
    owners: AtomicU64,
}

thread_local! {
    /// While a scheduler asks for a watch: what it was answered at once.
    static AT_ONCE: RefCell<Option<Vec<(Conn, Gone)>>> = const { RefCell::new(None) };
}

struct Attached {
    owner: Owner,
    pid: LocalPid,
    monitor: Option<Monitor>,
    unheard: Arc<AtomicUsize>,
}

impl Uplink {
    pub(crate) fn new(names: InVm, starter: LocalPid) -> Uplink {
        Uplink {
            names,
            starter,
            attached: Mutex::default(),
            owners: AtomicU64::new(0),
        }
    }

    /// What the edge and its connections are called.
    pub(crate) fn names(&self) -> &InVm {
        &self.names
    }

    /// Notes an owner; one that is attached already begins anew. `None`: there are too many, or it is not
    /// to be monitored, which is as good as gone.
    pub(crate) fn attach(
        &self,
        pid: LocalPid,
        monitor: impl FnOnce() -> Option<Monitor>,
    ) -> Option<Owner> {
        let mut attached = self.attached();
        if let Some(known) = attached.iter().find(|known| known.pid == pid) {
            known.unheard.store(0, Ordering::Relaxed);
            return Some(known.owner);
        }
        if attached.len() >= OWNERS_MAX {
            return None;
        }
        let monitor = Some(monitor()?);
        let owner = Owner(self.owners.fetch_add(1, Ordering::Relaxed));
        attached.push(Attached {
            owner,
            pid,
            monitor,
            unheard: Arc::default(),
        });
        Some(owner)
    }

    /// Forgets an owner, if it is one.
    pub(crate) fn detach(&self, pid: LocalPid) -> Option<(Owner, Option<Monitor>)> {
        let mut attached = self.attached();
        let at = attached.iter().position(|known| known.pid == pid)?;
        let was = attached.swap_remove(at);
        Some((was.owner, was.monitor))
    }

    /// This process has dealt with so many events.
    pub(crate) fn heard(&self, pid: LocalPid, events: usize) {
        let attached = self.attached();
        if let Some(known) = attached.iter().find(|known| known.pid == pid) {
            let less = |unheard: usize| Some(unheard.saturating_sub(events));
            let _ = known
                .unheard
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    /// What is asked here may be answered at once, on this thread: when a queue takes nothing. Then it is the
    /// caller's to have told, because on a scheduler nobody can be.
    pub(crate) fn watching(ask: impl FnOnce()) -> Vec<(Conn, Gone)> {
        AT_ONCE.with_borrow_mut(|told| *told = Some(Vec::new()));
        ask();
        AT_ONCE.take().unwrap_or_default()
    }

    fn of(&self, owner: Owner) -> Option<(LocalPid, Arc<AtomicUsize>)> {
        let attached = self.attached();
        let known = attached.iter().find(|known| known.owner == owner)?;
        Some((known.pid, Arc::clone(&known.unheard)))
    }

    fn attached(&self) -> MutexGuard<'_, Vec<Attached>> {
        // What a panic elsewhere leaves is still a list of owners.
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl bridge::Uplink for Uplink {
    /// `{lariat, Name, Epoch, [Event]}`
    fn tell(&self, owner: Owner, epoch: u64, events: &[Event]) -> Result<(), Busy> {
        let Some((pid, unheard)) = self.of(owner) else {
            // The bridge is about to hear that it is gone.
            return Ok(());
        };
        if unheard.load(Ordering::Relaxed) >= UNHEARD_MAX {
            return Err(Busy);
        }
        unheard.fetch_add(events.len(), Ordering::Relaxed);
        send(
            pid,
            &standalone(|w| term::events(w, &self.names, epoch, events)),
        );
        Ok(())
    }

    /// `{lariat_gone, Conn, Reason}`
    fn gone(&self, _: Watcher, conn: Conn, gone: Gone) {
        let gone = AT_ONCE.with_borrow_mut(|told| match told {
            Some(told) => {
                told.push((conn, gone));
                None
            }
            None => Some(gone),
        });
        let Some(gone) = gone else { return };
        let bytes = standalone(|w| {
            w.tuple(3).atom("lariat_gone");
            self.names.write_conn(w, conn);
            w.raw(&term::gone(&gone));
        });
        send(self.starter, &bytes);
    }
}

/// From a thread that is none of the VM's. A process that has ended hears nothing.
pub(crate) fn send(to: LocalPid, bytes: &[u8]) {
    let _ = OwnedEnv::new().send_and_clear(&to, |env| {
        entry::term(env, bytes).expect("our writer writes terms")
    });
}
