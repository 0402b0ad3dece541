//! The way out of the shards: events in the order each shard saw them, bounded in number.
//!
//! It does not know owners. When it is full it drops what comes and says so: whoever listens then
//! takes new snapshots, so that a loss costs work, never the truth.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::metrics::Metrics;
use crate::wire::{Conn, Event};

/// Something a shard tells. `shard` says which one.
#[derive(Debug)]
pub enum News {
    /// It happened, for everybody who listens to this shard.
    Event {
        /// Where.
        shard: u8,
        /// What.
        event: Event,
    },
    /// The snapshot for this attachment begins: from here on this shard's news are complete.
    SnapshotBegin {
        /// Where.
        shard: u8,
        /// Whose.
        attachment: u64,
    },
    /// A part of the connections that were there before.
    Snapshot {
        /// Where.
        shard: u8,
        /// Whose.
        attachment: u64,
        /// `Opened` events.
        events: Vec<Event>,
        /// Where the next part begins, when asked for; `None`: this was the last.
        next: Option<u32>,
    },
}

/// Room for so many news is kept while there are none: what one turn of a shard brings at most.
const NEWS_KEPT: usize = 1024;

/// The feed of one edge.
#[derive(Debug)]
pub struct Newsfeed {
    state: Mutex<State>,
    arrived: Condvar,
    news_max: usize,
}

#[derive(Debug, Default)]
struct State {
    news: Vec<News>,
    lost: bool,
    nudged: bool,
    hurried: bool,
    closed: bool,
}

/// What a listener takes from the feed at once.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The news are complete.
    Complete,
    /// News were lost before these.
    Lost,
    /// The feed is closed and empty.
    Closed,
}

impl Newsfeed {
    pub(super) fn new(news_max: usize) -> Newsfeed {
        Newsfeed {
            state: Mutex::default(),
            arrived: Condvar::new(),
            news_max,
        }
    }

    /// Moves `news` into the feed, or drops them and remembers that it did; then it answers whose
    /// clients said something that is lost. What a client says does not wait for other news.
    pub(super) fn publish(&self, news: &mut Vec<News>, metrics: &Metrics) -> Vec<Conn> {
        if news.is_empty() {
            return Vec::new();
        }
        let said = |news: &News| match news {
            News::Event {
                event: Event::Received { conn, .. },
                ..
            } => Some(*conn),
            _ => None,
        };
        let hurries = news.iter().any(|news| said(news).is_some());
        let mut lost = Vec::new();
        let mut state = self.lock();
        let was_empty = state.news.is_empty();
        if state.news.len() + news.len() > self.news_max {
            state.lost = true;
            metrics.events_lost.add(news.len() as u64);
            lost.extend(news.iter().filter_map(said));
            news.clear();
        } else {
            state.news.append(news);
        }
        state.hurried |= hurries;
        drop(state);
        news.shrink_to(NEWS_KEPT);
        if was_empty || hurries {
            self.arrived.notify_one();
        }
        lost
    }

    /// News were lost where they arose.
    pub(super) fn lose(&self) {
        self.lock().lost = true;
        self.arrived.notify_one();
    }

    /// Wakes the listener although there are no news: something else is to be looked at.
    pub(super) fn nudge(&self) {
        self.lock().nudged = true;
        self.arrived.notify_one();
    }

    /// Wakes the listener at once, also from waiting for more: something else is not to wait.
    pub(super) fn hurry(&self) {
        self.lock().hurried = true;
        self.arrived.notify_one();
    }

    /// Takes what there is into the empty `news`. Waits up to `patience` for the first or a nudge, and from
    /// then on up to `window` for `enough`: a batch costs Erlang far less than its parts.
    pub fn take(
        &self,
        news: &mut Vec<News>,
        patience: Duration,
        window: Duration,
        enough: usize,
    ) -> Taken {
        news.shrink_to(NEWS_KEPT);
        let idle =
            |state: &State| state.news.is_empty() && !state.lost && !state.nudged && !state.hurried;
        let empty = |state: &mut State| idle(state) && !state.closed;
        let few = |state: &mut State| state.news.len() < enough && !state.closed && !state.hurried;
        let expect = "nothing that can panic runs under the feed's lock";
        let (state, _) = self
            .arrived
            .wait_timeout_while(self.lock(), patience, empty)
            .expect(expect);
        if idle(&state) {
            return if state.closed {
                Taken::Closed
            } else {
                Taken::Complete
            };
        }
        let (mut state, _) = self
            .arrived
            .wait_timeout_while(state, window, few)
            .expect(expect);
        std::mem::swap(&mut state.news, news);
        state.nudged = false;
        state.hurried = false;
        if std::mem::take(&mut state.lost) {
            Taken::Lost
        } else {
            Taken::Complete
        }
    }

    /// Nothing more will come.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing that can panic runs under the feed's lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    fn news() -> Vec<News> {
        let (shard, event) = (0, Event::SnapshotBegin);
        vec![News::Event { shard, event }]
    }

    /// Without it this would last for all of a patience, or a window.
    #[test]
    fn who_hurries_the_listener_waits_for_no_batch() {
        let feed = Newsfeed::new(10);
        let mut taken = Vec::new();
        feed.hurry();
        assert_eq!(feed.take(&mut taken, LONG, LONG, 5), Taken::Complete);
        assert!(taken.is_empty());
        feed.publish(&mut news(), &Metrics::default());
        std::thread::scope(|scope| {
            scope.spawn(|| feed.hurry());
            feed.take(&mut taken, LONG, LONG, 5);
        });
        assert_eq!(taken.len(), 1);
    }
}
