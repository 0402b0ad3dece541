//! The table of what waits: by reference, whoever is to be told, and what nobody has been told yet.
//!
//! No clock and no counters. References begin at a random number, so that an answer to a question of
//! an edge before this one names nothing here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

use super::Unasked;
use super::check::{Question, checked};
use crate::wire::{Answer, Ask, Owner, Ref};

/// References are below this, and so small integers in Erlang (59 bits) for the life of any edge.
const FIRST_BELOW: u64 = 1 << 58;

/// What waits. Cloning shares the table.
#[derive(Clone)]
pub(in crate::edge) struct Asks(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Bytes of questions that are not told yet.
    untold_bytes: Arc<AtomicUsize>,
}

struct State {
    waiting: HashMap<Ref, Waits>,
    untold: Vec<Asked>,
    last: u64,
    is_closed: bool,
}

struct Waits {
    tell: oneshot::Sender<Result<Answer, Unasked>>,
    asked: Option<Owner>,
    question: Question,
}

/// A question on its way to an owner.
#[derive(Debug)]
pub struct Asked {
    /// Its name.
    pub reference: Ref,
    /// What is asked.
    pub ask: Ask,
    bytes: usize,
    untold_bytes: Arc<AtomicUsize>,
}

impl Asked {
    /// Bytes that it keeps alive, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.untold_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Whoever waits. Dropping it forgets the question.
pub(super) struct Waiting {
    reference: Ref,
    told: oneshot::Receiver<Result<Answer, Unasked>>,
    asks: Asks,
}

impl Waiting {
    pub(super) async fn answer(mut self) -> Result<Answer, Unasked> {
        // The table tells everybody before it goes.
        (&mut self.told).await.unwrap_or(Err(Unasked::Stopping))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.asks.lock().waiting.remove(&self.reference);
    }
}

impl Asks {
    pub(in crate::edge) fn new(random: u64) -> Asks {
        let state = State {
            waiting: HashMap::new(),
            untold: Vec::new(),
            last: random % FIRST_BELOW,
            is_closed: false,
        };
        Asks(Arc::new(Shared {
            state: Mutex::new(state),
            untold_bytes: Arc::default(),
        }))
    }

    /// One more question, while the limits allow it.
    pub(super) fn begin(
        &self,
        ask: Ask,
        asks_max: usize,
        bytes_max: usize,
    ) -> Result<Waiting, Unasked> {
        let bytes = ask.bytes();
        let mut state = self.lock();
        if state.is_closed {
            return Err(Unasked::Stopping);
        }
        let untold = self.0.untold_bytes.load(Ordering::Relaxed);
        // When nothing else waits, one of any size has room, or it could never be asked.
        let has_room = untold == 0 || untold.saturating_add(bytes) <= bytes_max;
        if state.waiting.len() >= asks_max || !has_room {
            return Err(Unasked::Full);
        }
        state.last += 1;
        let reference = Ref(state.last);
        let (tell, told) = oneshot::channel();
        let waits = Waits {
            tell,
            asked: None,
            question: Question::of(&ask),
        };
        state.waiting.insert(reference, waits);
        self.0.untold_bytes.fetch_add(bytes, Ordering::Relaxed);
        state.untold.push(Asked {
            reference,
            ask,
            bytes,
            untold_bytes: Arc::clone(&self.0.untold_bytes),
        });
        Ok(Waiting {
            reference,
            told,
            asks: self.clone(),
        })
    }

    pub(super) fn take(&self, asked: &mut Vec<Asked>) {
        asked.append(&mut self.lock().untold);
    }

    pub(super) fn goes_to(&self, reference: Ref, owner: Option<Owner>) -> bool {
        match self.lock().waiting.get_mut(&reference) {
            Some(waits) => {
                waits.asked = owner;
                true
            }
            None => false,
        }
    }

    /// Tells the answer, if it is one to the question, or that there is none; `false` when nobody
    /// waits for it.
    pub(super) fn finish(&self, reference: Ref, result: Result<Answer, Unasked>) -> bool {
        let Some(waits) = self.lock().waiting.remove(&reference) else {
            return false;
        };
        let fits = |answer| checked(waits.question, answer).ok_or(Unasked::Bad);
        waits.tell.send(result.and_then(fits)).is_ok()
    }

    /// Tells those who wait for this owner that it is gone.
    pub(super) fn gone(&self, owner: Owner) {
        let mut state = self.lock();
        let gone = state
            .waiting
            .extract_if(|_, waits| waits.asked == Some(owner));
        for (_, waits) in gone {
            let _ = waits.tell.send(Err(Unasked::Gone));
        }
    }

    /// Tells everybody that nothing will be answered any more.
    pub(in crate::edge) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let untold = std::mem::take(&mut state.untold);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(untold);
        for waits in waiting.into_values() {
            let _ = waits.tell.send(Err(Unasked::Stopping));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.0
            .state
            .lock()
            .expect("the lock of the questions is never poisoned")
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn batch(bytes: usize) -> Ask {
        Ask::Batch {
            handler: "chat".parse().unwrap(),
            bodies: Arc::from([Bytes::from(vec![0; bytes])]),
        }
    }

    fn begin(asks: &Asks) -> Waiting {
        let Ok(waiting) = asks.begin(batch(10), 3, 1000) else {
            panic!("there is room")
        };
        waiting
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.build().unwrap().block_on(future)
    }

    #[test]
    fn an_answer_finds_its_question_once() {
        let asks = Asks::new(u64::MAX);
        let (first, second) = (begin(&asks), begin(&asks));
        let mut asked = Vec::new();
        asks.take(&mut asked);
        let references: Vec<Ref> = asked.iter().map(|asked| asked.reference).collect();
        assert_eq!(references, [first.reference, second.reference]);
        assert!(references[0].0 < 1 << 59);
        assert!(asks.finish(references[1], Ok(Answer::Taken)));
        assert!(
            !asks.finish(references[1], Ok(Answer::Taken)),
            "nobody waits"
        );
        assert_eq!(block_on(second.answer()), Ok(Answer::Taken));
        drop(first);
        assert!(
            !asks.finish(references[0], Ok(Answer::Taken)),
            "it has left"
        );
        assert!(!asks.goes_to(references[0], Some(Owner(1))));
    }

    #[test]
    fn the_limits_hold_and_room_comes_back() {
        let asks = Asks::new(7);
        let mut waiting: Vec<Waiting> = (0..3).map(|_| begin(&asks)).collect();
        let refused = |asks: &Asks, bytes| asks.begin(batch(bytes), 3, 1000).err();
        assert_eq!(refused(&asks, 1), Some(Unasked::Full), "too many");
        waiting.pop();
        assert_eq!(refused(&asks, 1000), Some(Unasked::Full), "too large");
        assert_eq!(refused(&asks, 10), None);
        let mut asked = Vec::new();
        asks.take(&mut asked);
        asked.clear();
        // All is told: one of any size has room.
        assert_eq!(refused(&asks, 5000), None);
    }

    #[test]
    fn those_who_asked_who_is_gone_are_told() {
        let asks = Asks::new(7);
        let (lost, kept, stopped) = (begin(&asks), begin(&asks), begin(&asks));
        assert!(asks.goes_to(lost.reference, Some(Owner(1))));
        assert!(asks.goes_to(kept.reference, Some(Owner(1))));
        assert!(asks.goes_to(kept.reference, Some(Owner(2))));
        asks.gone(Owner(1));
        assert_eq!(block_on(lost.answer()), Err(Unasked::Gone));
        assert!(asks.finish(kept.reference, Ok(Answer::Taken)));
        asks.close();
        assert_eq!(block_on(stopped.answer()), Err(Unasked::Stopping));
        let late = asks.begin(batch(1), 3, 1000);
        assert_eq!(late.err(), Some(Unasked::Stopping));
    }
}
