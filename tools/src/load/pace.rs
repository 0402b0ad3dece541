//! How fast a slow reader reads: when it may read again, and how much.
//!
//! Pure: time is an argument. It reads nothing, and it does not know whether anything came.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Reads a second of a slow reader: often enough that a plot of it is a line.
const READS_PER_SECOND: u32 = 20;

/// Taken in one read: less than the smallest socket buffer of Linux, so that the buffer stays full.
const READ_BYTES_MAX: usize = 4096;

/// One per slow connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    bytes_per_second: NonZeroU32,
    next: Instant,
}

impl Pace {
    pub(super) fn new(bytes_per_second: NonZeroU32, now: Instant) -> Self {
        Self {
            bytes_per_second,
            next: now,
        }
    }

    /// When the next read is allowed.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// How much one read may take.
    pub(super) fn bytes(&self) -> usize {
        let share = self.bytes_per_second.get() / READS_PER_SECOND;
        usize::try_from(share).map_or(READ_BYTES_MAX, |bytes| bytes.clamp(1, READ_BYTES_MAX))
    }

    /// A read took `bytes`: the next one waits as long as they last. What was not read in time is
    /// not made up for.
    pub(super) fn handle_read(&mut self, now: Instant, bytes: usize) {
        let nanos = bytes as u64 * 1_000_000_000 / u64::from(self.bytes_per_second.get());
        self.next = self.next.max(now) + Duration::from_nanos(nanos);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn never_faster_than_its_speed(
            rate in 1_u32..2_000_000,
            waits_ms in prop::collection::vec(0_u64..200, 1..50),
        ) {
            let start = Instant::now();
            let mut pace = Pace::new(NonZeroU32::new(rate).unwrap(), start);
            let (mut now, mut read) = (start, 0);
            for wait_ms in waits_ms {
                now = pace.next().max(now + Duration::from_millis(wait_ms));
                read += pace.bytes();
                pace.handle_read(now, pace.bytes());
            }
            let least = read as f64 / f64::from(rate);
            prop_assert!((pace.next() - start).as_secs_f64() >= least - 1e-6);
        }
    }

    #[test]
    fn a_read_is_small_and_never_nothing() {
        let bytes = |rate| Pace::new(NonZeroU32::new(rate).unwrap(), Instant::now()).bytes();
        assert_eq!([1, 2_000, u32::MAX].map(bytes), [1, 100, READ_BYTES_MAX]);
    }
}
