//! The memory of a process that is watched: what Linux says it keeps resident.
//!
//! A process that is gone, or is not ours to look at, has none; that is no error of the run.

use std::fs;

use serde::Serialize;

/// Resident bytes of the watched process, at the times that matter.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Memory {
    #[serde(rename = "rss_bytes_before")]
    pub(super) before: Option<u64>,
    /// When every connection was open or had failed.
    #[serde(rename = "rss_bytes_connected")]
    pub(super) connected: Option<u64>,
    #[serde(rename = "rss_bytes_max")]
    pub(super) max: Option<u64>,
    #[serde(rename = "rss_bytes_end")]
    pub(super) end: Option<u64>,
}

impl Memory {
    pub(super) fn look(&mut self, pid: u32) -> Option<u64> {
        let bytes = resident_bytes(pid);
        self.max = self.max.max(bytes);
        self.end = bytes;
        bytes
    }
}

fn resident_bytes(pid: u32) -> Option<u64> {
    parse(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// The line `VmRSS:    1234 kB`.
fn parse(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_size_is_read() {
        let status = "Name:\tx\nVmHWM:\t  200 kB\nVmRSS:\t     120 kB\nRssAnon:\t 1 kB\n";
        assert_eq!(parse(status), Some(120 * 1024));
        assert_eq!(parse("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn ours_is_more_than_nothing_and_a_missing_one_is_none() {
        let mut memory = Memory::default();
        assert!(
            memory
                .look(std::process::id())
                .is_some_and(|bytes| bytes > 4096)
        );
        assert_eq!(memory.look(u32::MAX), None);
        assert!(memory.max.is_some() && memory.end.is_none());
    }
}
