//! The credit between an owner and the edge: what is taken comes back, exactly, whatever becomes of
//! the messages.
//!
//! A real edge and bridge; the owner is a test's. That Erlang honours its credit is proved where
//! Erlang is.

#[path = "support/world.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod world;

use std::sync::mpsc::{SyncSender, sync_channel};

use lariat::bridge;
use lariat::metrics::Dropped;
use lariat::wire::{Command, Event, Id, Ids, Message, Owner, Reply};
use world::{OWNER, World};

/// Bytes of each shard's queue here, and an eighth of it: the window.
const QUEUE: usize = 64 * 1024;
const WINDOW: u64 = 8 * 1024;

fn small() -> World {
    World::start(|config| config.queue_bytes_max = QUEUE)
}

/// Sends, on credit or not; answers the cost.
fn send(world: &World, ids: Ids, bytes: usize, credit: Option<Owner>) -> u64 {
    let cost = ids.cost(bytes);
    let message = Message::new(vec![b'x'; bytes]);
    let command = Command::Send {
        ids,
        message,
        credit,
    };
    world.bridge.handle(command, None);
    cost
}

fn one(id: i64) -> Ids {
    Ids::One(Id::Int(id))
}

/// What the owner has been told of its credit.
fn acked(events: &[Event]) -> u64 {
    let acks = events.iter().map(|event| match event {
        Event::Ack { bytes } => *bytes,
        _ => 0,
    });
    acks.sum()
}

fn await_acked(world: &World, bytes: u64) {
    world
        .owner
        .wait("the credit", |told| acked(&told.events) == bytes);
}

/// The shard of this id carries out nothing until what is answered is dropped.
fn stall(world: &World, id: i64) -> SyncSender<()> {
    let (release, released) = sync_channel(0);
    let (tell, told) = sync_channel::<()>(0);
    let wait = move |_| {
        drop(tell);
        let _ = released.recv();
    };
    let command = Command::Connections { id: Id::Int(id) };
    world.bridge.handle(command, Some(Box::new(wait)));
    assert!(told.recv().is_err(), "the shard has come to it");
    release
}

#[test]
fn every_message_gives_back_its_cost() {
    let world = World::start(|_| {});
    let mut client = world.stream(7, "");
    let many = Ids::Ints((0..100).collect());
    let text = Ids::Many(vec![Id::Bin(vec![b'a'; 200].into()); 3]);
    let nobody = Ids::Ints(Vec::new());
    let sent = [
        (one(7), 5),
        (many, 1000),
        (text, 0),
        (nobody, 10),
        (one(7), 5),
    ];
    let total: u64 = sent
        .into_iter()
        .map(|(ids, bytes)| send(&world, ids, bytes, Some(OWNER)))
        .sum();
    await_acked(&world, total);
    send(&world, one(7), 3, None);
    client.read_until(b"3\r\nxxx\r\n");
    let total = total + send(&world, one(7), 1, Some(OWNER));
    await_acked(&world, total);
}

#[test]
fn a_full_queue_drops_what_has_no_credit_and_takes_what_has() {
    let world = small();
    let _client = world.stream(7, "");
    let shard = stall(&world, 7);
    let uncredited = 200;
    for _ in 0..uncredited {
        send(&world, one(7), 1000, None);
    }
    let dropped = || world.metrics.dropped.of(Dropped::ShardQueueFull).value();
    let before = dropped();
    assert!(before > 0, "the queue is full");
    // Who honours the window has a place all the same.
    let (mut taken, mut honoured) = (0, 0);
    while taken + one(7).cost(1000) <= WINDOW {
        taken += send(&world, one(7), 1000, Some(OWNER));
        honoured += 1;
    }
    assert_eq!(dropped(), before);
    assert_eq!(world.metrics.credit_exceeded.value(), 0);
    // Who does not is like the others; its credit comes back all the same.
    let beyond = 10;
    for _ in 0..beyond {
        taken += send(&world, one(7), 1000, Some(OWNER));
    }
    assert_eq!(dropped(), before + beyond);
    assert_eq!(world.metrics.credit_exceeded.value(), beyond);
    drop(shard);
    await_acked(&world, taken);
    let sent = uncredited + honoured + beyond;
    world.owner.wait("the news of the overload", |told| {
        let overloads = told.events.iter().map(|event| match event {
            Event::Overloaded { count, bytes } => (*count, *bytes),
            _ => (0, 0),
        });
        let (count, bytes) = overloads.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        count == dropped() && bytes == dropped() * 1000
    });
    // One client, 256 messages of outbox: none of these is lost to anything else.
    assert_eq!(world.metrics.delivered.value() + dropped(), sent);
}

#[test]
fn one_message_of_any_size_has_a_place_when_nothing_is_outstanding() {
    let world = small();
    let shard = stall(&world, 7);
    while world.metrics.dropped.of(Dropped::ShardQueueFull).value() == 0 {
        send(&world, one(7), 1000, None);
    }
    let cost = send(&world, one(7), QUEUE * 2, Some(OWNER));
    assert_eq!(world.metrics.credit_exceeded.value(), 0);
    send(&world, one(7), 1, Some(OWNER));
    assert_eq!(world.metrics.credit_exceeded.value(), 1, "a second");
    drop(shard);
    await_acked(&world, cost + one(7).cost(1));
}

#[test]
fn ids_that_occupy_far_more_than_they_cost_buy_no_place() {
    let world = small();
    let _shard = stall(&world, 7);
    let long = Ids::Many(vec![Id::Bin(vec![b'a'; 1000].into()); 10]);
    send(&world, long, 1, Some(OWNER));
    assert_eq!(world.metrics.credit_exceeded.value(), 1);
}

#[test]
fn credit_outlives_lag() {
    let config = bridge::Config {
        owner_events_max: 10,
        ..bridge::Config::default()
    };
    let world = World::start_with(config, |_| {});
    world.owner.change(|told| told.is_busy = true);
    let mut total = 0;
    // More news than may wait, and credit that comes back meanwhile.
    for id in 0..20 {
        total += send(&world, one(id), 100, Some(OWNER));
        drop(world.client(format!("GET /stream/{id} HTTP/1.1\r\nHost: test\r\n\r\n")));
    }
    let lost = || world.metrics.events_lost.value();
    let deadline = std::time::Instant::now() + world::DEADLINE;
    while lost() == 0 {
        assert!(std::time::Instant::now() < deadline, "the owner never lags");
        std::thread::yield_now();
    }
    total += send(&world, one(7), 100, Some(OWNER));
    world.owner.change(|told| told.is_busy = false);
    await_acked(&world, total);
    world
        .owner
        .wait("a new epoch", |told| told.epochs.len() > 1);
    total += send(&world, one(7), 100, Some(OWNER));
    await_acked(&world, total);
}

#[test]
fn attaching_makes_credit_whole_and_forgets_what_was_outstanding() {
    let world = small();
    let shard = stall(&world, 7);
    for _ in 0..100 {
        send(&world, one(7), 1000, Some(OWNER));
    }
    let attached = world.ask(Command::Attach {
        owner: OWNER,
        handlers: Vec::new(),
    });
    assert!(
        matches!(attached, Reply::Attached { credit: WINDOW, .. }),
        "{attached:?}"
    );
    let exceeded = world.metrics.credit_exceeded.value();
    let cost = send(&world, one(7), 1000, Some(OWNER));
    assert_eq!(world.metrics.credit_exceeded.value(), exceeded);
    drop(shard);
    world
        .owner
        .wait("a new epoch", |told| told.epochs.len() > 1);
    let anew = |told: &world::State| {
        let begin = told
            .events
            .iter()
            .rposition(|event| *event == Event::SnapshotBegin);
        acked(&told.events[begin.unwrap_or(0)..])
    };
    world.owner.wait("the ack", |told| anew(told) > 0);
    let cost = cost + send(&world, one(7), 50, Some(OWNER));
    world.owner.wait("another ack", |told| anew(told) >= cost);
    assert_eq!(world.owner.wait("acks", anew), cost, "nothing of before");
}

#[test]
fn credit_of_nobody_is_none() {
    let world = small();
    let mut client = world.stream(7, "");
    send(&world, one(7), 3, Some(Owner(99)));
    client.read_until(b"3\r\nxxx\r\n");
    world.bridge.owner_gone(OWNER);
    send(&world, one(7), 3, Some(OWNER));
    client.read_until(b"3\r\nxxx\r\n");
    assert_eq!(world.metrics.credit_exceeded.value(), 0);
}
