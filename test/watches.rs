//! Watching connections on a real edge: whoever watches hears exactly once that it is gone.
//!
//! No Erlang here; what monitors and links make of it is tested with a real node elsewhere.

#[path = "support/world.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod world;

use lariat::wire::{Command, Conn, Gone, Id, Ids, Message, Reason, Reply, Signal, Watcher};
use world::{Client, World};

const ONE: Watcher = Watcher(1);
const OTHER: Watcher = Watcher(2);

impl World {
    fn conn(&self, id: i64) -> Conn {
        match self.ask(Command::Connections { id: Id::Int(id) }) {
            Reply::Connections(conns) => conns[0],
            other => panic!("connections are answered with {other:?}"),
        }
    }

    fn watch(&self, conn: Conn, watcher: Watcher) {
        self.bridge.handle(Command::Watch { conn, watcher }, None);
    }

    fn signal(&self, conn: Conn, signal: Signal) {
        self.bridge.handle(Command::Signal { conn, signal }, None);
    }

    /// All that has been told, once there are `count` of them. Sorted.
    fn gone(&self, count: usize) -> Vec<(Watcher, Conn, Gone)> {
        let mut gone = self.owner.wait("watchers to be told", |told| {
            let is_enough = told.gone.len() >= count;
            is_enough.then(|| told.gone.clone())
        });
        let gone = gone.as_mut().expect("it was waited for");
        gone.sort_by_key(|(watcher, conn, _)| (*conn, *watcher));
        std::mem::take(gone)
    }
}

fn asked(atom: &'static [u8]) -> Reason {
    Reason::Asked(bytes::Bytes::from_static(atom))
}

#[test]
fn each_watcher_is_told_once_and_why() {
    let world = World::start(|_| {});
    let (first, mut second) = (world.stream(1, ""), world.stream(2, ""));
    let (one, two) = (world.conn(1), world.conn(2));
    world.watch(one, ONE);
    world.watch(one, ONE);
    world.watch(one, OTHER);
    world.watch(two, ONE);
    world.watch(two, OTHER);
    world
        .bridge
        .handle(Command::Forget { watcher: OTHER }, None);
    world.watch(one, OTHER);
    // Answered behind what was asked before.
    assert_eq!((world.conn(1), world.conn(2)), (one, two));
    drop(first);
    world.gone(2);
    world.signal(two, Signal::Close(asked(b"w\x03bye")));
    let told = world.gone(3);
    let client = Gone::Closed(Reason::Client);
    let bye = Gone::Closed(asked(b"w\x03bye"));
    let mut expected = vec![
        (ONE, one, client.clone()),
        (OTHER, one, client),
        (ONE, two, bye),
    ];
    expected.sort_by_key(|(watcher, conn, _)| (*conn, *watcher));
    assert_eq!(told, expected);
    assert_eq!(second.read_to_end(), "0\r\n\r\n", "a goodbye in order");
}

#[test]
fn what_is_gone_is_told_at_once() {
    let world = World::start(|_| {});
    drop(world.stream(1, ""));
    let conn = Conn {
        shard: 0,
        slot: 0,
        generation: 1,
    };
    let never = [
        Conn { shard: 99, ..conn },
        Conn {
            slot: u32::MAX,
            ..conn
        },
        Conn {
            generation: 77,
            ..conn
        },
    ];
    for conn in never {
        world.watch(conn, ONE);
    }
    let told = world.gone(never.len());
    assert!(told.iter().all(|(_, _, gone)| *gone == Gone::Before));
}

#[test]
fn a_stale_name_never_means_a_newer_connection() {
    let world = World::start(|config| config.shards = 1);
    let old = world.stream(1, "");
    let stale = world.conn(1);
    world.watch(stale, ONE);
    drop(old);
    world.gone(1);
    world.owner.change(|told| told.gone.clear());
    let mut new = world.stream(1, "");
    let fresh = world.conn(1);
    assert_eq!(fresh.slot, stale.slot, "the slot is used again");
    world.signal(stale, Signal::Deliver(Message::new("stale")));
    world.signal(stale, Signal::Close(asked(b"w\x03bye")));
    world.signal(stale, Signal::Abort(asked(b"w\x03bye")));
    world.watch(stale, OTHER);
    assert_eq!(world.gone(1), [(OTHER, stale, Gone::Before)]);
    assert_eq!(world.send(1, Message::new("fresh")), 1);
    assert_eq!(new.read_until(b"fresh\r\n"), "5\r\nfresh\r\n");
    let gone = world.metrics.dropped.of(lariat::metrics::Dropped::Gone);
    assert_eq!(gone.value(), 1);
}

#[test]
fn taken_back_is_not_told() {
    let world = World::start(|_| {});
    let stream = world.stream(1, "");
    let conn = world.conn(1);
    world.watch(conn, ONE);
    world.watch(conn, OTHER);
    let watcher = ONE;
    world
        .bridge
        .handle(Command::Unwatch { conn, watcher }, None);
    assert_eq!(world.conn(1), conn);
    drop(stream);
    assert_eq!(world.gone(1), [(OTHER, conn, Gone::Closed(Reason::Client))]);
}

/// Clients leave while their connections are watched: each watch is told, one way or the other.
#[test]
fn no_watch_falls_between_held_and_gone() {
    const COUNT: i64 = 300;
    let world = World::start(|_| {});
    let streams: Vec<Client> = (0..COUNT).map(|id| world.stream(id, "")).collect();
    let conns: Vec<Conn> = (0..COUNT).map(|id| world.conn(id)).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| drop(streams));
        for &conn in &conns {
            world.watch(conn, ONE);
        }
    });
    let told = world.gone(conns.len());
    let mut of: Vec<Conn> = told.iter().map(|(_, conn, _)| *conn).collect();
    of.dedup();
    assert_eq!((told.len(), of.len()), (conns.len(), conns.len()));
    assert!(
        told.iter()
            .all(|(_, _, gone)| matches!(gone, Gone::Before | Gone::Closed(Reason::Client)))
    );
}

/// A kill does not wait for what the client has not read; a close does.
#[test]
fn abort_does_not_wait_for_the_outbox() {
    let world = World::start(|config| config.outbox_bytes_max = 64 * 1024 * 1024);
    let streams = [world.stream(1, ""), world.stream(2, "")];
    let (killed, closed) = (world.conn(1), world.conn(2));
    world.watch(killed, ONE);
    world.watch(closed, ONE);
    let large = Message::new(vec![b'x'; 16 * 1024 * 1024]);
    world.ask(Command::Send {
        ids: Ids::Ints(vec![1, 2]),
        message: large,
        credit: None,
    });
    world.signal(closed, Signal::Close(asked(b"w\x03bye")));
    world.signal(killed, Signal::Abort(asked(b"w\x06killed")));
    assert_eq!(
        world.gone(1),
        [(ONE, killed, Gone::Closed(asked(b"w\x06killed")))]
    );
    // That the killed one is gone has been counted before it was told. That the other one waits is
    // counted at the end of its shard's turn: the first answer comes behind the message, at the earliest
    // in that turn; the second is of a later one.
    for _ in 0..2 {
        world.ask(Command::Connections { id: Id::Int(2) });
    }
    assert_eq!(
        world.metrics.congested.value(),
        1,
        "the other one still waits for its client"
    );
    drop(streams);
    world.gone(2);
}

/// The end of the edge ends every watch: of what is held, and of what is asked for too late.
#[test]
fn stopping_tells_every_watcher() {
    let world = World::start(|_| {});
    let _stream = world.stream(1, "");
    let conn = world.conn(1);
    world.watch(conn, ONE);
    world.bridge.stop();
    world.watch(conn, OTHER);
    assert_eq!(
        world.gone(2),
        [
            (ONE, conn, Gone::Closed(Reason::Shutdown)),
            (OTHER, conn, Gone::Before)
        ]
    );
}

/// Signals are bounded like messages, and what a full queue does not take is answered or counted.
#[test]
fn a_full_queue_says_so() {
    let world = World::start(|config| {
        config.queue_bytes_max = 1;
        config.shards = 1;
    });
    let _stream = world.stream(1, "");
    let conn = world.conn(1);
    world.watch(conn, ONE);
    assert_eq!(world.gone(1), [(ONE, conn, Gone::Overloaded)]);
}
