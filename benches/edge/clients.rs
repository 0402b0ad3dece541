//! The process with the clients' ends: opens streams, reads all that comes, says when it has come.
//!
//! It is told by lines on a socket of its own (`knock ADDRESS FIRST COUNT`, `greeted`, `read BYTES`,
//! `close`) and answers each with one. It knows no framing: bytes are counted.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};

/// Connections that are opened before their answers are read: fewer than a listen queue takes.
const TOGETHER: usize = 1000;

/// What a bench waits for at most; only a failing one does.
const DEADLINE: Duration = Duration::from_secs(60);

/// The bench's end of the other process.
pub(crate) struct Clients {
    lines: BufReader<TcpStream>,
    child: Child,
}

impl Clients {
    /// On the second CPU, where `taskset` can say so; `scripts/bench-edge` has put us on the first.
    pub(crate) fn start() -> Clients {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let program = std::env::current_exe().expect("a program has a path");
        let start = |mut command: Command| command.arg("clients").arg(&address).spawn();
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", "1"]).arg(&program);
        let child = start(pinned).or_else(|_| start(Command::new(&program)));
        let child = child.expect("the clients start");
        let (socket, _) = listener.accept().expect("the clients come");
        let set = socket.set_read_timeout(Some(DEADLINE));
        set.expect("a deadline can be set");
        let lines = BufReader::new(socket);
        Clients { lines, child }
    }

    /// Opens streams of the ids from `first` on, and reads their greeting.
    pub(crate) fn open(&mut self, to: SocketAddr, first: usize, count: usize) {
        for first in (first..first + count).step_by(TOGETHER) {
            self.knock(to, first, TOGETHER.min(count - first));
            self.greeted();
        }
    }

    /// Connects and asks for streams; does not wait for an answer.
    pub(crate) fn knock(&mut self, to: SocketAddr, first: usize, count: usize) {
        self.ask(&format!("knock {to} {first} {count}"));
    }

    /// Reads the greetings of those that have asked.
    pub(crate) fn greeted(&mut self) {
        self.ask("greeted");
    }

    /// Waits until so many bytes have come, all streams together, since they were opened or this was
    /// asked before.
    pub(crate) fn read(&mut self, bytes: usize) {
        self.ask(&format!("read {bytes}"));
    }

    /// Lets all streams go.
    pub(crate) fn close(&mut self) {
        self.ask("close");
    }

    fn ask(&mut self, line: &str) {
        writeln!(self.lines.get_mut(), "{line}").expect("the clients run");
        let mut answer = String::new();
        let read = self.lines.read_line(&mut answer);
        assert!(matches!(read, Ok(5)), "{line}: {read:?} {answer:?}");
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other process.
pub(crate) fn serve(to: &str) {
    let socket = TcpStream::connect(to).expect("the bench listens");
    let mut answers = socket.try_clone().expect("a descriptor is left");
    let mut held = Held {
        poll: Poll::new().expect("a poller is to be had"),
        events: Events::with_capacity(1024),
        asked: Vec::new(),
        streams: Vec::new(),
        come: 0,
    };
    for line in BufReader::new(socket).lines() {
        let line = line.expect("the bench ends us before it ends");
        let words: Vec<&str> = line.split(' ').collect();
        let number = |place: usize| words[place].parse().expect("it is a number");
        match words[0] {
            "knock" => {
                let to = words[1].parse().expect("it is an address");
                let ids = number(2)..number(2) + number(3);
                held.asked = ids.map(|id| request(to, id)).collect();
            }
            "greeted" => held.greeted(),
            "read" => held.read(number(1)),
            _ => held.streams.clear(),
        }
        answers.write_all(b"done\n").expect("the bench listens");
    }
}

struct Held {
    poll: Poll,
    events: Events,
    asked: Vec<TcpStream>,
    streams: Vec<mio::net::TcpStream>,
    come: usize,
}

impl Held {
    fn greeted(&mut self) {
        for mut stream in std::mem::take(&mut self.asked) {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut part = [0; 1024];
                let count = stream.read(&mut part).expect("the request is answered");
                assert!(count > 0, "refused: {}", String::from_utf8_lossy(&head));
                head.extend_from_slice(&part[..count]);
            }
            stream.set_nonblocking(true).expect("sockets can be polled");
            let mut stream = mio::net::TcpStream::from_std(stream);
            let token = Token(self.streams.len());
            let registry = self.poll.registry();
            let registered = registry.register(&mut stream, token, Interest::READABLE);
            registered.expect("the poller takes it");
            self.streams.push(stream);
        }
    }

    fn read(&mut self, bytes: usize) {
        let mut scratch = [0; 16 * 1024];
        while self.come < bytes {
            let polled = self.poll.poll(&mut self.events, None);
            polled.expect("the poller works");
            for event in &self.events {
                let stream = &mut self.streams[event.token().0];
                loop {
                    match stream.read(&mut scratch) {
                        Ok(0) => panic!("a stream ended"),
                        Ok(count) => self.come += count,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => panic!("a stream failed: {error}"),
                    }
                }
            }
        }
        assert_eq!(self.come, bytes, "not a byte more");
        self.come = 0;
    }
}

/// Each closes with a reset in the end, which leaves no port waiting.
fn request(to: SocketAddr, id: usize) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a descriptor is left");
    let set = socket.set_linger(Some(Duration::ZERO));
    set.expect("sockets can be told to linger");
    socket.connect(&to.into()).expect("it listens");
    let mut stream = TcpStream::from(socket);
    let head = format!("GET /stream/{id} HTTP/1.1\r\nHost: bench\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("it reads");
    stream
}
