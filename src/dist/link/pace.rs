//! When the reader pauses between two reads, so that the next brings more.
//!
//! Erlang writes a few messages at a time, and each read costs a wake-up of the reader, which is
//! several times what the messages in it cost. At a high rate a short pause lets them gather. Knows
//! no socket and no clock: time is an argument.

use std::time::Duration;

use super::blocks::BLOCK_BYTES_MAX;
use super::gathered::Brought;

/// A read that brings this much needs no pause: the largest block is full. Below it the socket may fill
/// while we pause; then Erlang gathers too, and a send costs it half.
const READ_BYTES_ENOUGH: usize = BLOCK_BYTES_MAX;

/// Sends per second from which a pause pays: one of 200 us then gathers four messages and more. Below
/// it each message is handed over as it comes.
const RATE_MIN: f64 = 20_000.0;

/// The pause grows with the rate: this long for each send a second, 200 us at [`RATE_MIN`]. A pause and
/// the read after it cost some 20 us of CPU whatever they bring; with 200 us between reads that was most
/// of what a message cost at full rate.
const PAUSE_PER_RATE: f64 = 200e-6 / RATE_MIN;

/// How long the rate is measured: longer than any pause, shorter than anybody notices.
const WINDOW: Duration = Duration::from_millis(5);

/// A window that lasted longer than this was ended by silence, and says nothing about the rate.
const WINDOW_MAX: Duration = Duration::from_millis(20);

const PAUSE_MIN: Duration = Duration::from_micros(50);
const PAUSE_MAX: Duration = Duration::from_millis(3);

/// What is known of the last few milliseconds.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When this window began; `None` before the first read.
    since: Option<Duration>,
    sends: u64,
    bytes: u64,
    /// The pause that the last window calls for.
    pause: Option<Duration>,
}

impl Pace {
    /// A read at `now` has brought `bytes`. How long to pause before the next.
    pub(super) fn after_read(
        &mut self,
        now: Duration,
        bytes: usize,
        brought: Brought,
    ) -> Option<Duration> {
        self.sends += brought.sends as u64;
        self.bytes += bytes as u64;
        let since = *self.since.get_or_insert(now);
        let lasted = now.saturating_sub(since);
        if lasted >= WINDOW {
            self.pause = self.pause_for(lasted);
            *self = Pace {
                since: Some(now),
                pause: self.pause,
                ..Pace::default()
            };
        }
        // Who waits for an answer may send the next call as soon as it has it.
        let is_worth_it = bytes < READ_BYTES_ENOUGH && brought.sends == brought.frames;
        let pause = self.pause.filter(|_| is_worth_it)?;
        // What waits behind others goes out no later for our rest, and each read that interrupts a
        // busy shard costs it what it has in its caches.
        let is_behind = brought.is_behind && pause > PAUSE_MIN;
        Some(if is_behind { PAUSE_MAX } else { pause })
    }

    /// Long enough for a read that is large enough, within the bounds.
    fn pause_for(&self, lasted: Duration) -> Option<Duration> {
        let seconds = lasted.as_secs_f64();
        let rate = self.sends as f64 / seconds;
        if lasted > WINDOW_MAX || rate < RATE_MIN {
            return None;
        }
        let until_enough = READ_BYTES_ENOUGH as f64 * seconds / (self.bytes as f64).max(1.0);
        let pause = Duration::from_secs_f64(until_enough.min(rate * PAUSE_PER_RATE));
        Some(pause.clamp(PAUSE_MIN, PAUSE_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    fn sends(sends: usize) -> Brought {
        Brought {
            frames: sends,
            sends,
            is_behind: false,
        }
    }

    /// The pauses of 400 reads with one such frame each, `gap` apart.
    fn pauses(gap: Duration, brought: Brought) -> Vec<Option<Duration>> {
        let mut pace = Pace::default();
        (0..400)
            .map(|read| pace.after_read(gap * read, 160, brought))
            .collect()
    }

    #[test]
    fn low_rates_never_pause() {
        for gap in [60, 100, 1000, 10_000, 1_000_000] {
            let pauses = pauses(gap * MICROSECOND, sends(1));
            assert!(pauses.iter().all(Option::is_none), "{gap} us apart");
        }
    }

    #[test]
    fn high_rates_pause_within_bounds() {
        let pauses_of = |gap, count| pauses(gap * MICROSECOND, sends(count)).pop().flatten();
        let at_40_000 = pauses_of(25, 1).expect("one is worth it");
        assert!(
            at_40_000 > PAUSE_MIN && at_40_000 < PAUSE_MAX / 4,
            "{at_40_000:?}"
        );
        assert_eq!(pauses_of(25, 100), Some(PAUSE_MAX));
        let mut pace = Pace::default();
        let read = |read| pace.after_read(20 * MICROSECOND * read, 200_000, sends(1200));
        let last = (0..400).map(read).last().flatten();
        assert_eq!(last, Some(PAUSE_MIN));
    }

    #[test]
    fn behind_others_it_rests_as_long_as_it_may() {
        let behind = |count| Brought {
            is_behind: true,
            ..sends(count)
        };
        let last = |gap: u32, bytes, count| {
            let mut pace = Pace::default();
            let read = |read| pace.after_read(gap * MICROSECOND * read, bytes, behind(count));
            (0..400).map(read).last().flatten()
        };
        assert_eq!(last(25, 160, 1), Some(PAUSE_MAX));
        // But not at a low rate, and not while much comes: the socket would fill.
        assert_eq!(last(1000, 160, 1), None);
        assert_eq!(last(20, 200_000, 1200), Some(PAUSE_MIN));
    }

    #[test]
    fn nobody_who_waits_is_kept_waiting() {
        let call_and_sends = Brought {
            frames: 3,
            sends: 2,
            is_behind: false,
        };
        let pauses = pauses(25 * MICROSECOND, call_and_sends);
        assert!(pauses.iter().all(Option::is_none));
    }

    #[test]
    fn large_reads_need_no_pause() {
        let mut pace = Pace::default();
        let read = |read| pace.after_read(100 * MICROSECOND * read, READ_BYTES_ENOUGH, sends(100));
        assert!((0..100).map(read).all(|pause| pause.is_none()));
    }

    #[test]
    fn after_silence_the_first_is_not_kept_waiting_for_others() {
        let mut pace = Pace::default();
        for read in 0..400 {
            pace.after_read(25 * MICROSECOND * read, 160, sends(1));
        }
        let later = Duration::from_secs(1);
        assert_eq!(pace.after_read(later, 160, sends(1)), None);
        assert_eq!(pace.after_read(later + MICROSECOND, 160, sends(1)), None);
    }
}
