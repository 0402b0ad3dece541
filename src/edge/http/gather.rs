//! The bodies of many posts become one question: what a handler of the kind `batch` is asked.
//!
//! While nothing is on its way to a handler, what comes goes at once, with all that has come in the
//! same moment; while something is, what comes is gathered until its answer is there, so that a busy
//! handler has large batches and an idle one short waits. A batch that is full, or has waited for
//! [`WAIT`], does not wait for the answer. All posts of a batch have the same outcome.
//!
//! Bodies are copied into memory of their batch: it ends with the question, and no read buffer lives on
//! for a hundred bytes in it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use crate::edge::{Edge, Unasked};
use crate::wire::{Answer, Ask, Handler};

/// Bodies in one batch: what Erlang takes apart in about a millisecond.
const BODIES_MAX: usize = 1000;

/// Bytes in one batch; one body of any size has room in an empty one.
const BYTES_MAX: usize = 1024 * 1024;

/// How long a batch waits for the answer to the one before it.
const WAIT: Duration = Duration::from_millis(5);

/// Batches of one handler that are not answered: with the two limits above what a handler that is
/// slow, or has many processes, may keep here.
const BATCHES_MAX: usize = 64;

/// What is gathered for each handler. There are as many as routes of the config ever named.
#[derive(Default)]
pub(in crate::edge) struct Gatherers(Mutex<HashMap<Handler, Arc<Gatherer>>>);

/// What is gathered for one handler.
pub(in crate::edge) struct Gatherer {
    handler: Handler,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Batch,
    /// Batches that are not answered.
    asked: usize,
}

#[derive(Default)]
struct Batch {
    bytes: BytesMut,
    ends: Vec<usize>,
    outcome: Arc<Outcome>,
}

/// What becomes of the posts of one batch.
#[derive(Default)]
pub(in crate::edge) struct Outcome {
    told: OnceLock<Result<Answer, Unasked>>,
    is_told: Notify,
}

/// The posts of one connection that wait: how many for each outcome, in their order.
pub(in crate::edge) type Posts = Vec<(Arc<Outcome>, usize)>;

impl Gatherers {
    /// The one of this handler.
    pub(in crate::edge) fn of(&self, handler: &Handler) -> Arc<Gatherer> {
        let mut gatherers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = gatherers.get(handler) {
            return Arc::clone(known);
        }
        let new = Arc::new(Gatherer {
            handler: handler.clone(),
            state: Mutex::default(),
        });
        gatherers.insert(handler.clone(), Arc::clone(&new));
        new
    }
}

impl Gatherer {
    /// For whom.
    pub(in crate::edge) fn handler(&self) -> &Handler {
        &self.handler
    }

    /// Takes a body, and notes in `posts` whose outcome its post has.
    pub(in crate::edge) fn take(
        self: &Arc<Self>,
        edge: &Edge,
        body: &[u8],
        posts: &mut Posts,
    ) -> Result<(), Unasked> {
        let mut state = self.lock();
        if state.open.has_no_room(body.len()) {
            if state.asked >= BATCHES_MAX {
                return Err(Unasked::Full);
            }
            let full = state.close();
            tokio::spawn(Arc::clone(self).carry(edge.clone(), full));
        }
        let is_first = state.open.ends.is_empty();
        state.open.bytes.extend_from_slice(body);
        let end = state.open.bytes.len();
        state.open.ends.push(end);
        match posts.last_mut() {
            Some((outcome, count)) if Arc::ptr_eq(outcome, &state.open.outcome) => *count += 1,
            _ => posts.push((Arc::clone(&state.open.outcome), 1)),
        }
        if is_first {
            let wait = (state.asked > 0).then_some(WAIT);
            let outcome = Arc::clone(&state.open.outcome);
            drop(state);
            tokio::spawn(Arc::clone(self).carry_soon(edge.clone(), outcome, wait));
        }
        Ok(())
    }

    /// Carries the batch of this outcome when those who are about to post have, or after a wait; it
    /// may have gone by then.
    async fn carry_soon(
        self: Arc<Self>,
        edge: Edge,
        outcome: Arc<Outcome>,
        wait: Option<Duration>,
    ) {
        loop {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => tokio::task::yield_now().await,
            }
            let batch = {
                let mut state = self.lock();
                if !Arc::ptr_eq(&state.open.outcome, &outcome) {
                    return;
                }
                // With as many on their way as may be it waits on, and whoever comes is refused
                // once it is full.
                (state.asked < BATCHES_MAX).then(|| state.close())
            };
            if let Some(batch) = batch {
                return self.carry(edge, batch).await;
            }
        }
    }

    /// Asks, tells, and goes on with what has been gathered meanwhile, when nothing else is on its
    /// way.
    async fn carry(self: Arc<Self>, edge: Edge, mut batch: Batch) {
        loop {
            let bodies = batch.bodies();
            let count = bodies.len() as u64;
            let ask = Ask::Batch {
                handler: self.handler.clone(),
                bodies,
            };
            let outcome = edge.ask(ask).await;
            if outcome == Ok(Answer::Taken) {
                edge.metrics().batched.add(count);
            }
            batch.outcome.tell(outcome);
            let mut state = self.lock();
            state.asked -= 1;
            if state.asked > 0 || state.open.ends.is_empty() {
                return;
            }
            batch = state.close();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is half done is a body without an outcome, and whoever panicked had it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The open batch, which is on its way from now on.
    fn close(&mut self) -> Batch {
        self.asked += 1;
        // The next one is likely to become as large.
        let bytes = BytesMut::with_capacity(self.open.bytes.len());
        let ends = Vec::with_capacity(self.open.ends.len());
        let next = Batch {
            bytes,
            ends,
            outcome: Arc::default(),
        };
        std::mem::replace(&mut self.open, next)
    }
}

impl Batch {
    fn has_no_room(&self, bytes: usize) -> bool {
        let is_empty = self.ends.is_empty();
        !is_empty && (self.ends.len() == BODIES_MAX || self.bytes.len() + bytes > BYTES_MAX)
    }

    fn bodies(&mut self) -> Arc<[Bytes]> {
        let all = std::mem::take(&mut self.bytes).freeze();
        let begins = std::iter::once(&0).chain(&self.ends);
        let parts = begins
            .zip(&self.ends)
            .map(|(&begin, &end)| all.slice(begin..end));
        parts.collect()
    }
}

impl Drop for Batch {
    /// Whoever waits is told, also when the edge ends before the answer.
    fn drop(&mut self) {
        self.outcome.tell(Err(Unasked::Stopping));
    }
}

impl Outcome {
    /// Waits for it.
    pub(in crate::edge) async fn told(&self) -> &Result<Answer, Unasked> {
        loop {
            let is_told = self.is_told.notified();
            if let Some(told) = self.told.get() {
                return told;
            }
            is_told.await;
        }
    }

    /// The first word counts.
    fn tell(&self, outcome: Result<Answer, Unasked>) {
        if self.told.set(outcome).is_ok() {
            self.is_told.notify_waiters();
        }
    }
}
