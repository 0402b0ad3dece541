//! Senders in the VM that do nothing but send, and the threads of shards that take messages over from them.
//!
//! Who finds a shard free writes to it (`direct`), which is the soonest and costs the least; but a process that does
//! so all the time is bounded by what one core writes. While another core is to spare, the thread of a shard
//! relieves it: what is for this shard is queued, and written there while the sender writes to other shards. Here
//! is who counts as such a sender, and when relief begins and ends; nobody is written to or queued for here.
//!
//! | rule | why |
//! |---|---|
//! | relief begins when a thread of the VM has made 64 calls within 1.6 ms, and fewer threads work for shards than there are other cores | with less to do one core is enough, and what is written at once is there sooner |
//! | it ends when the shard is given fewer than 10,000 messages a second | the same |
//! | such a sender rests for 100 us before it queues for a shard for which 256 messages wait | to queue is ten times as fast as to write: it would fill the queue, and what waits in it would be late |

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::now;

/// Calls between two looks at the clock.
const CALLS: u32 = 64;

/// Who makes them within this time does hardly anything else: a write takes 4 to 10 us.
const CALLS_WITHIN: Duration = Duration::from_micros(1_600);

/// Messages that wait for a shard which is behind: it writes them in a millisecond or two.
pub(in crate::edge) const BEHIND: usize = 256;

/// How long a sender rests before it queues for a shard that is behind. A thread that relieves somebody rests as
/// long when nothing waits: so nobody has to wake it, and what comes meanwhile is written together.
pub(in crate::edge) const REST: Duration = Duration::from_micros(100);

/// How often a thread that relieves somebody judges whether it still has to.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// It has, if it was given a message in this time, on average.
const MESSAGE_EVERY: Duration = Duration::from_micros(100);

/// What a thread of the VM has sent lately.
#[derive(Clone, Copy)]
struct Lately {
    calls: u32,
    since: Option<Instant>,
    is_flood: bool,
}

impl Lately {
    const NOTHING: Lately = Lately {
        calls: 0,
        since: None,
        is_flood: false,
    };

    fn call(&mut self, now: impl FnOnce() -> Instant) -> Sender {
        self.calls += 1;
        let is_judged = self.calls == CALLS;
        if is_judged {
            let at = now();
            let since = self.since.replace(at);
            self.is_flood = since.is_some_and(|since| at.duration_since(since) < CALLS_WITHIN);
            self.calls = 0;
        }
        Sender {
            is_flood: self.is_flood,
            may_be_relieved: self.is_flood && is_judged,
        }
    }
}

thread_local! {
    static LATELY: Cell<Lately> = const { Cell::new(Lately::NOTHING) };
}

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) struct Sender {
    /// It does hardly anything but send.
    pub(in crate::edge) is_flood: bool,
    /// And it is time to look whether somebody can relieve it.
    pub(in crate::edge) may_be_relieved: bool,
}

/// The calling thread sends a message.
pub(in crate::edge) fn sender() -> Sender {
    let mut lately = LATELY.get();
    let sender = lately.call(now);
    LATELY.set(lately);
    sender
}

/// Of one shard: whether its thread takes messages over.
#[derive(Default)]
pub(in crate::edge) struct Relief(AtomicBool);

impl Relief {
    pub(in crate::edge) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether it has not yet.
    pub(in crate::edge) fn begin(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    pub(in crate::edge) fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What a thread is given while it relieves somebody.
#[derive(Default)]
pub(in crate::edge) struct Given {
    loads: usize,
    since: Option<Instant>,
}

impl Given {
    /// After a turn that has taken so many; `false` when relief is of no use any more.
    pub(in crate::edge) fn is_enough(&mut self, loads: usize, at: Instant) -> bool {
        self.loads += loads;
        let since = *self.since.get_or_insert(at);
        let time = at.duration_since(since);
        if time < LOOK_EVERY {
            return true;
        }
        let is_enough = self.loads as u128 * MESSAGE_EVERY.as_nanos() >= time.as_nanos();
        *self = Given {
            loads: 0,
            since: is_enough.then_some(at),
        };
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judges 64 calls that took so long each.
    fn calls(lately: &mut Lately, at: &mut Instant, each: Duration) -> Sender {
        for _ in 1..CALLS {
            *at += each;
            assert!(!lately.call(|| *at).may_be_relieved);
        }
        *at += each;
        lately.call(|| *at)
    }

    #[test]
    fn who_does_nothing_but_send_is_a_flood() {
        let (mut lately, mut at) = (Lately::NOTHING, now());
        let mut after = |each| calls(&mut lately, &mut at, Duration::from_micros(each));
        let [flood, calm] = [true, false].map(|is_flood| Sender {
            is_flood,
            may_be_relieved: is_flood,
        });
        assert_eq!(after(5), calm, "nothing is known of the time before");
        assert_eq!(after(5), flood);
        assert_eq!(after(24), flood);
        assert_eq!(after(26), calm);
        assert_eq!(after(1), flood);
        assert_eq!(after(1_000), calm);
    }

    #[test]
    fn relief_lasts_while_much_is_given() {
        let mut given = Given::default();
        let mut at = now();
        let mut after = |ms, loads| {
            at += Duration::from_millis(ms);
            given.is_enough(loads, at)
        };
        assert!(after(0, 1));
        assert!(after(9, 0), "it is too soon to judge");
        assert!(after(1, 99));
        assert!(after(5, 60));
        assert!(after(5, 40));
        assert!(!after(10, 99));
        // Another relief begins with nothing.
        assert!(after(1_000, 0));
        assert!(after(9, 0));
        assert!(!after(1, 0));
    }
}
