//! How an edge takes its leave: in which order, how fast, and what the log says of it.
//!
//! It closes nothing itself: the shards do, at the rate that is told here. What goes before (readiness
//! turns) and what follows when the connections are gone (owners hear of it, the shards end) is the
//! caller's affair.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::Edge;

/// How an edge takes its leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drain {
    /// How long stopping may take in all. Default: 10 s, what service managers wait for at least
    /// before they kill.
    pub timeout: Duration,
    /// How long accepting goes on after readiness has turned, so that load balancers notice.
    /// Default: 1 s, a second of what is at most 10.
    pub grace: Duration,
    /// Connections that leave each second; `None` lets as many leave as it takes to be through in
    /// time, and at least [`Drain::RATE_MIN`]. Default: `None`.
    pub rate: Option<u32>,
}

impl Drain {
    /// What any successor takes: a hundredth of what a core accepts.
    pub const RATE_MIN: u32 = 1000;

    /// The part of the time that a derived rate leaves for those who read slowly.
    const SLACK: f64 = 0.2;

    /// The last part of the whole time: for what follows when the rest is cut.
    const END_PART: u32 = 10;

    /// The time in which connections may leave.
    fn patience(&self) -> Duration {
        self.timeout - self.timeout / Self::END_PART
    }

    /// The rate for so many connections, when this much time is left for them.
    fn rate_for(&self, held: u64, time: Duration) -> u32 {
        self.rate.unwrap_or_else(|| {
            let seconds = (time.as_secs_f64() * (1.0 - Self::SLACK)).max(0.001);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a cast of a float saturates"
            )]
            let needed = (held as f64 / seconds).ceil() as u32;
            needed.max(Self::RATE_MIN)
        })
    }
}

impl Default for Drain {
    fn default() -> Drain {
        Drain {
            timeout: Duration::from_secs(10),
            grace: Duration::from_secs(1),
            rate: None,
        }
    }
}

/// How often the log says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(3);

/// How often it is looked whether all have left.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Edge {
    /// How it takes its leave when nobody says otherwise.
    pub fn drains(&self) -> Drain {
        self.config().drain
    }

    /// Stops accepting, and has the connections leave; returns when all have left and the ordinary
    /// requests are answered, or when the rest must be cut, with the number of those.
    pub async fn drain(&self, how: Drain) -> u64 {
        let start = Instant::now();
        let end = start + how.patience();
        let grace = if self.is_stopping() {
            Duration::ZERO
        } else {
            how.grace.min(end - start)
        };
        tracing::info!(
            connections = self.held(),
            grace = ?grace,
            timeout = ?how.timeout,
            "draining: not ready any more; accepting stops after the grace"
        );
        sleep(grace).await;
        self.stop_accepting();
        let held = self.held();
        let per_second = how.rate_for(held, end - Instant::now());
        if held > 0 {
            tracing::info!(
                connections = held,
                per_second,
                "draining: connections leave"
            );
        }
        // The end is the deadline's, whoever is slow.
        let _ = timeout(end - Instant::now(), self.leave(per_second)).await;
        let cut = self.held();
        let took = start.elapsed();
        if cut == 0 {
            tracing::info!(?took, cut, "drained: all connections have left");
        } else {
            tracing::warn!(
                ?took,
                cut,
                "drained: the time is over, the rest is cut; raise drain_timeout or drain_rate"
            );
        }
        cut
    }

    async fn leave(&self, per_second: u32) {
        let metrics = self.metrics();
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = Instant::now();
        self.send_away(per_second);
        loop {
            looks.tick().await;
            let left = self.held();
            if left == 0 && metrics.exchanges.value() == 0 {
                return;
            }
            if told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                tracing::info!(left, "draining");
                // Those whose request was being read when it began, and came after.
                if metrics.draining.value() == 0 {
                    self.send_away(per_second);
                }
            }
        }
    }

    fn send_away(&self, per_second: u32) {
        for (shard, part) in self.rates(per_second) {
            self.close_all(shard, part, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_is_not_given_is_through_in_time() {
        let config = Drain::default();
        let time = Duration::from_secs(10);
        assert_eq!(config.rate_for(0, time), Drain::RATE_MIN);
        assert_eq!(config.rate_for(8_000, time), 1000);
        assert_eq!(config.rate_for(1_000_000, time), 125_000);
        assert!(config.rate_for(1_000_000, Duration::ZERO) >= 1_000_000);
        let given = Drain {
            rate: Some(7),
            ..config
        };
        assert_eq!(given.rate_for(1_000_000, time), 7);
    }
}
