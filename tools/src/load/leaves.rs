//! Who leaves when: churn, drops, and the storm.
//!
//! Pure: time is an argument, counted from when all connections were open. It cuts nothing and does
//! not know who is connected; who is not when its turn comes is passed over.
//!
//! | asked | leaves |
//! |---|---|
//! | `--churn R` | R connections a second, each in turn |
//! | `--drop-every S` | each connection once in S, evenly staggered |
//! | `--storm-at T` | all at once, once |

use std::num::NonZeroU32;
use std::time::Duration;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// The connection with this number, as a client that goes: another comes at once.
    Churn(u32),
    /// The connection with this number, as a client that lost its network.
    Drop(u32),
    /// All.
    Storm,
}

#[derive(Debug)]
pub(super) struct Leaves {
    churn: Option<Turns>,
    drops: Option<Turns>,
    storm_at: Option<Duration>,
}

/// So many turns in that time, evenly, round and round the connections.
#[derive(Debug)]
struct Turns {
    count: u32,
    time: Duration,
    connections: u32,
    done: u64,
}

impl Leaves {
    pub(super) fn new(
        connections: u32,
        churn: Option<NonZeroU32>,
        drop_every: Option<Duration>,
        storm_at: Option<Duration>,
    ) -> Self {
        let turns = |count, time| Turns {
            count,
            time,
            connections,
            done: 0,
        };
        Self {
            churn: churn.map(|rate| turns(rate.get(), Duration::from_secs(1))),
            drops: drop_every.map(|time| turns(connections, time)),
            storm_at,
        }
    }

    /// Takes one that is due `elapsed` after the beginning.
    pub(super) fn take(&mut self, elapsed: Duration) -> Option<Leave> {
        if self.storm_at.is_some_and(|at| at <= elapsed) {
            self.storm_at = None;
            return Some(Leave::Storm);
        }
        let take = |turns: &mut Option<Turns>| turns.as_mut()?.take(elapsed);
        if let Some(number) = take(&mut self.churn) {
            return Some(Leave::Churn(number));
        }
        take(&mut self.drops).map(Leave::Drop)
    }

    /// When, after the beginning, the next one is due.
    pub(super) fn next_at(&self) -> Option<Duration> {
        let turns = [&self.churn, &self.drops].into_iter().flatten();
        turns.map(Turns::next_at).chain(self.storm_at).min()
    }
}

impl Turns {
    /// Turn k is `(k + 1) / count` of the time, rounded up, after the beginning.
    fn next_at(&self) -> Duration {
        let nanos = (u128::from(self.done) + 1) * self.time.as_nanos();
        let nanos = nanos.div_ceil(u128::from(self.count));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn take(&mut self, elapsed: Duration) -> Option<u32> {
        (self.next_at() <= elapsed).then(|| {
            let number = self.done % u64::from(self.connections);
            self.done += 1;
            u32::try_from(number).expect("less than `connections`")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn all_until(leaves: &mut Leaves, end: Duration) -> Vec<(Duration, Leave)> {
        let mut all = Vec::new();
        while let Some(at) = leaves.next_at().filter(|at| *at <= end) {
            let before = at - Duration::from_nanos(1);
            assert_eq!(leaves.take(before), None, "not before it says");
            all.push((at, leaves.take(at).unwrap()));
        }
        all
    }

    #[test]
    fn churn_is_steady_and_goes_round() {
        let mut leaves = Leaves::new(3, NonZeroU32::new(2), None, None);
        let half = SECOND / 2;
        let expected = [(1, 0), (2, 1), (3, 2), (4, 0)];
        let expected = expected.map(|(halves, number)| (half * halves, Leave::Churn(number)));
        assert_eq!(all_until(&mut leaves, SECOND * 2), expected);
    }

    #[test]
    fn each_is_dropped_once_a_period_and_never_all_at_once() {
        let mut leaves = Leaves::new(4, None, Some(SECOND * 8), None);
        let expected: Vec<_> = (0..8)
            .map(|turn| (SECOND * 2 * (turn + 1), Leave::Drop(turn % 4)))
            .collect();
        assert_eq!(all_until(&mut leaves, SECOND * 16), expected);
    }

    #[test]
    fn the_storm_comes_once() {
        let mut leaves = Leaves::new(4, None, None, Some(SECOND));
        assert_eq!(all_until(&mut leaves, SECOND * 9), [(SECOND, Leave::Storm)]);
        assert_eq!(leaves.next_at(), None);
    }

    #[test]
    fn nothing_asked_is_nothing_due() {
        let mut leaves = Leaves::new(4, None, None, None);
        assert_eq!((leaves.next_at(), leaves.take(SECOND)), (None, None));
    }

    #[test]
    fn who_is_late_catches_up() {
        let mut leaves = Leaves::new(9, NonZeroU32::new(10), None, None);
        let due = std::iter::from_fn(|| leaves.take(SECOND * 3));
        assert_eq!(due.count(), 30);
    }
}
