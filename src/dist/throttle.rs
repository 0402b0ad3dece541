//! Log lines that a peer can cause at will, limited in time.
//!
//! Counts what it suppresses, so that the next line can say so; the metrics count all of it anyway.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// At most one line of a kind in this time: often enough to be seen by who tries things out, rare
/// enough for a log that is kept.
const PERIOD: Duration = Duration::from_secs(5);

/// One kind of log line.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<(Option<Instant>, u64)>);

impl Throttle {
    /// Whether to write the line now: with how many like it were suppressed since the last.
    pub(crate) fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Option<u64> {
        let mut state = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let (last, suppressed) = &mut *state;
        if last.is_some_and(|last| now.duration_since(last) < PERIOD) {
            *suppressed += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_period_and_a_count_of_the_rest() {
        let throttle = Throttle::default();
        let start = Instant::now();
        assert_eq!(throttle.pass_at(start), Some(0));
        assert_eq!(throttle.pass_at(start), None);
        assert_eq!(throttle.pass_at(start + PERIOD / 2), None);
        assert_eq!(throttle.pass_at(start + PERIOD), Some(2));
    }
}
