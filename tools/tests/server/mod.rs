//! A small honest HTTP/1.1 streaming server for the tests: real sockets, one accepting thread.
//!
//! It is no model of Lariat: it does exactly what a test tells it, also what no server should do.
//! Frames of WebSockets are the tests' own affair, too; it only answers their key.
//! Request heads are read one connection after the other, so it holds many streams with one
//! thread.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// Only a failing test waits this long.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the server says to a request, from its path and whether it asks for an event stream. A
/// 200 or a 101 is held as a stream, nothing is held too, any other answer is followed by the end.
/// `{accept}` becomes what belongs to the key of a WebSocket.
pub(crate) type Answer = fn(path: &str, wants_events: bool) -> String;

/// A stream the server holds.
pub(crate) struct Stream {
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) socket: TcpStream,
}

pub(crate) struct Server {
    address: SocketAddr,
    streams: Arc<Streams>,
}

#[derive(Default)]
struct Streams {
    held: Mutex<Vec<Stream>>,
    one_more: Condvar,
}

impl Server {
    /// Listens, and gives every request the same `answer`.
    pub(crate) fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let streams = Arc::new(Streams::default());
        let accepted = Arc::clone(&streams);
        // Ends with the test process: nothing outlives that.
        thread::spawn(move || {
            for socket in listener.incoming() {
                accept(socket.unwrap(), answer, &accepted);
            }
        });
        Self { address, streams }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/stream/{{id}}", self.address)
    }

    /// The streams accepted so far: all, when the client says it is connected.
    pub(crate) fn streams(&self) -> Vec<Stream> {
        std::mem::take(&mut *self.streams.held.lock().unwrap())
    }

    /// The streams accepted so far, once there are so many.
    pub(crate) fn streams_of(&self, count: usize) -> Vec<Stream> {
        let until = Instant::now() + DEADLINE;
        let mut held = self.streams.held.lock().unwrap();
        while held.len() < count {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} streams of {count}", held.len());
            (held, _) = self.streams.one_more.wait_timeout(held, left).unwrap();
        }
        std::mem::take(&mut *held)
    }
}

/// The usual answer: a stream of the kind that is asked for.
pub(crate) fn stream(_path: &str, wants_events: bool) -> String {
    let kind = if wants_events {
        "Content-Type: text/event-stream\r\n"
    } else {
        ""
    };
    format!("HTTP/1.1 200 OK\r\n{kind}Transfer-Encoding: chunked\r\n\r\n")
}

/// The usual answer to a WebSocket, with an extension that must have been offered.
pub(crate) fn websocket(_path: &str, _wants_events: bool) -> String {
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        .to_owned()
}

/// `data` as one chunk.
pub(crate) fn chunk(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

/// A payload that says when it was sent and for whom.
pub(crate) fn stamp(id: u64) -> String {
    stamp_before(Duration::ZERO, id)
}

/// Of a message that was sent so long ago.
pub(crate) fn stamp_before(ago: Duration, id: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("m:{:020}#{id};", (now - ago).as_nanos())
}

impl Stream {
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Sends each byte in a segment of its own, as far as the kernels allow.
    pub(crate) fn trickle(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.send(&[*byte]);
        }
    }

    pub(crate) fn close(&mut self) {
        self.socket.shutdown(Shutdown::Both).unwrap();
    }
}

fn accept(mut socket: TcpStream, answer: Answer, streams: &Streams) {
    socket.set_nodelay(true).unwrap();
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
    let request = lines.next().unwrap().unwrap();
    let fields: HashMap<String, String> = lines
        .map(|line| line.unwrap())
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line.split_once(": ").expect("a field");
            (name.to_ascii_lowercase(), value.to_owned())
        })
        .collect();
    assert!(fields.contains_key("host"), "HTTP/1.1 demands a Host");
    let wants_events = fields
        .get("accept")
        .is_some_and(|accept| accept == "text/event-stream");
    let path = request
        .strip_prefix("GET ")
        .and_then(|rest| rest.strip_suffix(" HTTP/1.1"))
        .expect("a GET request");
    let mut head = answer(path, wants_events);
    if let Some(key) = fields.get("sec-websocket-key") {
        assert_eq!(fields["sec-websocket-version"], "13");
        assert_eq!(STANDARD.decode(key).unwrap().len(), 16);
        let accept = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
        head = head.replace("{accept}", &STANDARD.encode(accept));
    }
    let id = path.rsplit('/').next().unwrap().parse().unwrap();
    // Held before it is answered, and found only when it is: who sees the answer finds the stream,
    // and what a test sends over it comes after the answer.
    let mut held = streams.held.lock().unwrap();
    let stream = Stream {
        id,
        peer: socket.peer_addr().unwrap(),
        socket: socket.try_clone().unwrap(),
    };
    if ["HTTP/1.1 200", "HTTP/1.1 101"]
        .iter()
        .any(|held| head.starts_with(held))
        || head.is_empty()
    {
        held.push(stream);
        streams.one_more.notify_all();
    }
    if !head.is_empty() {
        socket.write_all(head.as_bytes()).unwrap();
    }
}
