//! Gives memory back to the system when many connections have left, also when others came.
//!
//! It frees nothing itself. Slab, index, sockets and queues free what they no longer need, but the
//! allocator of glibc keeps freed pages that have something in use behind them, which is nearly all
//! of them; `malloc_trim(3)` gives those back. Allocators that give pages back on their own
//! cost more for as long as connections are held (`ARCHITECTURE.md` has the numbers). With another
//! C library this room does nothing.
//!
//! The one `unsafe` of the program: a call of the C library, declared here. It takes a number, hands
//! no pointer over, may be called by any thread at any time, and moves nothing that is in use.
#![expect(
    unsafe_code,
    reason = "malloc_trim(3) has no safe name; see the header"
)]

use std::sync::Arc;
use std::time::Duration;

use crate::metrics::Metrics;

/// How often it is looked at: shorter than any wave of connections worth the trouble.
const EVERY: Duration = Duration::from_secs(1);

/// Fewer connections leave too little to be worth it: a quarter of a megabyte.
const LEAST: u64 = 4096;

/// When so many times as many have left as there were at most, it is worth it although others came:
/// each peak of what is needed at once leaves pages that nobody gives back, and peaks are rare but do not end.
const TURNOVER: u64 = 4;

/// Looks on for as long as the runtime lives that it is a task of.
pub async fn watch(metrics: Arc<Metrics>) {
    let mut tide = Tide::default();
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        if tide.is_due(metrics.connections.sum(), metrics.closed.sum()) {
            // It ends also when the runtime does not wait for it.
            let _ = tokio::task::spawn_blocking(give_back).await;
            metrics.memory_trims.increment();
        }
    }
}

/// Since memory was given back.
#[derive(Debug, Default)]
struct Tide {
    /// The most connections.
    high: u64,
    /// How many had left until then, from the start.
    left: u64,
}

impl Tide {
    /// Whether half of the most have left, or several times as many with others in their place; `left`
    /// counts from the start. A trim holds the allocator's locks, some 30 ms for what a million
    /// connections leave: halving bounds how often that happens while a wave leaves slowly, turning to
    /// a few nanoseconds for each that leaves.
    fn is_due(&mut self, held: u64, left: u64) -> bool {
        self.high = self.high.max(held);
        let has_ebbed = self.high >= LEAST && held <= self.high / 2;
        let has_turned = left.saturating_sub(self.left) >= TURNOVER * self.high.max(LEAST);
        let is_due = has_ebbed || has_turned;
        if is_due {
            *self = Tide { high: held, left };
        }
        is_due
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_back() {
    unsafe extern "C" {
        /// Keeps `pad` bytes at the top of the heap; says whether anything was given back.
        fn malloc_trim(pad: usize) -> std::ffi::c_int;
    }
    // Safety: see the header.
    let _ = unsafe { malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ebbs_once_when_half_of_many_have_left() {
        let mut tide = Tide::default();
        let seen = [
            (0, false),
            (100, false),
            (0, false),
            (10_000, false),
            (5001, false),
            (5000, true),
            (4000, false),
            (2500, true),
            (0, false),
            (20_000, false),
            (3, true),
        ];
        for (held, expected) in seen {
            assert_eq!(tide.is_due(held, 0), expected, "{held}");
        }
    }

    #[test]
    fn it_turns_when_several_times_as_many_have_left() {
        let mut tide = Tide::default();
        let turns = [
            (2000, 100, false),
            (2000, 16_383, false),
            (2000, 16_384, true),
            (2000, 32_767, false),
            (2000, 32_768, true),
            (10_000, 70_000, false),
            (9000, 72_767, false),
            (9000, 72_768, true),
        ];
        for (held, left, expected) in turns {
            assert_eq!(tide.is_due(held, left), expected, "{held} {left}");
        }
    }
}
