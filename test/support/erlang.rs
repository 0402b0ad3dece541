//! Real Erlang for tests: an EPMD of the test's own, and nodes that evaluate expressions.
//!
//! Every process started here is ended by its handle, never by name. Waiting has a deadline that
//! only ever fails a test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a test that gets there has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Calls `ready` until it is true.
pub(crate) fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < DEADLINE, "waited in vain for {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// A port that nobody listened on a moment ago, below those that outgoing connections are given:
/// one of theirs may be taken before it is used, and connecting to it may meet oneself.
pub(crate) fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut drawn = std::iter::repeat_with(|| fastrand::u16(10_000..30_000));
    drawn.find(is_free).expect("one of many is free")
}

/// A running EPMD.
pub(crate) struct Epmd {
    pub(crate) port: u16,
    child: Child,
}

impl Epmd {
    /// On a port that is its own: one that finds its port taken after all ends by itself.
    pub(crate) fn start() -> Epmd {
        std::iter::repeat_with(|| Epmd::try_at(free_port()))
            .flatten()
            .next()
            .expect("the ports are many")
    }

    pub(crate) fn start_at(port: u16) -> Epmd {
        Epmd::try_at(port).expect("the port is free")
    }

    /// Waits until nobody has this name. A node that has just ended may still be known: EPMD takes
    /// what is ready in an order of its own, and can hear of the new one before the end of the old.
    pub(crate) fn forgets(&self, name: &str) {
        let names = || {
            let mut epmd = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
            epmd.write_all(b"\0\x01n").ok()?;
            let mut answer = Vec::new();
            epmd.read_to_end(&mut answer).ok()?;
            Some(String::from_utf8_lossy(&answer).into_owned())
        };
        let entry = format!("name {name} at port");
        wait_for("the name", || {
            names().is_some_and(|names| !names.contains(&entry))
        });
    }

    fn try_at(port: u16) -> Option<Epmd> {
        let mut child = Command::new("epmd")
            .args(["-address", "127.0.0.1", "-port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("epmd is installed");
        let mut is_running = || child.try_wait().expect("it is a child").is_none();
        wait_for("epmd", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok() || !is_running()
        });
        is_running().then_some(Epmd { port, child })
    }
}

impl Drop for Epmd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running Erlang node.
pub(crate) struct Erl {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Erl {
    /// A node called `name`, with further arguments for `erl`.
    pub(crate) fn start(epmd_port: u16, name: &str, cookie: &str, arguments: &[&str]) -> Erl {
        let mut child = Command::new("erl")
            .args(["-noshell", "-start_epmd", "false"])
            .args(["-name", name, "-setcookie", cookie])
            .args(["-kernel", "inet_dist_use_interface", "{127,0,0,1}"])
            .args(["-kernel", "logger_level", "critical"])
            // A handshake takes milliseconds; what is waited for is a turn on a busy machine.
            .args(["-kernel", "net_setuptime", "60"])
            .arg("-pa")
            .arg(evaluator())
            .args(arguments)
            .args(["-s", "lariat_eval", "start"])
            .env("ERL_EPMD_PORT", epmd_port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("erl is installed");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = sync_channel(100);
        thread::spawn(move || {
            // Whatever else the node prints need not be text.
            for line in output.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                let Some(result) = line.strip_prefix("=> ") else {
                    continue;
                };
                if sender.send(result.to_owned()).is_err() {
                    return;
                }
            }
        });
        let mut erl = Erl {
            child,
            input,
            lines,
        };
        assert_eq!(erl.eval("is_alive()."), "true", "the node did not start");
        erl
    }

    /// Begins to evaluate; the result is taken by [`Erl::result`].
    pub(crate) fn begin(&mut self, expressions: &str) {
        writeln!(self.input, "{}", expressions.replace('\n', " ")).expect("erl reads its input");
    }

    pub(crate) fn result(&mut self) -> String {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(result) => result,
            Err(error) => panic!("no result ({error}); erl: {:?}", self.child.try_wait()),
        }
    }

    /// The value of `expressions`, printed.
    pub(crate) fn eval(&mut self, expressions: &str) -> String {
        self.begin(expressions);
        self.result()
    }

    /// Asserts that `expressions` evaluate to what `expected` prints as. Their variables are their
    /// own.
    #[track_caller]
    pub(crate) fn check(&mut self, expressions: &str, expected: &str) {
        let got = self.eval(&format!("(fun() -> {expressions} end)()."));
        assert_eq!(got, expected, "{expressions}");
    }

    /// Sends a signal to the node's process (`STOP`, `CONT`).
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .expect("kill is installed");
        assert!(status.success());
    }

    /// Ends the node without a goodbye.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Erl {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The folder with the compiled `lariat_eval`.
fn evaluator() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/test/lariat_eval.erl");
        let status = Command::new("erlc")
            .arg("-o")
            .arg(&folder)
            .arg(source)
            .status()
            .expect("erlc is installed");
        assert!(status.success());
        folder
    })
}
