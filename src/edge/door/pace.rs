//! How fast a listener accepts: a token bucket.
//!
//! Pure: time is an argument. Nothing is refused here; what has to wait does so in the kernel's
//! backlog, where it costs no descriptor of ours.

use std::time::{Duration, Instant};

/// A bucket that a second fills.
#[derive(Debug)]
pub(in crate::edge) struct Pace {
    /// Tokens that come each second, and the most that there are; 0 is no limit.
    rate: f64,
    tokens: f64,
    at: Option<Instant>,
}

impl Pace {
    pub(in crate::edge) fn new(rate: u32) -> Pace {
        Pace {
            rate: f64::from(rate),
            tokens: f64::from(rate),
            at: None,
        }
    }

    /// Takes a token, or says how long it is until there is one.
    pub(in crate::edge) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        if self.rate == 0.0 {
            return Ok(());
        }
        let elapsed = self.at.map_or(Duration::ZERO, |at| now.duration_since(at));
        self.at = Some(now);
        self.tokens = (self.tokens + elapsed.as_secs_f64() * self.rate).min(self.rate);
        if self.tokens < 1.0 {
            let missing = (1.0 - self.tokens) / self.rate;
            // A timer's grain, so that many small waits become a few.
            return Err(Duration::from_secs_f64(missing).max(Duration::from_millis(1)));
        }
        self.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_takes_as_many_as_the_rate() {
        let mut pace = Pace::new(100);
        let begin = Instant::now();
        assert_eq!((0..300).filter(|_| pace.take(begin).is_ok()).count(), 100);
        let wait = pace.take(begin).unwrap_err();
        assert!(pace.take(begin + wait).is_ok());
        let steps = (1..=1000).map(|ms| begin + wait + Duration::from_millis(ms));
        let taken = steps.filter(|&now| pace.take(now).is_ok()).count();
        assert!((99..=101).contains(&taken), "{taken}");
    }

    #[test]
    fn no_rate_is_no_limit() {
        let mut pace = Pace::new(0);
        let begin = Instant::now();
        assert!((0..1000).all(|_| pace.take(begin).is_ok()));
    }
}
