//! Who wants to hear that a connection is gone: a table of one shard, beside its slab.
//!
//! A connection that nobody watches costs nothing here. The table knows no monitors and no links, only
//! that somebody is to be told; it shrinks as it empties, because a mass of watches comes and goes with
//! one process in Erlang. Bounded by what each watcher may watch.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::wire::{Conn, Gone, Reason, Watcher};

/// Is told that a connection is gone. Called on the shard's thread, or on the one that asked: it must
/// not block.
pub trait Watch: Send + Sync + 'static {
    /// Told exactly once for each watch that was not taken back.
    fn gone(&self, watcher: Watcher, conn: Conn, gone: Gone);
}

/// A wish on its way to the shard. It is answered also when it gets lost on the way, because then the
/// shard has ended or begun anew, and the connection is gone.
pub(in crate::edge) struct Wish {
    pub(in crate::edge) conn: Conn,
    watcher: Watcher,
    /// `None` once it is answered or noted.
    watch: Option<Arc<dyn Watch>>,
}

impl Wish {
    pub(in crate::edge) fn new(conn: Conn, watcher: Watcher, watch: Arc<dyn Watch>) -> Wish {
        Wish {
            conn,
            watcher,
            watch: Some(watch),
        }
    }

    /// The answer of those who do not hold the connection.
    pub(in crate::edge) fn answer(mut self, gone: Gone) {
        if let Some(watch) = self.watch.take() {
            watch.gone(self.watcher, self.conn, gone);
        }
    }
}

impl Drop for Wish {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.gone(self.watcher, self.conn, Gone::Before);
        }
    }
}

/// The watchers of one shard's connections.
#[derive(Default)]
pub(in crate::edge) struct Watchers(BTreeMap<(Conn, Watcher), Arc<dyn Watch>>);

impl Watchers {
    /// The connection is held.
    pub(in crate::edge) fn add(&mut self, mut wish: Wish) {
        if let Some(watch) = wish.watch.take() {
            self.0.insert((wish.conn, wish.watcher), watch);
        }
    }

    pub(in crate::edge) fn remove(&mut self, conn: Conn, watcher: Watcher) {
        self.0.remove(&(conn, watcher));
    }

    pub(in crate::edge) fn forget(&mut self, watcher: Watcher) {
        self.0.retain(|(_, of), _| *of != watcher);
    }

    /// Tells all who watch this connection.
    pub(in crate::edge) fn gone(&mut self, conn: Conn, reason: &Reason) {
        let all = (conn, Watcher(0))..=(conn, Watcher(u64::MAX));
        while let Some((&key, _)) = self.0.range(all.clone()).next() {
            if let Some(watch) = self.0.remove(&key) {
                watch.gone(key.1, conn, Gone::Closed(reason.clone()));
            }
        }
    }

    /// The shard has lost all its connections.
    pub(in crate::edge) fn lose(&mut self) {
        for ((conn, watcher), watch) in std::mem::take(&mut self.0) {
            watch.gone(watcher, conn, Gone::Lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Told(Mutex<Vec<(Watcher, Conn, Gone)>>);

    impl Watch for Told {
        fn gone(&self, watcher: Watcher, conn: Conn, gone: Gone) {
            self.0.lock().unwrap().push((watcher, conn, gone));
        }
    }

    fn conn(slot: u32, generation: u32) -> Conn {
        Conn {
            shard: 0,
            slot,
            generation,
        }
    }

    #[test]
    fn each_watcher_of_this_very_connection_is_told_once() {
        let told = Arc::new(Told::default());
        let mut watchers = Watchers::default();
        let mut add = |conn, watcher| {
            let told = Arc::clone(&told) as Arc<dyn Watch>;
            watchers.add(Wish::new(conn, Watcher(watcher), told));
        };
        for (conn, watcher) in [
            (conn(1, 1), 7),
            (conn(1, 1), 7),
            (conn(1, 1), u64::MAX),
            (conn(1, 1), 8),
            (conn(1, 1), 9),
            (conn(1, 2), 7),
            (conn(0, 1), 7),
        ] {
            add(conn, watcher);
        }
        watchers.remove(conn(1, 1), Watcher(8));
        watchers.forget(Watcher(9));
        watchers.gone(conn(1, 1), &Reason::Client);
        watchers.gone(conn(1, 1), &Reason::Io);
        let expected = [7, u64::MAX]
            .map(|watcher| (Watcher(watcher), conn(1, 1), Gone::Closed(Reason::Client)));
        assert_eq!(*told.0.lock().unwrap(), expected);
        assert_eq!(watchers.0.len(), 2);
    }
}
