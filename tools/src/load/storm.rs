//! The reconnect storm in numbers: how many were cut, how long each took to be back, what failed.
//!
//! It cuts and opens nothing. Its numbers can be added, as those of a class can.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::class::{self, Values};
use super::connection::Event;

#[derive(Debug)]
pub(super) struct Storm {
    counts: Counts,
    back_us: Histogram<u64>,
}

/// What sums of two processes have in common; `cuts` says how many of them have cut theirs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    cuts: u32,
    cut: u64,
    attempts: u64,
    refused_503: u64,
    refused_otherwise: u64,
    retry_after_honoured: u64,
    connect_errors: u64,
    opening_timeouts: u64,
    closed_before_open: u64,
}

/// What a storm adds to the sums of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Sums {
    counts: Counts,
    back_us: Values,
}

/// Why one that was cut is not back yet.
#[derive(Debug, Clone, Copy)]
pub(super) enum Failure {
    Connect,
    Timeout,
}

impl Storm {
    pub(super) fn new() -> Self {
        Self {
            counts: Counts::default(),
            back_us: class::histogram(),
        }
    }

    /// All open connections, so many, were cut.
    pub(super) fn handle_cut(&mut self, connections: u32) {
        self.counts.cuts += 1;
        self.counts.cut += u64::from(connections);
    }

    /// One that was cut tries to come back.
    pub(super) fn handle_attempt(&mut self) {
        self.counts.attempts += 1;
    }

    pub(super) fn handle_failure(&mut self, failure: Failure) {
        match failure {
            Failure::Connect => self.counts.connect_errors += 1,
            Failure::Timeout => self.counts.opening_timeouts += 1,
        }
    }

    /// Something happened on one that was cut `since` ago and was not back before this.
    pub(super) fn handle(&mut self, event: Event, since: Duration) {
        let counts = &mut self.counts;
        match event {
            Event::Opened => {
                let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
                self.back_us.saturating_record(micros);
            }
            Event::Refused {
                status,
                retry_after_s,
            } => {
                counts.retry_after_honoured += u64::from(retry_after_s.is_some());
                match status {
                    503 => counts.refused_503 += 1,
                    _ => counts.refused_otherwise += 1,
                }
            }
            Event::Closed(_) | Event::Faulted(_) => counts.closed_before_open += 1,
            Event::Message { .. } | Event::Stamped(_) | Event::Heartbeat => {}
        }
    }

    /// All of so many processes have cut theirs, and all that were cut are back.
    pub(super) fn is_over(&self, processes: u32) -> bool {
        self.counts.cuts >= processes && self.back_us.len() == self.counts.cut
    }

    /// Nobody waits to be back, whether or not there was a storm.
    pub(super) fn is_calm(&self) -> bool {
        self.back_us.len() == self.counts.cut
    }

    pub(super) fn drain(&mut self) -> Sums {
        Sums {
            counts: std::mem::take(&mut self.counts),
            back_us: class::drain(&mut self.back_us),
        }
    }

    pub(super) fn add(&mut self, sums: &Sums) {
        let Counts {
            cuts,
            cut,
            attempts,
            refused_503,
            refused_otherwise,
            retry_after_honoured,
            connect_errors,
            opening_timeouts,
            closed_before_open,
        } = sums.counts;
        let counts = &mut self.counts;
        counts.cuts += cuts;
        counts.cut += cut;
        counts.attempts += attempts;
        counts.refused_503 += refused_503;
        counts.refused_otherwise += refused_otherwise;
        counts.retry_after_honoured += retry_after_honoured;
        counts.connect_errors += connect_errors;
        counts.opening_timeouts += opening_timeouts;
        counts.closed_before_open += closed_before_open;
        class::add(&mut self.back_us, &sums.back_us);
    }

    /// `None`: there was no storm.
    pub(super) fn figures(&self) -> Option<Figures> {
        if self.counts.cuts == 0 {
            return None;
        }
        let seconds = |quantile| {
            let some = !self.back_us.is_empty();
            some.then(|| self.back_us.value_at_quantile(quantile) as f64 / 1e6)
        };
        let Counts {
            cuts: _,
            cut,
            attempts,
            refused_503,
            refused_otherwise,
            retry_after_honoured,
            connect_errors,
            opening_timeouts,
            closed_before_open,
        } = self.counts;
        Some(Figures {
            cut,
            back: self.back_us.len(),
            all_back_seconds: self.is_calm().then(|| seconds(1.0)).flatten(),
            back_seconds_p50: seconds(0.5),
            back_seconds_p99: seconds(0.99),
            attempts,
            refused_503,
            refused_otherwise,
            retry_after_honoured,
            errors: connect_errors + opening_timeouts + closed_before_open,
            connect_errors,
            opening_timeouts,
            closed_before_open,
        })
    }
}

/// The storm as the report tells it.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) cut: u64,
    pub(super) back: u64,
    /// From the cut until the last one was back; absent when not all are.
    pub(super) all_back_seconds: Option<f64>,
    back_seconds_p50: Option<f64>,
    back_seconds_p99: Option<f64>,
    attempts: u64,
    pub(super) refused_503: u64,
    refused_otherwise: u64,
    retry_after_honoured: u64,
    pub(super) errors: u64,
    connect_errors: u64,
    opening_timeouts: u64,
    closed_before_open: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_storm_is_over_when_all_processes_have_cut_and_all_are_back() {
        let mut sum = Storm::new();
        assert!(!sum.is_over(2) && sum.is_calm() && sum.figures().is_none());
        let mut one = Storm::new();
        one.handle_cut(2);
        one.handle(Event::Opened, SECOND);
        one.handle(Event::Opened, SECOND * 2);
        assert!(one.is_over(1));
        sum.add(&one.drain());
        assert!(!sum.is_over(2), "the other has not cut yet");
        let mut other = Storm::new();
        other.handle_cut(1);
        sum.add(&other.drain());
        assert!(!sum.is_over(2) && !sum.is_calm(), "one is not back");
        assert_eq!(sum.figures().unwrap().all_back_seconds, None);
        let refused = Event::Refused {
            status: 503,
            retry_after_s: Some(1),
        };
        other.handle(refused, SECOND);
        other.handle(Event::Opened, SECOND * 4);
        sum.add(&other.drain());
        assert!(sum.is_over(2));
        let figures = sum.figures().unwrap();
        assert_eq!((figures.cut, figures.back, figures.refused_503), (3, 3, 1));
        assert!((figures.all_back_seconds.unwrap() - 4.0).abs() < 0.01);
    }
}
