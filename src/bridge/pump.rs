//! The thread that takes news from the shards, in batches, and tells the owners; what the edge asks of
//! them does not wait for a batch.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::asks::Asks;
use super::owners::Owners;
use super::{Config, Uplink};
use crate::edge::{Edge, Taken};
use crate::metrics::Metrics;

/// How long the pump waits for news when nothing else is to be done: overload is looked for this
/// often.
const PATIENCE: Duration = Duration::from_millis(100);

/// How often a busy way is tried again.
const RETRY: Duration = Duration::from_millis(5);

pub(super) struct Pump {
    edge: Edge,
    uplink: Arc<dyn Uplink>,
    owners: Arc<Mutex<Owners>>,
    window: Duration,
    enough: usize,
    asks: Asks,
    metrics: Arc<Metrics>,
}

impl Pump {
    pub(super) fn new(
        config: &Config,
        edge: Edge,
        uplink: Arc<dyn Uplink>,
        owners: Arc<Mutex<Owners>>,
        metrics: Arc<Metrics>,
    ) -> Pump {
        Pump {
            edge,
            uplink,
            owners,
            window: config.batch_window,
            enough: config.batch_events_max,
            asks: Asks::default(),
            metrics,
        }
    }

    /// Runs until the newsfeed is closed and everything in it is told, or cannot be.
    pub(super) fn run(mut self) {
        let newsfeed = self.edge.newsfeed();
        let mut news = Vec::new();
        let mut is_waiting = false;
        loop {
            let patience = if is_waiting { RETRY } else { PATIENCE };
            let taken = newsfeed.take(&mut news, patience, self.window, self.enough);
            if taken == Taken::Closed {
                return;
            }
            let mut owners = self
                .owners
                .lock()
                .expect("the owners' lock is never poisoned");
            if taken == Taken::Lost {
                owners.handle_loss(&self.edge);
            }
            for news in news.drain(..) {
                owners.handle_news(news, &self.edge);
            }
            owners.handle_overload();
            let (uplink, edge) = (&*self.uplink, &self.edge);
            // Before the news, which may fill a way: somebody waits for these.
            is_waiting = self.asks.tell(&owners, uplink, edge, &self.metrics);
            is_waiting |= owners.tell(uplink, edge);
        }
    }
}
