//! Numbers that many threads change and few read: each has lanes, and is their sum.
//!
//! No names, and of labels only their sum. A shard counts in a lane of its own, so that counting a message never waits
//! for another core's cache line; whoever scrapes adds the lanes up. The sum is exact once those who
//! count are done, and between them it may be late by what they are just doing.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use super::By;

/// The first is for everybody who is no shard. With more shards than the others some share one, which
/// costs them time, not truth. 64 bytes each: all numbers together take some 60 KiB.
const LANES: usize = 8;

thread_local! {
    static LANE: Cell<usize> = const { Cell::new(0) };
}

/// From now on this thread counts in the lane of this shard.
pub fn count_in_lane(shard: u8) {
    LANE.set(1 + usize::from(shard) % (LANES - 1));
}

/// Does something in the lane of this shard, on the thread of somebody else.
pub fn in_lane<T>(shard: u8, work: impl FnOnce() -> T) -> T {
    let own = LANE.get();
    count_in_lane(shard);
    let done = work();
    LANE.set(own);
    done
}

/// A cache line, so that lanes do not share one.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Lane(AtomicU64);

#[derive(Debug, Default)]
struct Lanes([Lane; LANES]);

impl Lanes {
    fn own(&self) -> &AtomicU64 {
        &self.0[LANE.get()].0
    }

    /// Lanes of a gauge may be below zero: what one thread adds another takes away.
    fn sum(&self) -> u64 {
        let values = self.0.iter().map(|lane| lane.0.load(Ordering::Relaxed));
        values.fold(0, u64::wrapping_add)
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(Lanes);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.own().fetch_add(n, Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn value(&self) -> u64 {
        self.0.sum()
    }
}

/// A number that grows and shrinks.
#[derive(Debug, Default)]
pub struct Gauge(Lanes);

impl Gauge {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.own().fetch_add(n, Ordering::Relaxed);
    }

    /// Takes `n` away. Callers take away only what was added.
    pub fn sub(&self, n: u64) {
        self.0.own().fetch_sub(n, Ordering::Relaxed);
    }

    /// The number now. Of additions and subtractions that happen meanwhile only the latter may be
    /// seen; such a sum reads as zero.
    pub fn value(&self) -> u64 {
        let sum = self.0.sum();
        if sum > u64::MAX / 2 { 0 } else { sum }
    }
}

impl<L> By<L, Counter> {
    /// Of all values of the label together.
    pub fn sum(&self) -> u64 {
        self.values.iter().map(Counter::value).sum()
    }
}

impl<L> By<L, Gauge> {
    /// Of all values of the label together.
    pub fn sum(&self) -> u64 {
        self.values.iter().map(Gauge::value).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_shards_count_adds_up() {
        let numbers = Arc::new((Counter::default(), Gauge::default()));
        let threads = (0..20).map(|shard| {
            let numbers = Arc::clone(&numbers);
            std::thread::spawn(move || {
                count_in_lane(shard);
                for _ in 0..1000 {
                    numbers.0.increment();
                    numbers.1.add(2);
                }
            })
        });
        threads.for_each(|thread| thread.join().unwrap());
        assert_eq!((numbers.0.value(), numbers.1.value()), (20_000, 40_000));
        // Another thread takes away what they added.
        numbers.1.sub(39_999);
        assert_eq!(numbers.1.value(), 1);
        numbers.1.sub(2);
        assert_eq!(numbers.1.value(), 0, "what has not come yet");
    }
}
