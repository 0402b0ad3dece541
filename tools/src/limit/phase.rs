//! The kinds of writing, and what each costs.
//!
//! It waits for nobody: a socket that is full is passed over, and counted.

use std::fs;
use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::streams::Streams;

/// Writes between two looks at the clock.
const WRITES_PER_LOOK: u32 = 64;

/// A paced writer rests this long when nothing is due: short beside a millisecond, long beside a
/// write.
const REST: Duration = Duration::from_micros(100);

#[derive(Debug, Clone, Copy)]
pub(super) struct Phase {
    pub(super) seconds: u64,
    pub(super) bytes: usize,
}

/// What so many of one kind cost.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Cost {
    pub(super) count: u64,
    /// Sockets that were full; nothing was written to them.
    pub(super) full: u64,
    pub(super) per_second: f64,
    pub(super) us_each: f64,
    /// How long all of them took: on a busy machine longer than they were given.
    #[serde(skip)]
    us: u64,
    /// CPU time of the writing thread; absent where the kernel does not tell.
    pub(super) cpu_us_each: Option<f64>,
}

/// Time and CPU time since it started.
pub(super) struct Clock {
    started: Instant,
    cpu_ns: Option<u64>,
}

impl Cost {
    /// So many percent of the rate that was measured, a second.
    pub(super) fn rate(&self, percent: u32) -> u64 {
        let rate =
            u128::from(self.count) * 10_000 * u128::from(percent) / u128::from(self.us.max(1));
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

impl Phase {
    /// The same message to each, round after round.
    pub(super) fn fan_out(self, streams: &mut Streams) -> io::Result<Cost> {
        let mut message = Vec::new();
        self.write_message(&mut message, format_args!(""))?;
        let clock = Clock::start();
        let (mut count, mut full) = (0, 0);
        while !clock.is_over(self.seconds) {
            for at in 0..streams.len() {
                match streams.write(at, &message)? {
                    true => count += 1,
                    false => full += 1,
                }
            }
        }
        Ok(clock.cost(count, full))
    }

    /// A message of its own to random ones: as fast as they are taken, or so many a second.
    pub(super) fn unicast(self, streams: &mut Streams, rate: Option<u64>) -> io::Result<Cost> {
        let mut message = Vec::new();
        let clock = Clock::start();
        let (mut count, mut full) = (0_u64, 0_u64);
        while !clock.is_over(self.seconds) {
            let due = rate.map(|rate| clock.due(rate));
            if due.is_some_and(|due| due <= count + full) {
                std::thread::sleep(REST);
                continue;
            }
            for _ in 0..WRITES_PER_LOOK {
                if due.is_some_and(|due| due <= count + full) {
                    break;
                }
                let at = fastrand::usize(..streams.len());
                let id = streams.id(at);
                message.clear();
                self.write_message(&mut message, format_args!("m:{:020}#{id};", realtime_ns()))?;
                match streams.write(at, &message)? {
                    true => count += 1,
                    false => full += 1,
                }
            }
        }
        Ok(clock.cost(count, full))
    }

    /// A chunk of our size that begins with `stamp`.
    fn write_message(self, out: &mut Vec<u8>, stamp: std::fmt::Arguments) -> io::Result<()> {
        write!(out, "{:x}\r\n", self.bytes)?;
        let end = out.len() + self.bytes;
        write!(out, "{stamp}")?;
        out.resize(end, b'.');
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            started: Instant::now(),
            cpu_ns: cpu_ns(),
        }
    }

    fn is_over(&self, seconds: u64) -> bool {
        self.started.elapsed() >= Duration::from_secs(seconds)
    }

    /// How many of so many a second should have been written by now.
    fn due(&self, per_second: u64) -> u64 {
        let due = self.started.elapsed().as_micros() * u128::from(per_second) / 1_000_000;
        u64::try_from(due).unwrap_or(u64::MAX)
    }

    pub(super) fn cost(self, count: u64, full: u64) -> Cost {
        let elapsed = self.started.elapsed();
        let seconds = elapsed.as_secs_f64();
        let some = count.max(1) as f64;
        let cpu_ns = self.cpu_ns.zip(cpu_ns());
        Cost {
            count,
            full,
            per_second: count as f64 / seconds,
            us_each: seconds * 1e6 / some,
            us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            cpu_us_each: cpu_ns.map(|(before, after)| (after - before) as f64 / 1e3 / some),
        }
    }
}

/// What this thread has used, by the kernel's scheduler.
fn cpu_ns() -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

fn realtime_ns() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_chunk_of_its_size() {
        let phase = Phase {
            seconds: 1,
            bytes: 64,
        };
        let mut message = Vec::new();
        let stamp = format_args!("m:{:020}#{};", 7, 9);
        phase.write_message(&mut message, stamp).unwrap();
        assert!(message.starts_with(b"40\r\nm:00000000000000000007#9;..."));
        assert!(message.ends_with(b"..\r\n"));
        assert_eq!(message.len(), 4 + 64 + 2);
    }

    #[test]
    fn a_cost_is_told_each_and_a_second() {
        let clock = Clock::start();
        while clock.started.elapsed() < Duration::from_millis(2) {}
        let cost = clock.cost(10, 1);
        assert!(
            cost.us_each >= 200.0 && cost.per_second <= 5000.0,
            "{cost:?}"
        );
    }

    #[test]
    fn a_part_of_the_rate_is_of_the_time_that_it_took() {
        let mut cost = Clock::start().cost(1_000, 0);
        cost.us = 1_250_000;
        assert_eq!((cost.rate(100), cost.rate(70)), (800, 560));
    }
}
