//! The messages that are measured, as bytes on the wire, and an edge to receive them without a peer.
//!
//! Written by hand from the External Term Format, so that it shares no code with what it measures.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;

use lariat::bridge::{self, Bridge, Busy, Uplink};
use lariat::dist::{self, Cookie, ReplyTo};
use lariat::edge;
use lariat::metrics::{Dropped, Metrics};
use lariat::wire::{Command, Conn, Event, Gone, Owner, Watcher};

/// What a message is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// How the table calls it.
    pub(crate) name: &'static str,
    /// Ids in the message; `None` for one that is no list.
    pub(crate) ids: Option<usize>,
    pub(crate) payload_bytes: usize,
}

impl Shape {
    pub(crate) const ONE: Shape = Shape {
        name: "{Int, 100 B}",
        ids: None,
        payload_bytes: 100,
    };
    pub(crate) const THOUSAND: Shape = Shape {
        name: "{[1000 ints], 100 B}",
        ids: Some(1000),
        payload_bytes: 100,
    };
    pub(crate) const TEN_THOUSAND: Shape = Shape {
        name: "{[10000 ints], 100 B}",
        ids: Some(10_000),
        payload_bytes: 100,
    };
    pub(crate) const LARGE: Shape = Shape {
        name: "{Int, 64 KB}",
        ids: None,
        payload_bytes: 64 * 1024,
    };

    /// One message, as a link carries it: length, control message, payload. Ids count from `first`.
    pub(crate) fn frame(self, first: u32) -> Vec<u8> {
        let int = |value: u32| [&[98][..], &value.to_be_bytes()].concat();
        let mut body = vec![112, 131, 104, 4, 97, 6, 88, 119, 13];
        body.extend(b"app@127.0.0.1");
        body.extend([0, 0, 0, 97, 0, 0, 0, 0, 0, 0, 0, 1, 119, 0, 119, 1, b'x']);
        body.extend([131, 104, 2]);
        match self.ids {
            None => body.extend(int(first)),
            Some(ids) => {
                let ids = u32::try_from(ids).expect("few enough");
                body.push(108);
                body.extend(ids.to_be_bytes());
                (first..first + ids).for_each(|id| body.extend(int(id)));
                body.push(106);
            }
        }
        body.push(109);
        body.extend(length(self.payload_bytes));
        body.resize(body.len() + self.payload_bytes, b'x');
        [&length(body.len())[..], &body].concat()
    }
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("a frame").to_be_bytes()
}

/// A stream from memory: one after the other of these bytes, again and again, to a given number of
/// bytes, at most `read_bytes` at a time.
pub(crate) struct Stream<'a> {
    bytes: &'a [u8],
    at: usize,
    left: usize,
    read_bytes: usize,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(bytes: &'a [u8], times: usize, read_bytes: usize) -> Stream<'a> {
        let left = bytes.len() * times;
        Stream {
            bytes,
            at: 0,
            left,
            read_bytes,
        }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wanted = into.len().min(self.read_bytes).min(self.left);
        let mut done = 0;
        while done < wanted {
            let piece = (wanted - done).min(self.bytes.len() - self.at);
            into[done..done + piece].copy_from_slice(&self.bytes[self.at..self.at + piece]);
            self.at = (self.at + piece) % self.bytes.len();
            done += piece;
        }
        self.left -= done;
        Ok(done)
    }
}

/// An edge with its bridge, as the node joins them, without links and without connections.
pub(crate) struct Edge {
    pub(crate) bridge: Bridge,
    pub(crate) metrics: Arc<Metrics>,
    _runtime: tokio::runtime::Runtime,
}

impl Edge {
    pub(crate) fn start(shards: usize) -> Edge {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let config = edge::Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0)).into()],
            shards,
            // What is measured is the way to the queue: it must not be full.
            queue_bytes_max: 2 * 1024 * 1024 * 1024,
            ..edge::Config::default()
        };
        let metrics = Arc::new(Metrics::default());
        let edge = runtime.block_on(async { edge::start(config, Arc::clone(&metrics)) });
        let edge = edge.expect("the edge starts");
        let bridge = bridge::start(
            bridge::Config::default(),
            edge,
            Arc::new(Nobody),
            Arc::clone(&metrics),
        );
        Edge {
            bridge: bridge.expect("the bridge starts"),
            metrics,
            _runtime: runtime,
        }
    }

    /// Takes a stream in, on this thread, up to the shards' queues.
    pub(crate) fn replay(&self, stream: Stream<'_>) {
        let name = "edge@127.0.0.1".parse().expect("it is a node name");
        let cookie = Cookie::new("cookie").expect("it is a cookie");
        let config = dist::Config::new(name, cookie);
        let inbound = Arc::new(Inbound(self.bridge.clone()));
        dist::replay(&config, stream, inbound, Arc::clone(&self.metrics))
            .expect("loopback has a socket");
    }

    /// Waits until the shards have carried out `ids` deliveries; nobody is connected, so each is
    /// counted as dropped for want of a connection.
    pub(crate) fn wait_for(&self, ids: u64) {
        let dropped = |reason| self.metrics.dropped.of(reason).value();
        assert_eq!(dropped(Dropped::ShardQueueFull), 0, "a queue was full");
        while dropped(Dropped::NoConnection) < ids {
            std::thread::yield_now();
        }
    }
}

struct Inbound(Bridge);

impl dist::Inbound for Inbound {
    fn command(&self, command: Command, _: Option<ReplyTo>) {
        self.0.handle(command, None);
    }

    fn sends(&self, sends: &mut Vec<Command>, held_bytes: usize) -> bool {
        self.0.handle_all(sends, held_bytes)
    }

    fn owner_gone(&self, owner: Owner) {
        self.0.owner_gone(owner);
    }
}

struct Nobody;

impl Uplink for Nobody {
    fn tell(&self, _: Owner, _: u64, _: &[Event]) -> Result<(), Busy> {
        Ok(())
    }

    fn gone(&self, _: Watcher, _: Conn, _: Gone) {}
}
