//! Who at the other end of a link wants to hear that a connection is gone: its monitors and links.
//!
//! Shards know only that this link watches a connection; the processes behind that are here, and no
//! connection that nobody watches is. Bounded in number, and shrinking as it empties. It decides
//! nothing about what a signal means (`signals`), and sends only DOWN and exit signals, each entry's
//! once: an entry is taken out before it is told. While the send queue is half full it waits with
//! telling, so that a mass of connections which close at once costs no peer its link: those who wait
//! are the entries that were there before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::Link;
use crate::dist::codec::Outgoing;
use crate::metrics::Metrics;
use crate::term::Term;
use crate::wire::Conn;

/// The watches of one link.
#[derive(Debug)]
pub(crate) struct Watches {
    table: Mutex<Table>,
    watches_max: usize,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Table {
    watches: BTreeSet<(Conn, Watch)>,
    /// Connections that are gone, as those who watch them are yet to be told, and why. Each has
    /// watches.
    gone: BTreeMap<Conn, Bytes>,
    /// Whether a shard may know of this link.
    has_watched: bool,
}

/// One monitor or link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Watch {
    /// The monitor's reference, and behind it the pid that monitors.
    Monitor(Box<[u8]>),
    /// The pid that is linked.
    Link(Box<[u8]>),
}

/// What became of a new watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// The shard must be told that this link watches the connection.
    First,
    /// The shard has been told.
    Known,
    /// As many as may be.
    Full,
}

/// What became of a watch that was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removed {
    /// The shard need not tell of the connection any more.
    Last,
    /// Others watch the connection.
    OthersStay,
    /// There was no such watch.
    Unknown,
}

impl Watch {
    /// What sorts first among the watches of a connection.
    fn first() -> Watch {
        Watch::Monitor(Box::default())
    }

    pub(super) fn monitor(reference: Term<'_>, from: &[u8]) -> Watch {
        Watch::Monitor([reference.bytes(), from].concat().into())
    }

    pub(super) fn link(from: &[u8]) -> Watch {
        Watch::Link(from.into())
    }

    /// The signal that tells it.
    fn signal(&self, link: &Link, conn: Conn, reason: &[u8]) -> Outgoing {
        let target = link.outbound.conn(conn);
        match self {
            Watch::Monitor(both) => {
                let (reference, from) = Term::parse(both).expect("it was a term when it came");
                link.outbound.down(&target, from, reference.bytes(), reason)
            }
            Watch::Link(from) => link.outbound.exit(&target, from, reason),
        }
    }
}

impl Watches {
    pub(super) fn new(watches_max: usize, metrics: Arc<Metrics>) -> Watches {
        Watches {
            table: Mutex::default(),
            watches_max,
            metrics,
        }
    }

    pub(super) fn add(&self, conn: Conn, watch: Watch) -> Added {
        let mut table = self.lock();
        let is_known = table.is_watched(conn);
        if table.watches.len() >= self.watches_max {
            return if table.watches.contains(&(conn, watch)) {
                Added::Known
            } else {
                Added::Full
            };
        }
        if table.watches.insert((conn, watch)) {
            self.metrics.watches.add(1);
        }
        table.has_watched = true;
        if is_known { Added::Known } else { Added::First }
    }

    /// Takes the monitor with this reference out.
    pub(super) fn demonitor(&self, conn: Conn, reference: Term<'_>) -> Removed {
        let mut table = self.lock();
        let from = (conn, Watch::Monitor(reference.bytes().into()));
        // A term is never the beginning of another, so there is at most one such entry.
        let found = table.watches.range(from..).next().filter(|(of, watch)| {
            let is_it = |both: &[u8]| both.starts_with(reference.bytes());
            *of == conn && matches!(watch, Watch::Monitor(both) if is_it(both))
        });
        match found.cloned() {
            Some(entry) => self.remove(&mut table, &entry),
            None => Removed::Unknown,
        }
    }

    /// Takes the link out.
    pub(super) fn unlink(&self, conn: Conn, from: &[u8]) -> Removed {
        let mut table = self.lock();
        self.remove(&mut table, &(conn, Watch::link(from)))
    }

    /// The connection is gone: tells all who watch it, now or as the send queue empties.
    pub(crate) fn gone(&self, link: &Link, conn: Conn, reason: Bytes) {
        let mut table = self.lock();
        if table.is_watched(conn) {
            table.gone.entry(conn).or_insert(reason);
            self.tell(&mut table, link);
        }
    }

    /// The send queue has emptied: tells those who wait. The writer calls this after each write,
    /// so whoever finds the queue full leaves the rest to a call that is still to come.
    pub(super) fn flush(&self, link: &Link) {
        self.tell(&mut self.lock(), link);
    }

    /// The link has ended; Erlang tells its processes by itself. True: a shard may know of it.
    pub(crate) fn clear(&self) -> bool {
        let table = std::mem::take(&mut *self.lock());
        self.metrics.watches.sub(table.watches.len() as u64);
        table.has_watched
    }

    fn tell(&self, table: &mut Table, link: &Link) {
        while let Some((&conn, reason)) = table.gone.first_key_value() {
            let reason = reason.clone();
            while let Some(entry) = table.first_of(conn).cloned() {
                if !link.queue.has_room_for_events() {
                    return;
                }
                self.remove(table, &entry);
                link.send(&entry.1.signal(link, conn, &reason));
            }
            table.gone.remove(&conn);
        }
    }

    fn remove(&self, table: &mut Table, entry: &(Conn, Watch)) -> Removed {
        if !table.watches.remove(entry) {
            return Removed::Unknown;
        }
        self.metrics.watches.sub(1);
        if table.is_watched(entry.0) {
            return Removed::OthersStay;
        }
        table.gone.remove(&entry.0);
        Removed::Last
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // A panic in here would leave a table that is still a table.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn first_of(&self, conn: Conn) -> Option<&(Conn, Watch)> {
        let first = self.watches.range((conn, Watch::first())..).next();
        first.filter(|(of, _)| *of == conn)
    }

    fn is_watched(&self, conn: Conn) -> bool {
        self.first_of(conn).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(slot: u32) -> Conn {
        Conn {
            shard: 0,
            slot,
            generation: 1,
        }
    }

    fn watches(watches_max: usize) -> Watches {
        Watches::new(watches_max, Arc::default())
    }

    /// Any term may stand for a reference here.
    fn reference(bytes: &[u8]) -> Term<'_> {
        Term::parse(bytes).unwrap().0
    }

    #[test]
    fn a_shard_is_told_of_the_first_and_of_the_last() {
        let watches = watches(10);
        let (one, other) = (reference(&[97, 1]), reference(&[97, 2]));
        let pid = b"pid";
        assert_eq!(watches.add(conn(1), Watch::monitor(one, pid)), Added::First);
        assert_eq!(
            watches.add(conn(1), Watch::monitor(other, pid)),
            Added::Known
        );
        assert_eq!(watches.add(conn(1), Watch::link(pid)), Added::Known);
        assert_eq!(watches.add(conn(1), Watch::link(pid)), Added::Known);
        assert_eq!(watches.add(conn(2), Watch::link(pid)), Added::First);
        assert_eq!(watches.metrics.watches.value(), 4);
        assert_eq!(watches.demonitor(conn(1), one), Removed::OthersStay);
        assert_eq!(watches.demonitor(conn(1), one), Removed::Unknown);
        assert_eq!(watches.demonitor(conn(2), other), Removed::Unknown);
        assert_eq!(watches.unlink(conn(1), pid), Removed::OthersStay);
        assert_eq!(watches.unlink(conn(1), pid), Removed::Unknown);
        assert_eq!(watches.demonitor(conn(1), other), Removed::Last);
        assert!(watches.clear());
        assert_eq!(watches.metrics.watches.value(), 0);
        assert!(!watches.clear());
    }

    #[test]
    fn more_than_may_be_are_refused_and_those_there_stay() {
        let watches = watches(1);
        assert_eq!(watches.add(conn(1), Watch::link(b"a")), Added::First);
        assert_eq!(watches.add(conn(1), Watch::link(b"a")), Added::Known);
        assert_eq!(watches.add(conn(1), Watch::link(b"b")), Added::Full);
        assert_eq!(watches.add(conn(2), Watch::link(b"a")), Added::Full);
        assert_eq!(watches.unlink(conn(1), b"a"), Removed::Last);
        assert_eq!(watches.add(conn(2), Watch::link(b"a")), Added::First);
    }
}
