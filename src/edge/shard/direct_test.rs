//! Messages that their sender writes: when that happens, that nothing is lost or overtaken where it does
//! not, and what a failure costs.
//!
//! Deadlines only end a test that failed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::direct::Direct;
use super::relief::BEHIND;
use crate::edge::{Address, Config, Edge, Now, ShardAnswer, start};
use crate::metrics::{Closed, Dropped, Metrics, Transport};
use crate::wire::{Id, Message, Reason, Signal};

const DEADLINE: Duration = Duration::from_secs(60);

struct Site {
    edge: Edge,
    metrics: Arc<Metrics>,
    _runtime: tokio::runtime::Runtime,
}

impl Site {
    /// One shard.
    fn start() -> Site {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
        let config = Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0)).into()],
            shards: 1,
            ..Config::default()
        };
        let metrics = Arc::new(Metrics::default());
        let edge = runtime.block_on(async { start(config, Arc::clone(&metrics)) });
        Site {
            edge: edge.expect("the edge starts"),
            metrics,
            _runtime: runtime,
        }
    }

    fn stream(&self, id: i64) -> TcpStream {
        let Address::Tcp(address) = self.edge.addresses()[0] else {
            panic!("it listens on TCP")
        };
        let mut client = TcpStream::connect(address).expect("the edge accepts");
        let deadline = client.set_read_timeout(Some(DEADLINE));
        deadline.expect("a deadline can be set");
        write!(client, "GET /stream/{id} HTTP/1.1\r\nHost: test\r\n\r\n").expect("the edge reads");
        read_until(&mut client, b"\r\n\r\n");
        client
    }

    fn send(&self, id: i64, message: &Message) -> Now {
        let sent = self.edge.send_now(Id::Int(id), message.into());
        sent.expect("there is room")
    }

    /// As soon as the shard is not just having a turn.
    fn send_directly(&self, id: i64, message: &Message) {
        until(|| self.direct().try_send(&Id::Int(id), message.into()));
    }

    fn direct(&self) -> &Direct {
        &self.edge.0.directs[0]
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.edge.stop();
    }
}

fn until(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "not in time");
        std::thread::yield_now();
    }
}

fn read_until(client: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(end) {
        client.read_exact(&mut byte).expect("the stream goes on");
        read.extend(byte);
    }
    read
}

/// A message of six digits for each of these.
fn expect_numbers(client: &mut TcpStream, numbers: Range<usize>) {
    let mut frame = [0; 11];
    for number in numbers {
        client.read_exact(&mut frame).expect("the stream goes on");
        assert_eq!(frame, format!("6\r\n{number:06}\r\n").as_bytes());
    }
}

#[test]
fn who_finds_the_shard_free_writes_itself() {
    let site = Site::start();
    let mut client = site.stream(1);
    site.send_directly(1, &Message::new("directly"));
    assert_eq!(site.metrics.delivered.value(), 1, "counted when it returns");
    read_until(&mut client, b"directly\r\n");
    // To nobody as well: that is known at once.
    site.send_directly(2, &Message::new("nobody"));
    assert_eq!(site.metrics.dropped.of(Dropped::NoConnection).value(), 1);
}

#[test]
fn what_is_large_or_for_many_is_queued() {
    let site = Site::start();
    let mut clients: Vec<_> = (0..17).map(|_| site.stream(1)).collect();
    assert_eq!(site.send(1, &Message::new("many")), Now::Queued);
    for client in &mut clients {
        read_until(client, b"many\r\n");
    }
    let mut client = site.stream(2);
    assert_eq!(site.send(2, &Message::new(vec![b'x'; 20_000])), Now::Queued);
    read_until(&mut client, b"xx\r\n");
    assert_eq!(site.metrics.direct_sends.value(), 0);
}

#[test]
fn one_connection_is_told_directly_and_a_close_comes_behind() {
    let site = Site::start();
    let mut client = site.stream(1);
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let answer = Box::new(move |answer| drop(tell.send(answer)));
    site.edge
        .connections(Id::Int(1), answer)
        .expect("there is room");
    let Ok(ShardAnswer::Connections(conns)) = told.recv_timeout(DEADLINE) else {
        panic!("connections are answered")
    };
    let deliver = |text: &'static str| {
        let message = Message::new(text);
        until(|| site.direct().try_deliver(conns[0], (&message).into()));
    };
    deliver("told");
    read_until(&mut client, b"told\r\n");
    let close = Signal::Close(Reason::Drain);
    assert_eq!(site.edge.signal_now(conns[0], close), Ok(Now::Queued));
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).expect("closed in order");
    assert!(rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
    until(|| site.metrics.connections.of(Transport::Chunked).value() == 0);
    deliver("gone");
    assert_eq!(site.metrics.dropped.of(Dropped::Gone).value(), 1);
}

/// Two senders at once, so that they meet each other and the shard's thread: some messages are written by
/// who sends them, others queue.
#[test]
fn what_one_sender_sends_stays_in_order() {
    const EACH: usize = 10_000;
    let site = Site::start();
    let clients = [site.stream(1), site.stream(2)];
    std::thread::scope(|scope| {
        for (id, mut client) in (1..).zip(clients) {
            let site = &site;
            scope.spawn(move || {
                for number in 0..EACH {
                    let message = Message::new(format!("{number:06}"));
                    until(|| site.edge.send_now(Id::Int(id), (&message).into()).is_ok());
                }
            });
            scope.spawn(move || {
                expect_numbers(&mut client, 0..EACH);
            });
        }
    });
    until(|| site.metrics.delivered.value() == 2 * EACH as u64);
}

/// What follows from a write is the thread's: the outbox that a short write begins is emptied, and whoever
/// has left is gone.
#[test]
fn the_thread_does_what_a_write_leaves() {
    let site = Site::start();
    let mut client = site.stream(1);
    let message = Message::new(vec![b'y'; 16_000]);
    let mut sent: usize = 0;
    while site.metrics.congested.value() == 0 {
        site.send_directly(1, &message);
        sent += 1;
    }
    for _ in 0..sent {
        read_until(&mut client, b"y\r\n");
    }
    until(|| site.metrics.congested.value() == 0);
    assert_eq!(site.metrics.delivered.value(), sent as u64);
    drop(client);
    until(|| {
        site.send_directly(1, &message);
        site.metrics.closed.of(Closed::Client).value() == 1
    });
    assert_eq!(site.metrics.connections.of(Transport::Chunked).value(), 0);
}

#[test]
fn a_panic_under_a_sender_costs_its_shard_and_comes_no_further() {
    let site = Site::start();
    let mut client = site.stream(1);
    until(|| site.direct().try_panic());
    assert_eq!(client.read(&mut [0; 64]).expect("closed in order"), 0);
    let mut again = site.stream(1);
    site.send_directly(1, &Message::new("still here"));
    read_until(&mut again, b"still here\r\n");
    assert_eq!(site.metrics.closed.of(Closed::Panic).value(), 1);
}

#[test]
fn a_stopped_shard_takes_nothing_and_holds_nothing() {
    let site = Site::start();
    let mut client = site.stream(1);
    site.edge.stop();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).expect("closed in order");
    let message = Message::new("late");
    assert!(site.edge.send_now(Id::Int(1), (&message).into()).is_err());
    assert!(site.direct().is_empty());
}

/// A thread that wants its turn is overtaken for a while only.
#[test]
fn the_thread_is_not_kept_from_its_turn() {
    let site = Site::start();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let message = Message::new("again");
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = site.edge.send_now(Id::Int(1), (&message).into());
                }
            });
        }
        // Each needs a turn to be held.
        let clients: Vec<_> = (2..20).map(|id| site.stream(id)).collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        drop(clients);
    });
}

/// The thread takes messages over while many come, and no longer.
#[test]
fn who_is_relieved_queues_in_order_and_writes_again_when_it_is_calm() {
    let site = Site::start();
    let mut client = site.stream(1);
    site.send_directly(1, &Message::new("before"));
    assert!(site.direct().relieve() && !site.direct().relieve());
    let send = |number| site.send(1, &Message::new(format!("{number:06}")));
    assert_eq!(send(0), Now::Queued);
    for number in 1..500 {
        send(number);
    }
    read_until(&mut client, b"before\r\n");
    expect_numbers(&mut client, 0..500);
    site.send_directly(1, &Message::new("calm"));
    read_until(&mut client, b"calm\r\n");
}

/// Whoever does nothing but send, to a shard that is behind, is held up, and so cannot fill the queue.
#[test]
fn a_flood_is_delayed_where_the_shard_is_behind() {
    let site = Site::start();
    let mut client = site.stream(1);
    site.send_directly(1, &Message::new("before"));
    let kept = site.direct().keep_from_work();
    let mut sent = 0;
    until(|| {
        sent += 1;
        site.send(1, &Message::new(format!("{sent:06}"))) == Now::Delayed
    });
    assert!(sent > BEHIND, "{sent} messages are not many");
    assert_eq!(site.metrics.delayed_sends.value(), 1);
    drop(kept);
    read_until(&mut client, b"before\r\n");
    expect_numbers(&mut client, 1..sent + 1);
}
