//! When connections are opened: how many are due at a time, and when the next is.
//!
//! Pure: time is an argument. It opens nothing and does not know how many attempts are under way;
//! the driver holds back when too many are.

use std::num::NonZeroU32;
use std::time::Duration;

/// Evenly spaced openings, the first one at once; without a rate, all at once.
#[derive(Debug)]
pub(super) struct Schedule {
    total: u32,
    per_second: Option<NonZeroU32>,
    opened: u32,
}

impl Schedule {
    pub(super) fn new(total: u32, per_second: Option<NonZeroU32>) -> Self {
        Self {
            total,
            per_second,
            opened: 0,
        }
    }

    /// How many are due, `elapsed` after the start, and not opened yet.
    pub(super) fn due(&self, elapsed: Duration) -> u32 {
        let by_now = match self.per_second {
            None => self.total,
            Some(rate) => {
                let spaces = elapsed.as_nanos() * u128::from(rate.get()) / 1_000_000_000;
                u32::try_from(spaces + 1).map_or(self.total, |by_now| by_now.min(self.total))
            }
        };
        by_now - self.opened.min(by_now)
    }

    /// Takes the number of the next connection to open; `None` when all were.
    pub(super) fn take(&mut self) -> Option<u32> {
        (self.opened < self.total).then(|| {
            self.opened += 1;
            self.opened - 1
        })
    }

    /// When, after the start, the next one is due; `None` when all were opened.
    pub(super) fn next_at(&self) -> Option<Duration> {
        if self.is_over() {
            return None;
        }
        let Some(rate) = self.per_second else {
            return Some(Duration::ZERO);
        };
        // Rounded up: woken a nanosecond early, the driver would only look and wait again.
        let nanos = (u128::from(self.opened) * 1_000_000_000).div_ceil(u128::from(rate.get()));
        Some(Duration::from_nanos(
            u64::try_from(nanos).unwrap_or(u64::MAX),
        ))
    }

    pub(super) fn is_over(&self) -> bool {
        self.opened == self.total
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_a_rate_all_are_due_at_once() {
        let mut schedule = Schedule::new(3, None);
        assert_eq!(schedule.due(Duration::ZERO), 3);
        assert_eq!(schedule.next_at(), Some(Duration::ZERO));
        let taken: Vec<_> = std::iter::from_fn(|| schedule.take()).collect();
        assert_eq!(taken, [0, 1, 2]);
        assert!(schedule.is_over());
        assert_eq!((schedule.due(Duration::MAX), schedule.next_at()), (0, None));
    }

    proptest! {
        #[test]
        fn each_is_due_exactly_when_it_says(total in 1_u32..50, rate in 1_u32..5_000_000) {
            let mut schedule = Schedule::new(total, NonZeroU32::new(rate));
            while let Some(at) = schedule.next_at() {
                prop_assert!(schedule.due(at) >= 1);
                if let Some(before) = at.checked_sub(Duration::from_nanos(1)) {
                    prop_assert_eq!(schedule.due(before), 0);
                }
                schedule.take();
            }
            prop_assert_eq!(schedule.take(), None);
        }

        #[test]
        fn a_late_driver_catches_up_to_the_rate(seconds in 0_u64..100, rate in 1_u32..1000) {
            let schedule = Schedule::new(u32::MAX, NonZeroU32::new(rate));
            let due = schedule.due(Duration::from_secs(seconds));
            prop_assert_eq!(u64::from(due), seconds * u64::from(rate) + 1);
        }
    }
}
