//! The program as an operator sees it: a config file that may change, signals, the log, and HTTP.
//!
//! No Erlang here, and no EPMD. Every process started here is ended by its handle; waiting has a
//! deadline that only ever fails a test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a test that gets there has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A running `lariat node` that logs JSON.
pub(crate) struct Service {
    child: Child,
    log: Arc<Log>,
    /// Where its config file and others are.
    pub(crate) folder: PathBuf,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Service {
    /// With the text of its config file; every port is any port, unless the text says otherwise.
    pub(crate) fn start(config: &str) -> Service {
        let folder = tempfile::Builder::new()
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("the target folder is writable")
            .keep();
        let path = folder.join("lariat.toml");
        std::fs::write(&path, config).expect("the folder is writable");
        let mut child = Command::new(env!("CARGO_BIN_EXE_lariat"))
            .args(["node", "--no-epmd", "--log-format", "json", "--config"])
            .arg(&path)
            .args(["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .env("LARIAT_COOKIE", "secret")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program was built for this test");
        let log = Arc::new(Log::default());
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let written = Arc::clone(&log);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                written.lines.lock().expect("nobody panics").push(line);
                written.more.notify_all();
            }
        });
        let service = Service { child, log, folder };
        service.logged("the listeners", |line| line.contains("\"dist\""));
        service
    }

    /// The first log line like this, waited for.
    pub(crate) fn logged(&self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        let find = |lines: &[String]| {
            let mut like = lines.iter().filter(|line| is_it(line));
            like.next().cloned()
        };
        let lines = self.log.lines.lock().expect("nobody panics");
        let waited = self
            .log
            .more
            .wait_timeout_while(lines, DEADLINE, |lines| find(lines).is_none());
        let (lines, _) = waited.expect("nobody panics");
        find(&lines).unwrap_or_else(|| panic!("waited in vain for {what}; log: {lines:#?}"))
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lines.lock().expect("nobody panics").join("\n")
    }

    /// Where the listener of this name listens.
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        let wanted = format!("\"listener\":\"{listener}\"");
        let line = self.logged("the listener", |line| line.contains(&wanted));
        let rest = line.split("\"address\":\"").nth(1).expect("it names it");
        let address = rest.split('"').next().expect("it ends");
        address.parse().expect("it is an address")
    }

    /// The process's id.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill exists").success());
    }

    /// Has it read another config.
    pub(crate) fn reload(&self, config: &str) {
        std::fs::write(self.folder.join("lariat.toml"), config).expect("the folder is writable");
        self.signal("HUP");
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is a child") {
                return status;
            }
            assert!(start.elapsed() < DEADLINE, "it does not end");
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Status and body of an admin page.
    pub(crate) fn admin(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address("admin")).expect("admin accepts");
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("it has a head");
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        (status.expect("it has a status"), body.to_owned())
    }

    /// Waits until an admin page answers with this status.
    pub(crate) fn admin_answers(&self, path: &str, status: u16) {
        wait_for(path, || self.admin(path).0 == status);
    }

    /// Waits until a line of the metrics is this.
    pub(crate) fn metric(&self, wanted: &str) {
        wait_for(wanted, || {
            self.admin("/metrics").1.lines().any(|line| line == wanted)
        });
    }

    /// A held stream of server-sent events: its greeting has been read.
    pub(crate) fn events(&self, id: usize) -> Held {
        self.open(id, "Accept: text/event-stream\r\n")
    }

    /// A held chunked stream: its greeting has been read.
    pub(crate) fn stream(&self, id: usize) -> Held {
        self.open(id, "")
    }

    /// What a request for a stream is answered with: its head at least.
    pub(crate) fn open(&self, id: usize, extra: &str) -> Held {
        let mut stream = TcpStream::connect(self.address("http")).expect("it accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("it can");
        let request = format!("GET /stream/{id} HTTP/1.1\r\nHost: test\r\n{extra}\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut held = Held {
            stream,
            received: String::new(),
        };
        let is_sse = extra.contains("event-stream");
        let greeting = if is_sse { "retry: " } else { "\r\n\r\n" };
        held.read_until(greeting);
        held
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client's side of a stream.
pub(crate) struct Held {
    pub(crate) stream: TcpStream,
    pub(crate) received: String,
}

impl Held {
    /// Everything until `part` is there.
    pub(crate) fn read_until(&mut self, part: &str) {
        while !self.received.contains(part) {
            assert!(self.read() > 0, "ended without {part:?}: {}", self.received);
        }
    }

    /// Everything until the end, when the node closes.
    pub(crate) fn read_to_end(mut self) -> String {
        while self.read() > 0 {}
        self.received
    }

    fn read(&mut self) -> usize {
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer).expect("no reset");
        let text = std::str::from_utf8(&buffer[..count]).expect("it is text");
        self.received.push_str(text);
        count
    }
}

/// Asks until it is so.
pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < DEADLINE, "waited in vain for {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}
