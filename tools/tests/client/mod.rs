//! The real binary as a child process, whose lines of JSON a test waits for.
//!
//! Deadlines only fail a test that would hang; they pace nothing.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// Far beyond what any step takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A run prints three lines.
const LINES_MAX: usize = 16;

pub(crate) struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Client {
    /// Starts `lariat-tools load` against `url` with more arguments, separated by spaces.
    pub(crate) fn load(url: &str, arguments: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lariat-tools"))
            .args(["load", "--url", url])
            .args(arguments.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = sync_channel(LINES_MAX);
        thread::spawn(move || {
            for line in stdout.lines() {
                sender.send(line.unwrap()).unwrap();
            }
        });
        Self {
            stdin: child.stdin.take(),
            child,
            lines,
        }
    }

    /// The next line, which must be of this kind.
    pub(crate) fn wait_for(&self, event: &str) -> Value {
        let line = self.lines.recv_timeout(DEADLINE);
        let line = line.unwrap_or_else(|error| panic!("no {event:?}: {error}"));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["event"], event, "{value}");
        value
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        let status = Command::new("sh")
            .args(["-c", "kill -TERM \"$0\"", &pid])
            .status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status of one that ends without a report.
    pub(crate) fn status(mut self) -> i32 {
        let ended = self.lines.recv_timeout(DEADLINE);
        assert!(ended.is_err(), "{ended:?}");
        self.child.wait().unwrap().code().unwrap()
    }

    /// The report and the exit status.
    pub(crate) fn report(mut self) -> (Value, i32) {
        let report = self.wait_for("report");
        let ended = self.lines.recv_timeout(DEADLINE);
        assert!(ended.is_err(), "{ended:?} after the report");
        let status: ExitStatus = self.child.wait().unwrap();
        (report, status.code().unwrap())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Only a failed test leaves it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
