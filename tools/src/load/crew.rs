//! Several processes that hold the connections of one run: started, heard, summed, ended.
//!
//! Each is this program with the same arguments and its part (`--part 1/4`); `member` is what it
//! does. The crew counts nothing itself. A member that ends unasked ends the run: its numbers would
//! be missing.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::Error;
use super::holder::Holder;
use super::member::News;
use super::plan::Part;
use super::stop::{Asked, Requests};
use super::tally::Tally;

/// Lines that wait to be added; a member that finds no room waits, and counts on.
const LINES_MAX: usize = 256;

/// After being asked to end, a member has this long for its last line: it closes what it holds.
const END_WITHIN: Duration = Duration::from_secs(30);

/// Requests to stop are looked for this often: the crew waits for its members' lines.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) struct Crew {
    members: Vec<Member>,
    lines: Receiver<(usize, Option<String>)>,
    stop: Requests,
    tally: Tally,
    begun: bool,
}

struct Member {
    child: Child,
    stdin: Option<ChildStdin>,
    open: u32,
    coming: u32,
    is_settled: bool,
    has_ended: bool,
}

impl Crew {
    /// Starts a member for each part, on these CPUs if given (as `taskset -c` writes them).
    pub(super) fn start(
        arguments: &[OsString],
        parts: impl Iterator<Item = Part>,
        cpus: Option<&str>,
        tally: Tally,
        stop: Requests,
    ) -> Result<Self, Error> {
        let program = std::env::current_exe().map_err(Error::Crew)?;
        let (sender, lines) = sync_channel(LINES_MAX);
        let mut members = Vec::new();
        for (at, part) in parts.enumerate() {
            let mut command = match cpus {
                Some(cpus) => {
                    let mut command = Command::new("taskset");
                    command.args(["-c", cpus]).arg(&program);
                    command
                }
                None => Command::new(&program),
            };
            let mut child = command
                .args(arguments)
                .args(["--part", &part.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                // A signal for the terminal's group is ours alone: we end the members in order.
                .process_group(0)
                .spawn()
                .map_err(Error::Crew)?;
            let stdout = child.stdout.take().expect("it is piped");
            let sender = sender.clone();
            thread::Builder::new()
                .name(format!("member-{at}"))
                .spawn(move || pass_lines(at, stdout, &sender))
                .map_err(Error::Crew)?;
            members.push(Member {
                stdin: child.stdin.take(),
                child,
                open: 0,
                coming: 0,
                is_settled: false,
                has_ended: false,
            });
        }
        Ok(Self {
            members,
            lines,
            stop,
            tally,
            begun: false,
        })
    }

    fn hear(&mut self, at: usize, line: &str) -> Result<(), Error> {
        let news: News = serde_json::from_str(line).map_err(|_| Error::Member)?;
        self.tally.add(&news.sums);
        let member = &mut self.members[at];
        member.open = news.open;
        member.coming = news.coming;
        member.is_settled = news.is_settled;
        member.has_ended = news.is_last;
        Ok(())
    }
}

impl Holder for Crew {
    fn turn(&mut self, until: Instant) -> Result<(), Error> {
        self.stop.read();
        let until = until.min(Instant::now() + LOOK_EVERY);
        let wait = until.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(wait) {
            Ok((at, Some(line))) => {
                self.hear(at, &line)?;
                match self.members[at].has_ended {
                    true => Err(Error::Member),
                    false => Ok(()),
                }
            }
            Ok((_, None)) | Err(RecvTimeoutError::Disconnected) => Err(Error::Member),
            Err(RecvTimeoutError::Timeout) => Ok(()),
        }
    }

    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    fn open(&self) -> u32 {
        self.members.iter().map(|member| member.open).sum()
    }

    fn coming(&self) -> u32 {
        self.members.iter().map(|member| member.coming).sum()
    }

    fn is_settled(&self) -> bool {
        self.members.iter().all(|member| member.is_settled)
    }

    fn begin(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        for member in &mut self.members {
            if let Some(stdin) = &mut member.stdin {
                stdin.write_all(b"begin\n").map_err(|_| Error::Member)?;
            }
        }
        Ok(())
    }

    fn asked(&self) -> Asked {
        self.stop.asked()
    }

    fn end(&mut self) -> Result<(), Error> {
        for member in &mut self.members {
            member.stdin = None;
        }
        let until = Instant::now() + END_WITHIN;
        while self.members.iter().any(|member| !member.has_ended) {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok((at, Some(line))) => self.hear(at, &line)?,
                Ok((at, None)) if self.members[at].has_ended => {}
                Ok((_, None)) | Err(_) => return Err(Error::Member),
            }
        }
        Ok(())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for member in &mut self.members {
            if !member.has_ended {
                // Only a failed run leaves one.
                let _ = member.child.kill();
            }
            let _ = member.child.wait();
        }
    }
}

/// Hands on each line, then `None`.
fn pass_lines(at: usize, stdout: impl std::io::Read, sender: &SyncSender<(usize, Option<String>)>) {
    for line in BufReader::new(stdout).lines() {
        let Ok(line) = line else { break };
        if sender.send((at, Some(line))).is_err() {
            return;
        }
    }
    let _ = sender.send((at, None));
}
