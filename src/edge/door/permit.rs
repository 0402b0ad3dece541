//! Counts the connections of the whole edge against their limit, and remembers what each is to give
//! back when it closes.
//!
//! A permit is no object in memory that a connection keeps: its shard keeps a number for those whose
//! address is counted, and nothing for the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::addresses::{Addresses, Guest};

/// How many connections are held, and how many may be.
#[derive(Clone, Debug)]
pub(in crate::edge) struct Permits {
    used: Arc<AtomicUsize>,
    max: Arc<AtomicUsize>,
    addresses: Addresses,
}

/// The right to hold one connection. Dropping it gives it back.
#[derive(Debug)]
pub(in crate::edge) struct Permit {
    /// `None` when somebody else gives it back.
    used: Option<Arc<AtomicUsize>>,
    guest: Option<Guest>,
}

/// The permits of the connections that one shard holds.
#[derive(Debug)]
pub(in crate::edge) struct Kept {
    permits: Permits,
    /// By slot, the row of the connection's address, or [`NOBODY`]; empty without such a limit.
    rows: Vec<u32>,
}

/// The row of a connection whose address is not counted.
const NOBODY: u32 = u32::MAX;

impl Permits {
    pub(in crate::edge) fn new(max: usize, addresses: Addresses) -> Permits {
        Permits {
            used: Arc::default(),
            max: Arc::new(max.into()),
            addresses,
        }
    }

    /// The right to hold one more, while the limit allows it.
    pub(in crate::edge) fn acquire(&self, guest: Option<Guest>) -> Option<Permit> {
        let max = self.max.load(Ordering::Relaxed);
        let more = |used| (used < max).then_some(used + 1);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some(Permit {
            used: Some(Arc::clone(&self.used)),
            guest,
        })
    }

    /// Whether nobody could have one now.
    pub(in crate::edge) fn are_taken(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.max.load(Ordering::Relaxed)
    }

    /// From now on. Who is held stays, also above it.
    pub(in crate::edge) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// The connections of each address.
    pub(in crate::edge) fn addresses(&self) -> &Addresses {
        &self.addresses
    }
}

impl Permit {
    /// From now on it is a connection of this address.
    pub(in crate::edge) fn change_guest(&mut self, guest: Option<Guest>) {
        self.guest = guest;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(used) = &self.used {
            used.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Kept {
    pub(in crate::edge) fn new(permits: Permits) -> Kept {
        Kept {
            permits,
            rows: Vec::new(),
        }
    }

    /// The connection in this slot is held now.
    pub(in crate::edge) fn keep(&mut self, slot: u32, mut permit: Permit) {
        permit.used.take();
        let Some(guest) = permit.guest.take() else {
            return;
        };
        let place = slot as usize;
        if self.rows.len() <= place {
            self.rows.resize(place + 1, NOBODY);
        }
        self.rows[place] = guest.keep();
    }

    /// The connection in this slot is gone.
    pub(in crate::edge) fn release(&mut self, slot: u32) {
        self.permits.used.fetch_sub(1, Ordering::Relaxed);
        if let Some(row) = self.rows.get_mut(slot as usize) {
            let row = std::mem::replace(row, NOBODY);
            if row != NOBODY {
                self.permits.addresses.leave(row);
            }
        }
    }

    /// All of them are gone, `held` in number.
    pub(in crate::edge) fn release_all(&mut self, held: usize) {
        self.permits.used.fetch_sub(held, Ordering::Relaxed);
        for row in std::mem::take(&mut self.rows) {
            if row != NOBODY {
                self.permits.addresses.leave(row);
            }
        }
    }
}
