//! `lariat doctor`: which limits of this machine fall short for so many connections, and what mends
//! each.
//!
//! It changes nothing and needs no privileges. `machine` reads, `judge` judges what was read; a limit
//! that cannot be read is said to be unknown, never taken for enough.

mod judge;
mod machine;

use std::fmt;

pub use machine::Machine;

/// What a node needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Connections held.
    pub connections: u64,
    /// Open files of the process.
    pub open_files: u64,
    /// Bytes that its own limits allow beside the connections: outboxes, queues, heads.
    pub buffer_bytes: u64,
}

/// What the doctor has to say about one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which limit, as the system calls it.
    pub limit: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What it is, and what is needed.
    pub what: String,
}

/// How a limit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It suffices.
    Enough,
    /// It depends on what the doctor does not see, or matters little.
    Note,
    /// It falls short; each of these mends it.
    Short(Vec<String>),
}

/// All findings.
#[derive(Debug)]
pub struct Report {
    connections: u64,
    findings: Vec<Finding>,
}

/// Examines this machine.
pub fn examine(needs: Needs) -> Report {
    Report {
        connections: needs.connections,
        findings: judge::judge(&needs, &Machine::read()),
    }
}

impl Report {
    /// How many limits fall short.
    pub fn short(&self) -> usize {
        let is_short = |finding: &&Finding| matches!(finding.verdict, Verdict::Short(_));
        self.findings.iter().filter(is_short).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} connections on this machine\n", self.connections)?;
        for Finding {
            limit,
            verdict,
            what,
        } in &self.findings
        {
            let word = match verdict {
                Verdict::Enough => "ok",
                Verdict::Note => "note",
                Verdict::Short(_) => "SHORT",
            };
            writeln!(f, "{word:<6}{limit:<30} {what}")?;
            if let Verdict::Short(mends) = verdict {
                for mend in mends {
                    writeln!(f, "{:<6}  {mend}", "")?;
                }
            }
        }
        match self.short() {
            0 => writeln!(f, "\nNothing falls short."),
            1 => writeln!(f, "\n1 limit falls short."),
            count => writeln!(f, "\n{count} limits fall short."),
        }?;
        if self.short() > 0 {
            writeln!(
                f,
                "What sysctl -w sets is gone after a boot: write it to /etc/sysctl.d/90-lariat.conf, too."
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_falls_short_and_what_mends_it() {
        let finding = |limit, verdict| Finding {
            limit,
            verdict,
            what: "what it is".into(),
        };
        let report = Report {
            connections: 7,
            findings: vec![
                finding("a", Verdict::Enough),
                finding("b", Verdict::Short(vec!["sysctl -w b=1".into()])),
                finding("c", Verdict::Note),
            ],
        };
        assert_eq!(report.short(), 1);
        let text = report.to_string();
        for part in [
            "7 connections",
            "SHORT b ",
            "sysctl -w b=1",
            "1 limit falls short",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn this_machine_can_be_examined() {
        let none = Needs {
            connections: 1,
            open_files: 1,
            buffer_bytes: 1,
        };
        assert!(examine(none).findings.len() >= 8);
    }
}
