//! CPU time of processes and threads, as the kernel's scheduler counts it (`/proc/.../schedstat`).
//!
//! Linux alone. Nanoseconds; the running thread's own figure may lag by one timer tick.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// Of the calling thread.
pub(crate) fn of_this_thread() -> Duration {
    of(Path::new("/proc/thread-self"))
}

/// Of all threads of a process, and of those of them that are called `name`.
pub(crate) fn of_process(pid: u32, name: &str) -> (Duration, Duration) {
    let mut sum = (Duration::ZERO, Duration::ZERO);
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    for task in tasks.flatten() {
        let task = task.path();
        let spent = of(&task);
        sum.0 += spent;
        let called = fs::read_to_string(task.join("comm")).unwrap_or_default();
        if called.trim_end() == name {
            sum.1 += spent;
        }
    }
    sum
}

/// A thread that has ended meanwhile counts as nothing.
fn of(task: &Path) -> Duration {
    let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    let spent = text.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_nanos(spent.unwrap_or(0))
}
