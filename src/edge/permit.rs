//! Counts the connections of the whole edge against their limit.
//!
//! A permit is no object in memory that a connection keeps: the shard forgets it on adoption and
//! gives the number back when the connection closes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many connections are held, and how many may be.
#[derive(Clone, Debug)]
pub(super) struct Permits {
    used: Arc<AtomicUsize>,
    max: usize,
}

/// The right to hold one connection. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Permit(Option<Arc<AtomicUsize>>);

impl Permits {
    pub(super) fn new(max: usize) -> Permits {
        Permits {
            used: Arc::default(),
            max,
        }
    }

    /// The right to hold one more, while the limit allows it.
    pub(super) fn acquire(&self) -> Option<Permit> {
        let more = |used| (used < self.max).then_some(used + 1);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some(Permit(Some(Arc::clone(&self.used))))
    }

    /// Gives back a permit that was [kept](Permit::keep).
    pub(super) fn release(&self) {
        self.used.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Permit {
    /// The connection is held now: [`Permits::release`] gives the permit back.
    pub(super) fn keep(mut self) {
        self.0.take();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(used) = &self.0 {
            used.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
