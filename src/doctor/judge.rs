//! Judges the limits of a machine against what a node needs. Pure.
//!
//! It knows no other load on the machine: where others share a limit, it says how much is left.

use super::{Finding, Machine, Needs, Verdict};

/// The kernel's memory for one idle server socket with its file and its entry in the poller, measured
/// on Linux 6.18 (4.05 KB by /proc/slabinfo).
const KERNEL_BYTES: u64 = 4150;

/// Ours for one idle stream: 132 to 232 are measured, the slab and the index grow in steps.
const OUR_BYTES: u64 = 256;

/// The process itself.
const PROCESS_BYTES: u64 = 32 << 20;

/// What the listeners ask the kernel to complete ahead of them.
const BACKLOG: u64 = 4096;

/// Every limit, in the order in which one would mend them.
pub(super) fn judge(needs: &Needs, machine: &Machine) -> Vec<Finding> {
    let mut findings = vec![
        process_files(needs, machine),
        at_least(
            "fs.nr_open",
            machine.nr_open,
            needs.open_files,
            "for one process",
        ),
        system_files(needs, machine),
    ];
    findings.extend(memory(needs, machine));
    findings.extend([
        tcp_memory(needs, machine),
        conntrack(needs, machine),
        at_least(
            "net.core.somaxconn",
            machine.somaxconn,
            BACKLOG,
            "for each listener",
        ),
        syn_backlog(machine),
        ports(needs, machine),
        note("huge pages", "not needed: what is held is small and spread"),
    ]);
    findings
}

fn process_files(needs: &Needs, machine: &Machine) -> Finding {
    let limit = "open files of the process";
    let Some((soft, hard)) = machine.open_files else {
        return unknown(limit);
    };
    let need = needs.open_files;
    if hard >= need {
        return enough(
            limit,
            format!("soft {soft}, hard {hard}, {need} needed; the node raises soft by itself"),
        );
    }
    short(
        limit,
        format!(
            "hard {hard}, {need} needed; the node would hold fewer connections and refuse others"
        ),
        vec![
            format!("LimitNOFILE={need}          in the [Service] section of a systemd unit"),
            format!("ulimit -Hn {need}           in a shell of root, before it starts the node"),
            format!("--ulimit nofile={need}      for docker run"),
        ],
    )
}

fn system_files(needs: &Needs, machine: &Machine) -> Finding {
    let open = machine.files_open.unwrap_or(0);
    let need = needs.open_files.saturating_add(open);
    at_least("fs.file-max", machine.file_max, need, "for all processes")
}

fn memory(needs: &Needs, machine: &Machine) -> Vec<Finding> {
    let held = needs.connections.saturating_mul(KERNEL_BYTES + OUR_BYTES);
    let idle = held.saturating_add(PROCESS_BYTES);
    let full = idle.saturating_add(needs.buffer_bytes);
    let sum = format!(
        "{} for idle connections, {} with all buffers full",
        size(idle),
        size(full)
    );
    let what = |has: u64| format!("{}; {sum}", size(has));
    let mend = |limit: &str| {
        vec![
            format!("{limit} of {} or more, or several machines", size(full)),
            "or lower outbox.total_bytes_max and http.queue_bytes_max, which are counted in".into(),
        ]
    };
    let ram = match machine.ram_bytes {
        None => unknown("memory"),
        Some(has) if has < full => short("memory", what(has), mend("memory")),
        Some(has) => match machine.available_bytes {
            Some(free) if free < full => note(
                "memory",
                &format!(
                    "{}, of which {} can be had now; {sum}",
                    size(has),
                    size(free)
                ),
            ),
            _ => enough("memory", what(has)),
        },
    };
    let group = "memory of the control group";
    let cgroup = match machine.cgroup_bytes {
        None => enough(group, "no limit".into()),
        // The kernel's part is charged to the group, too.
        Some(has) if has < full => short(group, what(has), mend("MemoryMax= (or --memory)")),
        Some(has) => enough(group, what(has)),
    };
    vec![ram, cgroup]
}

/// Counts pages of what waits in socket buffers: none for idle connections, one at least for each that
/// has something to send or to receive.
fn tcp_memory(needs: &Needs, machine: &Machine) -> Finding {
    let limit = "net.ipv4.tcp_mem";
    let Some([low, pressure, high]) = machine.tcp_mem else {
        return unknown(limit);
    };
    let need = needs.connections;
    let what = format!("{low} {pressure} {high} pages, {need} for a message to everybody");
    if pressure >= need {
        return enough(limit, what);
    }
    let (low, high) = (need - need / 4, need.saturating_add(need / 2));
    let command = format!("sysctl -w net.ipv4.tcp_mem=\"{low} {need} {high}\"");
    short(limit, what, vec![command])
}

fn conntrack(needs: &Needs, machine: &Machine) -> Finding {
    let limit = "net.netfilter.nf_conntrack_max";
    let Some((max, tracked)) = machine.conntrack else {
        return enough(limit, "connections are not tracked here".into());
    };
    let need = needs.connections.saturating_add(tracked);
    let what = format!("{max}, {need} needed with the {tracked} of now");
    if max >= need {
        return enough(limit, what);
    }
    short(
        limit,
        what,
        vec![
            format!("sysctl -w net.netfilter.nf_conntrack_max={}", rounded(need)),
            "or exempt the listeners' ports with a notrack rule of nftables".into(),
        ],
    )
}

fn syn_backlog(machine: &Machine) -> Finding {
    let limit = "net.ipv4.tcp_max_syn_backlog";
    match machine.syncookies {
        Some(cookies) if cookies > 0 => enough(
            limit,
            "net.ipv4.tcp_syncookies is on: a full backlog refuses nobody".into(),
        ),
        _ => at_least(limit, machine.syn_backlog, BACKLOG, "without SYN cookies"),
    }
}

fn ports(needs: &Needs, machine: &Machine) -> Finding {
    let limit = "net.ipv4.ip_local_port_range";
    let Some((first, last)) = machine.ports else {
        return unknown(limit);
    };
    let count = (last + 1).saturating_sub(first);
    if count >= needs.connections {
        return enough(limit, format!("{first} to {last}: {count} ports"));
    }
    let what = format!(
        "{first} to {last}: {count} ports. It limits clients and proxies on this machine alone, for \
         each of their addresses and each of ours; others have ports of their own"
    );
    note(limit, &what)
}

fn at_least(limit: &'static str, has: Option<u64>, need: u64, whom: &str) -> Finding {
    match has {
        None => unknown(limit),
        Some(has) if has >= need => enough(limit, format!("{has}, {need} needed {whom}")),
        Some(has) => short(
            limit,
            format!("{has}, {need} needed {whom}"),
            vec![format!("sysctl -w {limit}={}", rounded(need))],
        ),
    }
}

/// A number that one can read: two digits and zeros, not below.
fn rounded(need: u64) -> u64 {
    let mut step = 1;
    while need / step >= 100 {
        step *= 10;
    }
    need.div_ceil(step).saturating_mul(step)
}

fn size(bytes: u64) -> String {
    match bytes >> 20 {
        mib @ 0..10_240 => format!("{mib} MiB"),
        mib => format!("{} GiB", mib >> 10),
    }
}

fn enough(limit: &'static str, what: String) -> Finding {
    Finding {
        limit,
        verdict: Verdict::Enough,
        what,
    }
}

fn note(limit: &'static str, what: &str) -> Finding {
    Finding {
        limit,
        verdict: Verdict::Note,
        what: what.to_owned(),
    }
}

fn unknown(limit: &'static str) -> Finding {
    note(limit, "cannot be read here; look yourself")
}

fn short(limit: &'static str, what: String, mends: Vec<String>) -> Finding {
    Finding {
        limit,
        verdict: Verdict::Short(mends),
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLION: Needs = Needs {
        connections: 1_000_000,
        open_files: 1_004_352,
        buffer_bytes: 1 << 30,
    };

    /// A machine on which nothing falls short for a million.
    fn ample() -> Machine {
        Machine {
            open_files: Some((1024, 1_048_576)),
            nr_open: Some(1_048_576),
            file_max: Some(10_000_000),
            files_open: Some(5_000),
            tcp_mem: Some([750_000, 1_000_000, 1_500_000]),
            ports: Some((1, 65_535)),
            conntrack: None,
            somaxconn: Some(4096),
            syn_backlog: Some(128),
            syncookies: Some(1),
            ram_bytes: Some(16 << 30),
            available_bytes: Some(15 << 30),
            cgroup_bytes: None,
        }
    }

    fn shorts(machine: &Machine) -> Vec<(&'static str, Vec<String>)> {
        let findings = judge(&MILLION, machine).into_iter();
        findings
            .filter_map(|finding| match finding.verdict {
                Verdict::Short(mends) => Some((finding.limit, mends)),
                Verdict::Enough | Verdict::Note => None,
            })
            .collect()
    }

    #[test]
    fn each_limit_falls_short_alone_and_names_what_mends_it() {
        assert_eq!(shorts(&ample()), []);
        type Spoil = fn(&mut Machine);
        let table: [(Spoil, &str, &str); 10] = [
            (
                |machine| machine.open_files = Some((1024, 20_000)),
                "open files of the process",
                "LimitNOFILE=1004352",
            ),
            (
                |machine| machine.nr_open = Some(1_000_000),
                "fs.nr_open",
                "sysctl -w fs.nr_open=1100000",
            ),
            (
                |machine| machine.file_max = Some(1_005_000),
                "fs.file-max",
                "sysctl -w fs.file-max=1100000",
            ),
            (
                |machine| machine.tcp_mem = Some([1, 2, 3]),
                "net.ipv4.tcp_mem",
                "sysctl -w net.ipv4.tcp_mem=\"750000 1000000 1500000\"",
            ),
            (
                |machine| machine.conntrack = Some((262_144, 10)),
                "net.netfilter.nf_conntrack_max",
                "sysctl -w net.netfilter.nf_conntrack_max=1100000",
            ),
            (
                |machine| machine.somaxconn = Some(128),
                "net.core.somaxconn",
                "sysctl -w net.core.somaxconn=4100",
            ),
            (
                |machine| machine.syncookies = Some(0),
                "net.ipv4.tcp_max_syn_backlog",
                "sysctl -w net.ipv4.tcp_max_syn_backlog=4100",
            ),
            (
                |machine| machine.ram_bytes = Some(4 << 30),
                "memory",
                "memory of 5257 MiB",
            ),
            (
                |machine| machine.cgroup_bytes = Some(2 << 30),
                "memory of the control group",
                "MemoryMax=",
            ),
            (
                |machine| machine.cgroup_bytes = Some(5 << 30),
                "memory of the control group",
                "outbox.total_bytes_max",
            ),
        ];
        for (spoil, limit, mend) in table {
            let mut machine = ample();
            spoil(&mut machine);
            let found = shorts(&machine);
            assert_eq!(found.len(), 1, "{limit}: {found:?}");
            assert_eq!(found[0].0, limit);
            let mends = found[0].1.join("\n");
            assert!(mends.contains(mend), "{limit}: {mends}");
        }
    }

    #[test]
    fn what_is_unknown_or_depends_is_a_note() {
        assert_eq!(shorts(&Machine::default()), []);
        let verdict = |machine: &Machine, limit| {
            let findings = judge(&MILLION, machine);
            let mut named = findings.into_iter().filter(|found| found.limit == limit);
            named.next().expect("it is judged").verdict
        };
        for limit in ["fs.nr_open", "memory", "net.ipv4.tcp_mem"] {
            assert_eq!(
                verdict(&Machine::default(), limit),
                Verdict::Note,
                "{limit}"
            );
        }
        let busy = Machine {
            available_bytes: Some(1 << 30),
            ..ample()
        };
        assert_eq!(verdict(&busy, "memory"), Verdict::Note);
        let ports = "net.ipv4.ip_local_port_range";
        assert_eq!(verdict(&ample(), ports), Verdict::Note);
    }

    #[test]
    fn numbers_are_rounded_up() {
        for (need, is) in [
            (7, 7),
            (100, 100),
            (101, 110),
            (4096, 4100),
            (1_004_352, 1_100_000),
        ] {
            assert_eq!(rounded(need), is);
        }
        assert_eq!(rounded(u64::MAX), u64::MAX);
    }
}
