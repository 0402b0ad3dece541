//! The pace at which a shard sends its connections away, and when those who left are asked to return.
//!
//! Pure arithmetic: the shard brings elapsed time and randomness, the hub picks the connections. A
//! drain closes as many as were held when it began: who comes back to the same shard meanwhile does
//! not make it endless.

use std::time::Duration;

use crate::metrics::Metrics;

/// How far a shard is in a drain.
#[derive(Debug, PartialEq)]
pub(in crate::edge) struct Drain {
    per_second: u32,
    /// Connections to close, the fraction of one included.
    owed: f64,
    left: usize,
    /// The time until the first turn is not the drain's.
    is_new: bool,
}

impl Drain {
    /// The longest a shard waits for something to happen while it drains: the grain of the rate.
    pub(in crate::edge) const TURN: Duration = Duration::from_millis(10);

    /// Sends `held` connections away. Counts them, so that readiness turns before the first of them.
    pub(in crate::edge) fn begin(per_second: u32, held: usize, metrics: &Metrics) -> Drain {
        metrics.draining.add(held as u64);
        Drain {
            per_second,
            owed: 0.0,
            left: held,
            is_new: true,
        }
    }

    /// How many to close now, after `elapsed` more time, when `held` are.
    pub(in crate::edge) fn due(
        &mut self,
        elapsed: Duration,
        held: usize,
        metrics: &Metrics,
    ) -> usize {
        let gone = self.left - self.left.min(held);
        self.forget(gone, metrics);
        if std::mem::take(&mut self.is_new) {
            return 0;
        }
        let per_second = f64::from(self.per_second);
        self.owed = (self.owed + elapsed.as_secs_f64() * per_second).min(self.left as f64);
        let due = self.owed.floor();
        self.owed -= due;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to left"
        )]
        let due = due as usize;
        due
    }

    /// `closed` of the `due` were there to be closed; says whether the drain goes on.
    pub(in crate::edge) fn did(&mut self, due: usize, closed: usize, metrics: &Metrics) -> bool {
        // Fewer than are due: those who are left close already, when they have read what waits.
        let gone = if closed < due { self.left } else { closed };
        self.forget(gone, metrics);
        self.left > 0
    }

    /// It is over, finished or not.
    pub(in crate::edge) fn end(mut self, metrics: &Metrics) {
        self.forget(self.left, metrics);
    }

    fn forget(&mut self, count: usize, metrics: &Metrics) {
        self.left -= count;
        metrics.draining.sub(count as u64);
    }
}

/// A rate divided so that the parts add up to it. A shard whose part would be nothing closes one a
/// second, or its connections would never go; nothing in all is nothing for each.
pub(in crate::edge) fn rates(per_second: u32, shards: usize) -> impl Iterator<Item = (usize, u32)> {
    let upto = move |shard: usize| (u64::from(per_second) * shard as u64) / shards as u64;
    (0..shards).map(move |shard| {
        let part = u32::try_from(upto(shard + 1) - upto(shard)).expect("a part is no more");
        (shard, part.max(per_second.min(1)))
    })
}

/// When those who are sent away are asked to come back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::edge) struct Comeback {
    retry: Duration,
    spread: Duration,
}

impl Comeback {
    /// `retry` is what SSE clients wait in ordinary times; of `spread` each waits another part.
    pub(in crate::edge) fn new(retry: Duration, spread: Duration) -> Comeback {
        Comeback { retry, spread }
    }

    /// Half of the ordinary time, and a part of the spread that `random`, between 0 and 1, says.
    pub(in crate::edge) fn wait_ms(&self, random: f64) -> u32 {
        let wait = self.retry / 2 + self.spread.mul_f64(random);
        u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENTH: Duration = Duration::from_millis(100);

    #[test]
    fn the_rate_is_kept_and_ends_with_the_last() {
        let metrics = Metrics::default();
        let mut drain = Drain::begin(25, 10, &metrics);
        assert_eq!(metrics.draining.value(), 10);
        assert_eq!(drain.due(Duration::from_secs(9), 10, &metrics), 0);
        let mut held = 10;
        let mut closed = Vec::new();
        loop {
            let due = drain.due(TENTH, held, &metrics);
            held -= due;
            closed.push(due);
            if !drain.did(due, due, &metrics) {
                break;
            }
        }
        assert_eq!(closed, [2, 3, 2, 3]);
        assert_eq!(metrics.draining.value(), 0);
    }

    #[test]
    fn who_leaves_by_itself_or_reads_slowly_is_not_waited_for() {
        let metrics = Metrics::default();
        let mut drain = Drain::begin(10, 10, &metrics);
        drain.due(TENTH, 10, &metrics);
        assert_eq!(drain.due(TENTH, 4, &metrics), 1);
        assert!(drain.did(1, 1, &metrics));
        assert_eq!(metrics.draining.value(), 3);
        assert!(!drain.did(2, 1, &metrics));
        assert_eq!(metrics.draining.value(), 0);
    }

    #[test]
    fn an_end_before_the_end_is_counted() {
        let metrics = Metrics::default();
        Drain::begin(1, 7, &metrics).end(&metrics);
        assert_eq!(metrics.draining.value(), 0);
    }

    #[test]
    fn the_parts_of_a_rate_add_up() {
        let parts = |per_second, shards| {
            let parts = rates(per_second, shards).map(|(_, part)| part);
            parts.collect::<Vec<_>>()
        };
        assert_eq!(parts(10, 4), [2, 3, 2, 3]);
        assert_eq!(parts(1, 3), [1, 1, 1]);
        assert_eq!(parts(0, 2), [0, 0], "which ends a drain");
        assert_eq!(parts(u32::MAX, 1), [u32::MAX]);
    }

    #[test]
    fn comebacks_are_spread() {
        let comeback = Comeback::new(Duration::from_secs(2), Duration::from_secs(10));
        assert_eq!(comeback.wait_ms(0.0), 1_000);
        assert_eq!(comeback.wait_ms(1.0), 11_000);
    }
}
