//! Credit: what one producer may have in the shards' queues, and the sum of what has left them.
//!
//! It knows neither owners nor Erlang and tells nobody: it nudges whoever listens to the newsfeed,
//! who then reads the sum. The sum only grows, so that a reader that lags loses nothing.
//!
//! A message takes its whole cost before it is queued, split over the shards that it is for. Each
//! part comes back when it is dropped, and with it the command that carries it: carried out,
//! refused at the door, or lost with a shard. So nothing has to remember to give it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::newsfeed::Newsfeed;

/// The credit of one producer.
#[derive(Debug)]
pub struct Ledger {
    taken: AtomicU64,
    given: AtomicU64,
    /// Whether the listener has been nudged since it last looked.
    is_noted: AtomicBool,
    window: u64,
    newsfeed: Arc<Newsfeed>,
}

impl Ledger {
    pub(super) fn new(window: u64, newsfeed: Arc<Newsfeed>) -> Arc<Ledger> {
        Arc::new(Ledger {
            taken: AtomicU64::new(0),
            given: AtomicU64::new(0),
            is_noted: AtomicBool::new(false),
            window,
            newsfeed,
        })
    }

    /// Bytes of cost that may be outstanding.
    pub fn window(&self) -> u64 {
        self.window
    }

    /// Takes the cost of one message.
    pub fn take(self: &Arc<Self>, cost: u64) -> Credit {
        let taken = self.taken.fetch_add(cost, Ordering::SeqCst) + cost;
        // Others may take and give between the two lines; that only makes it look like less.
        let outstanding = taken.saturating_sub(self.given.load(Ordering::SeqCst));
        Credit {
            ledger: Arc::clone(self),
            cost,
            is_covered: outstanding <= self.window.max(cost),
        }
    }

    /// All that has been given back so far. Who calls this is nudged again by what comes later.
    pub fn given(&self) -> u64 {
        // First the note, then the sum: what is given in between nudges once too often, not once
        // too seldom.
        self.is_noted.store(false, Ordering::SeqCst);
        self.given.load(Ordering::SeqCst)
    }

    fn give(&self, cost: u64) {
        self.given.fetch_add(cost, Ordering::SeqCst);
        if !self.is_noted.load(Ordering::SeqCst) && !self.is_noted.swap(true, Ordering::SeqCst) {
            self.newsfeed.nudge();
        }
    }
}

/// Credit that a message has taken, or a part of it. Dropping it gives it back.
#[derive(Debug)]
pub struct Credit {
    ledger: Arc<Ledger>,
    cost: u64,
    is_covered: bool,
}

impl Credit {
    /// A part of the cost, to come back on its own; what is left stays here.
    pub fn split(&mut self, cost: u64) -> Credit {
        let cost = cost.min(self.cost);
        self.cost -= cost;
        Credit {
            ledger: Arc::clone(&self.ledger),
            cost,
            is_covered: self.is_covered,
        }
    }

    /// From now on it buys no place in a full queue; it is given back all the same.
    pub fn uncover(&mut self) {
        self.is_covered = false;
    }

    /// Whether the message was within the window when it took its credit: it then has a place in
    /// every queue.
    pub fn is_covered(&self) -> bool {
        self.is_covered
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        if self.cost > 0 {
            self.ledger.give(self.cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::edge::newsfeed::Taken;

    const LONG: Duration = Duration::from_secs(60);

    fn ledger(window: u64) -> (Arc<Ledger>, Arc<Newsfeed>) {
        let newsfeed = Arc::new(Newsfeed::new(10));
        (Ledger::new(window, Arc::clone(&newsfeed)), newsfeed)
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let (ledger, _) = ledger(1000);
        let mut whole = ledger.take(100);
        let part = whole.split(30);
        assert_eq!(ledger.given(), 0);
        drop(part);
        assert_eq!(ledger.given(), 30);
        drop(whole);
        assert_eq!(ledger.given(), 100);
    }

    #[test]
    fn the_window_covers_what_fits_and_one_message_of_any_size() {
        let (ledger, _) = ledger(100);
        let large = ledger.take(500);
        assert!(large.is_covered(), "alone");
        assert!(!ledger.take(1).is_covered(), "beside a large one");
        drop(large);
        let fits = ledger.take(100);
        assert!(fits.is_covered());
        assert!(!ledger.take(1).is_covered(), "one byte too many");
        drop(fits);
        assert!(ledger.take(1).is_covered());
    }

    #[test]
    fn the_listener_is_woken_by_what_comes_back_once_each_time_it_looks() {
        let (ledger, newsfeed) = ledger(100);
        let (one, other, third) = (ledger.take(1), ledger.take(1), ledger.take(1));
        let taker = std::thread::spawn(move || {
            let mut news = Vec::new();
            // Without a nudge this would last for all of its patience.
            newsfeed.take(&mut news, LONG * 10, Duration::ZERO, 1);
            newsfeed
        });
        drop(one);
        let newsfeed = taker.join().unwrap();
        drop(other);
        let mut news = Vec::new();
        assert_eq!(ledger.given(), 2);
        drop(third);
        let taken = newsfeed.take(&mut news, LONG, Duration::ZERO, 1);
        assert_eq!((taken, news.len()), (Taken::Complete, 0));
        assert_eq!(ledger.given(), 3);
    }
}
