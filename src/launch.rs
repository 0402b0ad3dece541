//! Starts the program again in its place, once, with what the C library reads only at its start.
//!
//! glibc keeps what a thread has freed in a cache of that thread, by default seven pieces of each of 64
//! sizes: up to 236 KB that no other thread gets and `malloc_trim(3)` does not give back. Our threads
//! hand memory to each other all the time (one allocates, another one frees), so these caches fill up
//! over hours of connections that come and go. One piece of each size serves a thread as well as
//! seven, and bounds them at 34 KB. There is no call to say so: it is a tunable, which the environment
//! has when a program starts (glibc manual, "Memory Allocation Tunables").
//!
//! It decides nothing else about memory (`memory`), does nothing with another C library, and leaves a
//! program alone whose environment has this tunable already.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
use std::os::unix::process::CommandExt;

/// Where glibc looks.
#[cfg_attr(not(all(target_os = "linux", target_env = "gnu")), expect(dead_code))]
const TUNABLES: &str = "GLIBC_TUNABLES";

/// Pieces of each size in a thread's cache.
const TUNABLE: &str = "glibc.malloc.tcache_count";
const PIECES: u8 = 1;

/// Says that this is the second start: with more privileges than its caller's (a binary with
/// capabilities, above all), glibc takes the tunables away, and a third start would not have them either.
#[cfg_attr(not(all(target_os = "linux", target_env = "gnu")), expect(dead_code))]
const MARK: &str = "LARIAT_LAUNCHED";

/// Does not return when it works: the same program with the same process id, arguments and open files
/// begins anew. Call it before there is anything to lose. Without it all works, with larger caches.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    clippy::disallowed_methods,
    reason = "not for us: it is what the C library reads"
)]
pub fn with_small_caches() {
    let present = std::env::var(TUNABLES).unwrap_or_default();
    let (Some(wanted), None) = (wanted(&present), std::env::var_os(MARK)) else {
        return;
    };
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let error = std::process::Command::new(program)
        .arg0(name)
        .args(args)
        .env(TUNABLES, wanted)
        .env(MARK, "1")
        .exec();
    // The program is as it was, and the log does not exist yet.
    let _ = error;
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn with_small_caches() {}

/// The tunables with ours, or `None` when it is there already.
fn wanted(present: &str) -> Option<String> {
    let is_ours = |tunable: &str| tunable.split('=').next() == Some(TUNABLE);
    if present.split(':').any(is_ours) {
        return None;
    }
    let before = if present.is_empty() { "" } else { ":" };
    Some(format!("{present}{before}{TUNABLE}={PIECES}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_and_what_the_operator_says_holds() {
        let wanted = |present| wanted(present).unwrap_or_default();
        assert_eq!(wanted(""), "glibc.malloc.tcache_count=1");
        assert_eq!(
            wanted("glibc.malloc.arena_max=2"),
            "glibc.malloc.arena_max=2:glibc.malloc.tcache_count=1"
        );
        let said = "glibc.malloc.arena_max=2:glibc.malloc.tcache_count=7";
        assert_eq!(wanted(said), "");
    }
}
