//! Reads the limits of this machine, as far as it tells them.
//!
//! No judgement, and no error: what is not there, or not to be read, is `None`.

use std::fs;
use std::path::{Path, PathBuf};

/// The limits of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Open files of a process: soft and hard.
    pub open_files: Option<(u64, u64)>,
    /// `fs.nr_open`: what the hard limit may be at most.
    pub nr_open: Option<u64>,
    /// `fs.file-max`: open files of all processes.
    pub file_max: Option<u64>,
    /// How many are open now.
    pub files_open: Option<u64>,
    /// `net.ipv4.tcp_mem`: pages at which TCP is at ease, under pressure, at its end.
    pub tcp_mem: Option<[u64; 3]>,
    /// `net.ipv4.ip_local_port_range`, first and last.
    pub ports: Option<(u64, u64)>,
    /// `net.netfilter.nf_conntrack_max` and the connections tracked now; `None` without conntrack.
    pub conntrack: Option<(u64, u64)>,
    /// `net.core.somaxconn`.
    pub somaxconn: Option<u64>,
    /// `net.ipv4.tcp_max_syn_backlog`.
    pub syn_backlog: Option<u64>,
    /// `net.ipv4.tcp_syncookies`.
    pub syncookies: Option<u64>,
    /// Memory in all.
    pub ram_bytes: Option<u64>,
    /// Memory that could be had now.
    pub available_bytes: Option<u64>,
    /// The smallest memory limit of the control groups we are in; `None` when there is none.
    pub cgroup_bytes: Option<u64>,
}

impl Machine {
    /// This one.
    pub fn read() -> Machine {
        let sys = |name: &str| numbers(Path::new("/proc/sys").join(name));
        let one = |name: &str| sys(name).first().copied();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let tracked = one("net/netfilter/nf_conntrack_count").unwrap_or(0);
        Machine {
            open_files: rlimit::getrlimit(rlimit::Resource::NOFILE).ok(),
            nr_open: one("fs/nr_open"),
            file_max: one("fs/file-max"),
            files_open: one("fs/file-nr"),
            tcp_mem: sys("net/ipv4/tcp_mem").try_into().ok(),
            ports: sys("net/ipv4/ip_local_port_range")
                .try_into()
                .ok()
                .map(|[first, last]: [u64; 2]| (first, last)),
            conntrack: one("net/netfilter/nf_conntrack_max").map(|max| (max, tracked)),
            somaxconn: one("net/core/somaxconn"),
            syn_backlog: one("net/ipv4/tcp_max_syn_backlog"),
            syncookies: one("net/ipv4/tcp_syncookies"),
            ram_bytes: of_meminfo(&meminfo, "MemTotal"),
            available_bytes: of_meminfo(&meminfo, "MemAvailable"),
            cgroup_bytes: cgroup_bytes(),
        }
    }
}

fn numbers(path: PathBuf) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let words = text.split_whitespace();
    words.map_while(|word| word.parse().ok()).collect()
}

fn of_meminfo(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib = line.strip_prefix(':')?.trim().strip_suffix(" kB")?;
    kib.parse::<u64>().ok()?.checked_mul(1024)
}

fn cgroup_bytes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let files = groups.lines().flat_map(limit_files);
    let limits = files.filter_map(|file| numbers(file).first().copied());
    // Version 1 says "none" with the largest number of pages there is.
    limits.min().filter(|&bytes| bytes < 1 << 60)
}

/// The files that may hold a memory limit for a line of `/proc/self/cgroup`: those of the group and of
/// all above it.
fn limit_files(line: &str) -> Vec<PathBuf> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else {
        return Vec::new();
    };
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        named if named.split(',').any(|name| name == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let groups = Path::new(group).ancestors();
    let below = groups.map(|group| group.strip_prefix("/").unwrap_or(group));
    below
        .map(|group| Path::new(root).join(group).join(file))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_kib() {
        let text = "MemTotal:       24684092 kB\nMemAvailable:   22675724 kB\n";
        assert_eq!(of_meminfo(text, "MemTotal"), Some(24_684_092 * 1024));
        assert_eq!(of_meminfo(text, "MemFree"), None);
    }

    #[test]
    fn the_limits_of_a_group_are_its_own_and_those_above() {
        let files = |line| -> Vec<String> {
            let files = limit_files(line).into_iter();
            files.map(|file| file.display().to_string()).collect()
        };
        assert_eq!(
            files("0::/a/b"),
            [
                "/sys/fs/cgroup/a/b/memory.max",
                "/sys/fs/cgroup/a/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(
            files("4:memory:/a"),
            [
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
        assert_eq!(files("3:cpuset:/a"), [""; 0]);
        assert_eq!(files("nonsense"), [""; 0]);
    }
}
