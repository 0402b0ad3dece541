//! The pace of a shard's sweeps over its slab: heartbeats without a timer per connection.
//!
//! Pure arithmetic: the shard brings elapsed time and randomness, the hub visits the slots. Each
//! turn visits the slots that are due, so that one sweep takes one heartbeat period; each sweep
//! draws a new period, so that edges started together do not beat together.

use std::time::Duration;

/// How far a shard is in its sweep.
#[derive(Debug)]
pub(in crate::edge) struct Sweep {
    heartbeat: Option<Duration>,
    period: Duration,
    owed: f64,
}

/// What to visit in this turn.
#[derive(Debug, PartialEq)]
pub(in crate::edge) struct Visit {
    pub(in crate::edge) slots: u32,
    pub(in crate::edge) heartbeat: bool,
}

impl Sweep {
    /// The longest a shard waits for something to happen: the grain of the sweep. At 25 s a
    /// million connections are then visited in portions of 10,000.
    pub(in crate::edge) const TURN: Duration = Duration::from_millis(250);

    /// Without heartbeats a sweep still ends connections that do not read their end.
    const PERIOD_WITHOUT_HEARTBEAT: Duration = Duration::from_secs(25);

    /// A fifth to either side.
    const JITTER: f64 = 0.2;

    pub(in crate::edge) fn new(heartbeat: Option<Duration>, random: f64) -> Sweep {
        let mut sweep = Sweep {
            heartbeat,
            period: Duration::ZERO,
            owed: 0.0,
        };
        sweep.next(random);
        sweep
    }

    /// From now on. The sweep that goes on takes the new period, give or take where it is.
    pub(in crate::edge) fn set_heartbeat(&mut self, heartbeat: Option<Duration>, random: f64) {
        if self.heartbeat != heartbeat {
            self.heartbeat = heartbeat;
            self.next(random);
        }
    }

    /// Draws the period of the next sweep; `random` is between 0 and 1.
    pub(in crate::edge) fn next(&mut self, random: f64) {
        let base = self.heartbeat.unwrap_or(Self::PERIOD_WITHOUT_HEARTBEAT);
        self.period = base.mul_f64(1.0 + Self::JITTER * (2.0 * random - 1.0));
        self.owed = 0.0;
    }

    /// The slots that are due after `elapsed` more time, of a slab with about `slots` slots.
    pub(in crate::edge) fn visit(&mut self, elapsed: Duration, slots: usize) -> Option<Visit> {
        let all = slots.max(1) as f64;
        self.owed = (self.owed + all * elapsed.as_secs_f64() / self.period.as_secs_f64()).min(all);
        let due = self.owed.floor();
        self.owed -= due;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to slots"
        )]
        let slots = due as u32;
        (slots > 0).then_some(Visit {
            slots,
            heartbeat: self.heartbeat.is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_period_visits_every_slot_once() {
        let mut sweep = Sweep::new(Some(Duration::from_secs(10)), 0.5);
        let visits = (0..40).filter_map(|_| sweep.visit(Sweep::TURN, 1000));
        let visited: u32 = visits.map(|visit| visit.slots).sum();
        assert!((999..=1000).contains(&visited), "{visited}");
    }

    #[test]
    fn the_period_is_drawn_within_a_fifth() {
        let mut sweep = Sweep::new(Some(Duration::from_secs(10)), 0.0);
        assert_eq!(sweep.period, Duration::from_secs(8));
        sweep.next(1.0);
        assert_eq!(sweep.period, Duration::from_secs(12));
    }
}
