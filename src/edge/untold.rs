//! How much of what clients have said is not told yet, so that a shard stops reading who says too much.
//!
//! It reads no socket: it counts, for each connection and for all. What was said carries its count
//! along, and gives it back when its last copy is dropped, because it is told or lost; whoever waits
//! for that is woken once the half is told.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::shard::queue::{Queue, ShardCommand};

/// What a message occupies beside its bytes, generously: also empty ones are bounded in number.
const MESSAGE_COST: usize = 256;

/// What may be said and not told yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UntoldLimits {
    /// Bytes of one connection; a message of any size is taken when there is nothing.
    pub one_bytes_max: usize,
    /// Bytes of all.
    pub all_bytes_max: usize,
}

/// The count of a whole edge.
#[derive(Default)]
pub(super) struct Whole {
    bytes: AtomicUsize,
    /// Of all shards: what one of them has told may be what another one waits for.
    shards: Mutex<Vec<Arc<Waiting>>>,
}

/// One shard, as far as it waits.
struct Waiting {
    queue: Arc<Queue>,
    /// Somebody is not read.
    is_waited_for: AtomicBool,
}

/// Where one shard counts.
pub(super) struct Desk {
    limits: UntoldLimits,
    whole: Arc<Whole>,
    waiting: Arc<Waiting>,
}

/// The count of one connection.
pub(super) struct Count {
    bytes: AtomicUsize,
    desk: Arc<Desk>,
}

struct Counted {
    bytes: Bytes,
    count: Arc<Count>,
}

impl Whole {
    fn shards(&self) -> MutexGuard<'_, Vec<Arc<Waiting>>> {
        // What a panic elsewhere leaves is still a list.
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn wake(&self) {
        if self.is_waited_for.swap(false, Ordering::SeqCst) {
            self.queue.push(ShardCommand::ReadOn);
        }
    }
}

impl Desk {
    pub(super) fn new(limits: UntoldLimits, whole: Arc<Whole>, queue: Arc<Queue>) -> Arc<Desk> {
        let waiting = Arc::new(Waiting {
            queue,
            is_waited_for: AtomicBool::new(false),
        });
        whole.shards().push(Arc::clone(&waiting));
        Arc::new(Desk {
            limits,
            whole,
            waiting,
        })
    }

    pub(super) fn count(self: &Arc<Desk>) -> Arc<Count> {
        Arc::new(Count {
            bytes: AtomicUsize::new(0),
            desk: Arc::clone(self),
        })
    }

    /// Whether anybody waits: to be said before looking whether there is anything to wait for, so
    /// that what is told in between is not missed.
    pub(super) fn wait(&self, is_waited_for: bool) {
        self.waiting
            .is_waited_for
            .store(is_waited_for, Ordering::SeqCst);
    }
}

impl Count {
    /// The same bytes, counted for as long as somebody has them.
    pub(super) fn add(self: &Arc<Count>, bytes: Bytes) -> Bytes {
        let cost = bytes.len() + MESSAGE_COST;
        self.bytes.fetch_add(cost, Ordering::SeqCst);
        self.desk.whole.bytes.fetch_add(cost, Ordering::SeqCst);
        Bytes::from_owner(Counted {
            bytes,
            count: Arc::clone(self),
        })
    }

    pub(super) fn is_zero(&self) -> bool {
        self.bytes.load(Ordering::SeqCst) == 0
    }

    /// Whether no more is to be read of this connection for now.
    pub(super) fn is_full(&self) -> bool {
        let limits = self.desk.limits;
        self.bytes.load(Ordering::SeqCst) >= limits.one_bytes_max
            || self.desk.whole.bytes.load(Ordering::SeqCst) >= limits.all_bytes_max
    }

    /// Whether reading may go on.
    pub(super) fn has_room(&self) -> bool {
        let limits = self.desk.limits;
        self.bytes.load(Ordering::SeqCst) <= limits.one_bytes_max / 2
            && self.desk.whole.bytes.load(Ordering::SeqCst) <= limits.all_bytes_max / 2
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let cost = self.bytes.len() + MESSAGE_COST;
        let Count { bytes, desk } = &*self.count;
        let falls_below = |bytes: &AtomicUsize, half: usize| {
            let before = bytes.fetch_sub(cost, Ordering::SeqCst);
            before > half && before - cost <= half
        };
        let one = falls_below(bytes, desk.limits.one_bytes_max / 2);
        let all = falls_below(&desk.whole.bytes, desk.limits.all_bytes_max / 2);
        if all {
            desk.whole.shards().iter().for_each(|shard| shard.wake());
        } else if one {
            desk.waiting.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::shard::WAKE;

    #[test]
    fn who_waits_is_woken_once_when_half_is_told() {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), WAKE).unwrap();
        let queue = Arc::new(Queue::new(waker, 1000, Arc::default()));
        let limits = UntoldLimits {
            one_bytes_max: 4 * MESSAGE_COST,
            all_bytes_max: 100 * MESSAGE_COST,
        };
        let desk = Desk::new(limits, Arc::default(), Arc::clone(&queue));
        let count = desk.count();
        let said: Vec<Bytes> = (0..4).map(|_| count.add(Bytes::new())).collect();
        assert!(count.is_full() && !desk.count().is_full());
        desk.wait(true);
        let copy = said[3].clone();
        let mut woken = Vec::new();
        for (told, expected) in said.into_iter().zip([0, 1, 1, 1]) {
            drop(told);
            let mut commands = Vec::new();
            queue.take(&mut commands);
            woken.append(&mut commands);
            assert_eq!(woken.len(), expected);
        }
        assert!(count.has_room() && !count.is_zero(), "somebody has a copy");
        drop(copy);
        assert!(count.is_zero());
    }

    #[test]
    fn what_one_shard_has_told_lets_another_read_on() {
        let polls = [(); 2].map(|()| mio::Poll::new().unwrap());
        let queue = |poll: &mio::Poll| {
            let waker = mio::Waker::new(poll.registry(), WAKE).unwrap();
            Arc::new(Queue::new(waker, 1000, Arc::default()))
        };
        let queues = polls.each_ref().map(queue);
        let limits = UntoldLimits {
            one_bytes_max: 100 * MESSAGE_COST,
            all_bytes_max: 4 * MESSAGE_COST,
        };
        let whole = Arc::default();
        let desk = |queue: &Arc<Queue>| Desk::new(limits, Arc::clone(&whole), Arc::clone(queue));
        let [talker, waiter] = queues.each_ref().map(desk);
        let talker = talker.count();
        let said: Vec<Bytes> = (0..4).map(|_| talker.add(Bytes::new())).collect();
        assert!(waiter.count().is_full());
        waiter.wait(true);
        drop(said);
        let mut woken = Vec::new();
        queues[1].take(&mut woken);
        assert_eq!(woken.len(), 1);
        assert!(waiter.count().has_room());
    }
}
