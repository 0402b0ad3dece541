//! Clients that read too slowly, on a real edge: each policy, over real sockets.
//!
//! The laws of gaps are tested in the hub, against every framing; here is what only sockets, owners and
//! metrics can show.

#[path = "support/world.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod world;

use lariat::edge::{Route, WhenFull};
use lariat::metrics::Dropped;
use lariat::wire::{Event, Id, Message};
use world::World;

const PAYLOAD_BYTES: usize = 60 * 1024;

fn start(when_full: WhenFull) -> World {
    World::start(|config| {
        config.outbox_bytes_max = 256 * 1024;
        config.when_full = when_full;
    })
}

fn dropped(world: &World) -> u64 {
    let reasons = [
        Dropped::DropOldest,
        Dropped::DropNewest,
        Dropped::KeepLatest,
    ];
    let counts = reasons.map(|reason| world.metrics.dropped.of(reason).value());
    counts.iter().sum()
}

fn numbered(number: usize) -> Message {
    Message::new(format!("{number:05}{}", "x".repeat(PAYLOAD_BYTES)))
}

/// Sends until `lost` messages have found no place; how many it took. The kernel's own buffers take
/// some first, as many as they like.
fn fill(world: &World, lost: u64) -> usize {
    let mut sent = 0;
    while dropped(world) < lost {
        world.send(1, numbered(sent));
        // In a later turn, so that what was dropped is counted.
        world.send(2, Message::new("tick"));
        sent += 1;
        assert!(sent < 10_000, "nothing is ever dropped");
    }
    sent
}

/// The numbers of the messages, and of what is missing in between, as an SSE client hears them.
fn events(text: &str) -> (Vec<usize>, usize) {
    let (mut numbers, mut missing) = (Vec::new(), 0);
    let mut is_gap = false;
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("event", name)) => is_gap = name == "gap",
            Some(("data", data)) if std::mem::take(&mut is_gap) => {
                missing += data.parse::<usize>().expect("a gap has a number");
            }
            Some(("data", data)) => numbers.push(data[..5].parse().expect("they are numbered")),
            _ => {}
        }
    }
    (numbers, missing)
}

#[test]
fn a_slow_reader_is_told_what_it_missed_and_stays() {
    for when_full in [
        WhenFull::DropOldest,
        WhenFull::DropNewest,
        WhenFull::KeepLatest,
    ] {
        let world = start(when_full);
        let mut slow = world.stream(1, "Accept: text/event-stream\r\n");
        let mut fast = world.stream(2, "");
        let sent = fill(&world, 5);
        let congested = |event: &Event| matches!(event, Event::Congested { id: Id::Int(1), .. });
        world
            .owner
            .wait("the news of it", |told| told.events.iter().any(congested));
        let ticks = "4\r\ntick\r\n".repeat(sent);
        assert_eq!(fast.read_until(ticks.as_bytes()), ticks, "{when_full:?}");

        // It wakes up, and hears what is left, where something is missing, and what comes then.
        world.send(1, Message::new("99999"));
        let text = slow.read_until(b"data: 99999\n\n");
        let (numbers, missing) = events(&text);
        assert_eq!(numbers.len() + missing, sent + 1, "{when_full:?}");
        assert!(numbers.is_sorted(), "{when_full:?}: {numbers:?}");
        let drained = |event: &Event| matches!(event, Event::Drained { id: Id::Int(1), .. });
        world
            .owner
            .wait("the end of it", |told| told.events.iter().any(drained));
        assert_eq!(dropped(&world), missing as u64);
        let is_last_kept = numbers.contains(&(sent - 1));
        assert_eq!(
            is_last_kept,
            when_full == WhenFull::DropOldest,
            "{when_full:?}"
        );
        let last = numbered(sent + 1);
        assert_eq!(world.send(1, last), 1, "{when_full:?}: it is as it was");
    }
}

#[test]
fn the_memory_of_all_is_paid_by_the_fullest() {
    let world = World::start(|config| {
        config.shards = 1;
        config.outbox_bytes_max = 1 << 30;
        config.outbox_messages_max = 1 << 20;
        config.outbox_total_bytes_max = 4 << 20;
    });
    let _hog = world.stream(1, "");
    let mut modest = world.stream(2, "");
    let sends = (0..10_000)
        .take_while(|number| {
            world.send(2, Message::new("tick"));
            world.send(1, numbered(*number)) == 1
        })
        .count();
    assert!(sends < 10_000, "there is a limit");
    world.owner.wait("the end of the hog", |told| {
        let closed = |event: &Event| {
            let reason = lariat::wire::Reason::OutboxTotal;
            matches!(event, Event::Closed { id: Id::Int(1), reason: why, .. } if *why == reason)
        };
        told.events.iter().any(closed)
    });
    let ticks = "4\r\ntick\r\n".repeat(sends + 1);
    assert_eq!(modest.read_until(ticks.as_bytes()), ticks);
    assert_eq!(world.metrics.outbox_bytes.value(), 0);
}

/// A route's own policy goes before the one of all; the path decides.
#[test]
fn each_route_has_its_policy() {
    let world = World::start(|config| {
        config.outbox_bytes_max = 256 * 1024;
        let path = "/states/{id}/now".parse().expect("it is a path");
        let mut states = Route::new(path);
        states.when_full = Some(WhenFull::KeepLatest);
        config.routes = vec![states.into(), Route::default().into()];
    });
    let _state = world.client("GET /states/1/now HTTP/1.1\r\nHost: test\r\n\r\n");
    let _stream = world.stream(2, "");
    world.owner.wait("both", |told| {
        let opened = |event: &&Event| matches!(event, Event::Opened { .. });
        told.events.iter().filter(opened).count() == 2
    });
    let mut number = 0;
    while world.send(2, numbered(number)) == 1 {
        assert_eq!(world.send(1, numbered(number)), 1);
        number += 1;
        assert!(number < 10_000, "an outbox has a limit");
    }
    let closed = |event: &&Event| matches!(event, Event::Closed { .. });
    world.owner.wait("the end of one", |told| {
        told.events.iter().filter(closed).count() == 1
    });
    assert_eq!(world.send(1, Message::new("still there")), 1);
    assert_eq!(world.send(2, Message::new("gone")), 0);
}
