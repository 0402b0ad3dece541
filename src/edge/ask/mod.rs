//! Questions to Erlang that wait for their answer.
//!
//! The edge asks and waits; who is asked, and how, the bridge knows: it takes what is not told yet and
//! brings the answers. Whoever stops waiting (the deadline, a client that left) is forgotten at once,
//! and an answer to what nobody asks any more is counted and dropped.
//!
//! | outcome | the client is answered |
//! |---|---|
//! | accept, reply, reject, taken | what they say |
//! | nobody serves the handler, too many wait, who was asked is gone, the edge stops | 503 |
//! | the deadline | 504 |
//! | an answer that is none, or not one to this question | 500 |

mod check;
mod table;

use tokio::time::timeout;

#[cfg(test)]
pub(in crate::edge) use check::checked_reply;
pub use table::Asked;
pub(in crate::edge) use table::Asks;

use super::Edge;
use crate::metrics::{self, Metrics};
use crate::wire::{Answer, Ask, Owner, Ref};

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unasked {
    /// The application's: nobody that serves the handler is attached.
    #[error("no handler is attached")]
    NoHandler,
    /// Ours: as many wait as may.
    #[error("too many requests wait for their handlers")]
    Full,
    /// The application's: nothing was said in time.
    #[error("the handler took too long")]
    Late,
    /// The application's, or its node's: whoever was asked is gone.
    #[error("the handler is gone")]
    Gone,
    /// The application's: it said what is no answer to this.
    #[error("the handler's answer is none")]
    Bad,
    /// Ours: the edge is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl Unasked {
    fn label(self) -> metrics::Asked {
        match self {
            Unasked::NoHandler => metrics::Asked::NoHandler,
            Unasked::Full => metrics::Asked::Full,
            Unasked::Late => metrics::Asked::Late,
            Unasked::Gone => metrics::Asked::Gone,
            Unasked::Bad => metrics::Asked::Bad,
            Unasked::Stopping => metrics::Asked::Stopping,
        }
    }
}

impl Edge {
    /// Asks, and waits for the answer. Dropped before, it asks nobody any more.
    ///
    /// # Errors
    /// Says why there is no answer; each is counted.
    pub async fn ask(&self, ask: Ask) -> Result<Answer, Unasked> {
        let config = self.config();
        let mut counted = Counted::new(&self.0.metrics);
        let begun = self
            .0
            .asks
            .begin(ask, config.asks_max, config.asks_bytes_max);
        let result = match begun {
            Ok(waiting) => {
                self.0.newsfeed.hurry();
                let answered = timeout(config.ask_timeout, waiting.answer());
                answered.await.unwrap_or(Err(Unasked::Late))
            }
            Err(unasked) => Err(unasked),
        };
        counted.outcome = match &result {
            Ok(Answer::Accept { .. }) => metrics::Asked::Accepted,
            Ok(Answer::Reply { .. }) => metrics::Asked::Replied,
            Ok(Answer::Reject { .. }) => metrics::Asked::Rejected,
            Ok(Answer::Taken) => metrics::Asked::Taken,
            Err(unasked) => unasked.label(),
        };
        result
    }

    /// Moves the questions that are not told yet behind those in `asked`, in their order.
    pub fn take_asked(&self, asked: &mut Vec<Asked>) {
        self.0.asks.take(asked);
    }

    /// Notes who is asked now, or nobody again; `false` when nobody waits for the answer any more.
    pub fn ask_goes_to(&self, reference: Ref, owner: Option<Owner>) -> bool {
        self.0.asks.goes_to(reference, owner)
    }

    /// Brings an answer, `None` for what is none. Nobody may wait for it any more.
    pub fn answer(&self, reference: Ref, answer: Option<Answer>) {
        if !self.0.asks.finish(reference, answer.ok_or(Unasked::Bad)) {
            self.0.metrics.asks_stale.increment();
        }
    }

    /// There will be no answer.
    pub fn refuse_ask(&self, reference: Ref, why: Unasked) {
        self.0.asks.finish(reference, Err(why));
    }

    /// Who was asked by this owner is not answered any more.
    pub fn asked_is_gone(&self, owner: Owner) {
        self.0.asks.gone(owner);
    }
}

/// A question is counted while it waits, and as what became of it when it does not any more, also when
/// whoever waits is dropped.
struct Counted<'a> {
    metrics: &'a Metrics,
    outcome: metrics::Asked,
}

impl<'a> Counted<'a> {
    fn new(metrics: &'a Metrics) -> Counted<'a> {
        metrics.asks_waiting.add(1);
        Counted {
            metrics,
            outcome: metrics::Asked::Left,
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.metrics.asks.of(self.outcome).increment();
        self.metrics.asks_waiting.sub(1);
    }
}
