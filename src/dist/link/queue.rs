//! What waits to be written to a link: one buffer, bounded in bytes.
//!
//! No I/O. Two marks, because two kinds of message are queued: above half of the limit events are
//! refused (the bridge keeps them and makes a snapshot of what it lost); answers and signals, which
//! nobody would repeat, may fill the rest; beyond the limit the peer has stopped reading and the
//! link is closed. Frames are appended to one buffer that the writer takes as a whole, so that
//! writes coalesce by themselves; of a large message it takes one part each time, so that what is
//! queued meanwhile, ticks above all, goes out before the next part (`parts`).

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::parts::Lanes;
use crate::dist::codec::Outgoing;
use crate::metrics::Metrics;

/// Buffers up to this are used again; a larger one was for a burst.
const KEEP_BYTES_MAX: usize = 256 * 1024;

/// The queue is full for what was to be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// What the writer is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Write these.
    Write(Vec<u8>),
    /// Nothing was queued for the given time.
    Idle,
    /// Nothing will be queued any more and all is written.
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Nothing more is queued; what is there is still written.
    Finishing,
    Closed,
}

#[derive(Debug)]
struct State {
    frames: Vec<u8>,
    /// Large messages, and what must not overtake them.
    lanes: Lanes,
    /// Taken by the writer and not yet written.
    in_flight: usize,
    tick: bool,
    phase: Phase,
}

/// The queue of one link, shared by all who send and the writer.
#[derive(Debug)]
pub(crate) struct SendQueue {
    state: Mutex<State>,
    wake: Condvar,
    bytes_max: usize,
    metrics: Arc<Metrics>,
}

impl SendQueue {
    pub(crate) fn new(bytes_max: usize, metrics: Arc<Metrics>) -> SendQueue {
        let state = State {
            frames: Vec::new(),
            lanes: Lanes::default(),
            in_flight: 0,
            tick: false,
            phase: Phase::Open,
        };
        SendQueue {
            state: Mutex::new(state),
            wake: Condvar::new(),
            bytes_max,
            metrics,
        }
    }

    /// Whether events would be taken now: lets the caller skip encoding what would be refused.
    pub(crate) fn has_room_for_events(&self) -> bool {
        self.lock().queued() <= self.bytes_max / 2
    }

    /// Queues events: refused above half of the limit. One batch may pass that mark, so that a batch
    /// of any size gets through an empty queue.
    pub(crate) fn push_events(&self, message: &Outgoing) -> Result<(), Full> {
        self.push(message, |queued| queued <= self.bytes_max / 2)
    }

    /// Queues an answer or a signal: refused only at the limit.
    pub(crate) fn push_signal(&self, message: &Outgoing) -> Result<(), Full> {
        let bytes = message.body.len();
        self.push(message, |queued| queued + bytes <= self.bytes_max)
    }

    fn push(&self, message: &Outgoing, fits: impl FnOnce(usize) -> bool) -> Result<(), Full> {
        let length = u32::try_from(message.body.len()).map_err(|_| Full)?;
        let mut state = self.lock();
        if state.phase != Phase::Open {
            // The link is ending: whoever hears of that hears that this was lost.
            return Ok(());
        }
        if !fits(state.queued()) {
            return Err(Full);
        }
        let was_empty = state.is_empty();
        if !state.lanes.push(message) {
            state.frames.extend_from_slice(&length.to_be_bytes());
            state.frames.extend_from_slice(&message.body);
        }
        self.metrics.dist_queue_bytes.add(4 + u64::from(length));
        drop(state);
        self.metrics.frames_sent.increment();
        if was_empty {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Makes the writer send a tick before anything else; any number of them are one.
    pub(crate) fn tick(&self) {
        self.lock().tick = true;
        self.wake.notify_one();
    }

    /// Waits for something to write, at most `idle`. `spent` is the buffer of the turn before.
    pub(crate) fn take(&self, mut spent: Vec<u8>, idle: Duration) -> Turn {
        spent.clear();
        if spent.capacity() > KEEP_BYTES_MAX {
            spent = Vec::new();
        }
        let is_waiting =
            |state: &mut State| state.is_empty() && !state.tick && state.phase == Phase::Open;
        let guard = self.lock();
        let (mut state, _) = self
            .wake
            .wait_timeout_while(guard, idle, is_waiting)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if state.phase == Phase::Closed {
            return Turn::Done;
        }
        let is_ticking = std::mem::take(&mut state.tick);
        if !is_ticking && state.is_empty() {
            return match state.phase {
                Phase::Open => Turn::Idle,
                Phase::Finishing | Phase::Closed => Turn::Done,
            };
        }
        if is_ticking {
            spent.extend_from_slice(&[0; 4]);
            self.metrics.frames_sent.increment();
            self.metrics.dist_queue_bytes.add(4);
        }
        if spent.is_empty() {
            std::mem::swap(&mut state.frames, &mut spent);
        } else {
            spent.append(&mut state.frames);
        }
        let before = spent.len();
        let counted = state.lanes.take(&mut spent);
        // The headers of parts have not been counted when the message was queued.
        let headers = spent.len() - before - counted;
        self.metrics.dist_queue_bytes.add(headers as u64);
        state.in_flight = spent.len();
        Turn::Write(spent)
    }

    /// `bytes` of what was taken have been written.
    pub(crate) fn written(&self, bytes: usize) {
        let mut state = self.lock();
        // After `close` nothing is in flight any more: it has been subtracted there.
        let known = bytes.min(state.in_flight);
        state.in_flight -= known;
        self.metrics.dist_queue_bytes.sub(known as u64);
    }

    /// Takes nothing more; what is queued will still be written.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Finishing;
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Takes nothing more and forgets what is queued.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        if state.phase != Phase::Closed {
            state.phase = Phase::Closed;
            let forgotten = state.queued();
            state.frames = Vec::new();
            state.lanes = Lanes::default();
            state.in_flight = 0;
            self.metrics.dist_queue_bytes.sub(forgotten as u64);
        }
        drop(state);
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of ours panics while it holds this; if it did, the bytes would still be whole.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn queued(&self) -> usize {
        self.frames.len() + self.lanes.bytes() + self.in_flight
    }

    fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.lanes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::codec::{HEADER, Receiver};

    const NOW: Duration = Duration::ZERO;

    fn queue(bytes_max: usize) -> (SendQueue, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::default());
        (SendQueue::new(bytes_max, Arc::clone(&metrics)), metrics)
    }

    fn message(body: &[u8]) -> Outgoing {
        Outgoing {
            body: body.to_vec(),
            cut_from: None,
            to: Receiver(0),
        }
    }

    #[test]
    fn ticks_and_messages_for_others_go_between_the_parts_of_a_large_one() {
        let (queue, metrics) = queue(10_000_000);
        let large = Outgoing {
            body: [&HEADER[..], &[7; 1_000_000]].concat(),
            cut_from: Some(20),
            to: Receiver(1),
        };
        queue.push_events(&large).unwrap();
        let mut turns = 0;
        let mut spent = Vec::new();
        while let Turn::Write(taken) = queue.take(spent, NOW) {
            if turns > 0 {
                assert_eq!(taken[..11], *b"\0\0\0\0\0\0\0\x03new");
            }
            assert!(taken.len() < 70_000);
            queue.written(taken.len());
            turns += 1;
            spent = taken;
            if turns < 16 {
                queue.push_signal(&message(b"new")).unwrap();
                queue.tick();
            }
        }
        assert_eq!(turns, 16);
        assert_eq!(metrics.dist_queue_bytes.value(), 0);
        queue.push_events(&large).unwrap();
        queue.close();
        assert_eq!(metrics.dist_queue_bytes.value(), 0);
    }

    #[test]
    fn frames_coalesce_and_a_tick_goes_first() {
        let (queue, metrics) = queue(100);
        assert_eq!(queue.take(Vec::new(), NOW), Turn::Idle);
        queue.push_signal(&message(b"ab")).unwrap();
        queue.push_signal(&message(b"c")).unwrap();
        queue.tick();
        queue.tick();
        let expected = b"\0\0\0\0\0\0\0\x02ab\0\0\0\x01c".to_vec();
        assert_eq!(queue.take(Vec::new(), NOW), Turn::Write(expected.clone()));
        queue.written(expected.len());
        assert_eq!(metrics.dist_queue_bytes.value(), 0);
        assert_eq!(metrics.frames_sent.value(), 3);
    }

    #[test]
    fn events_give_way_before_signals_do() {
        let (queue, _) = queue(100);
        queue.push_events(&message(&[0; 60])).unwrap();
        assert_eq!(queue.push_events(&message(b"x")), Err(Full));
        assert!(!queue.has_room_for_events());
        queue.push_signal(&message(&[0; 30])).unwrap();
        assert_eq!(queue.push_signal(&message(&[0; 30])), Err(Full));
    }

    #[test]
    fn what_is_being_written_counts_until_it_is_written() {
        let (queue, metrics) = queue(100);
        queue.push_events(&message(&[0; 60])).unwrap();
        let Turn::Write(taken) = queue.take(Vec::new(), NOW) else {
            panic!("something was queued");
        };
        assert_eq!(queue.push_events(&message(b"x")), Err(Full));
        queue.close();
        queue.written(taken.len());
        assert_eq!(metrics.dist_queue_bytes.value(), 0);
        assert_eq!(queue.take(taken, NOW), Turn::Done);
    }

    #[test]
    fn finishing_writes_what_is_there_and_no_more() {
        let (queue, _) = queue(100);
        queue.push_signal(&message(b"last")).unwrap();
        queue.finish();
        queue.push_signal(&message(b"too late")).unwrap();
        assert!(matches!(queue.take(Vec::new(), NOW), Turn::Write(bytes) if bytes.len() == 8));
        assert_eq!(queue.take(Vec::new(), NOW), Turn::Done);
    }
}
