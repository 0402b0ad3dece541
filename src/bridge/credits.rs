//! Whose credit is whose: the ledger of each attached owner, found for each message on credit.
//!
//! Beside the owners, not among them: their lock is held while they are told things, and the
//! reader of a link must not wait for that.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::edge::{Credit, Ledger};
use crate::metrics::Metrics;
use crate::wire::{Ids, Message, Owner};

/// Bytes that a message may occupy beyond its cost, for each id and once more, and still have a
/// place in a full queue: the text of ids above all, of which four times the usual 16 bytes are
/// generous. What is above it is bounded as if it had come without credit.
const UNCOUNTED_BYTES_MAX: usize = 64;

/// The ledgers of all attached owners.
#[derive(Default)]
pub(super) struct Credits(RwLock<BTreeMap<Owner, Arc<Ledger>>>);

impl Credits {
    /// From now on this owner's messages are put down here; what is still outstanding in the ledger
    /// before is never told.
    pub(super) fn open(&self, owner: Owner, ledger: Arc<Ledger>) {
        let mut ledgers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        ledgers.insert(owner, ledger);
    }

    pub(super) fn close(&self, owner: Owner) {
        let mut ledgers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        ledgers.remove(&owner);
    }

    /// Takes the cost of a message; `None` when the owner is not attached, and nobody is to be told.
    pub(super) fn take(
        &self,
        owner: Owner,
        ids: &Ids,
        message: &Message,
        metrics: &Metrics,
    ) -> Option<Credit> {
        let ledgers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut credit = ledgers.get(&owner)?.take(ids.cost(message.payload.len()));
        drop(ledgers);
        let uncounted = ids.text_bytes() + message.bytes() - message.payload.len();
        if uncounted > UNCOUNTED_BYTES_MAX * (ids.len() + 1) {
            credit.uncover();
        }
        if !credit.is_covered() {
            metrics.credit_exceeded.increment();
        }
        Some(credit)
    }
}
