//! Long polls as a client sees them: raw bytes in, JSON out, and what owners are told meanwhile.
//!
//! That nobody who follows the cursors loses a message, is the hub's law; here is what only sockets,
//! owners and metrics can show.

#[path = "support/world.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod world;

use std::time::Duration;

use lariat::edge::{Route, WhenFull};
use lariat::metrics::{Closed, Counter, Poll, Transport};
use lariat::wire::{
    Command, Conn, Event, Id, Ids, Kind, Message, Reason, Reply, Signal, Transport as Wire,
};
use serde_json::{Value, json};
use world::{Client, World};

fn start(change: impl FnOnce(&mut lariat::edge::Config)) -> World {
    World::start(|config| {
        let mut route = Route::new("/poll/{id}".parse().expect("it is a path"));
        route.kind = Kind::Poll;
        config.routes = vec![route.into()];
        change(config);
    })
}

fn asks(world: &World, after: &str) -> Client {
    let query = if after.is_empty() {
        String::new()
    } else {
        format!("?after={after}")
    };
    world.client(format!("GET /poll/7{query} HTTP/1.1\r\nHost: test\r\n\r\n"))
}

/// Status, and the body if there is one.
fn answer(mut client: Client) -> (u16, Value) {
    let text = client.read_to_end();
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole answer");
    let status = head[9..12].parse().expect("a status");
    let cursor = head
        .split("Lariat-Cursor: ")
        .nth(1)
        .expect("every answer has a cursor");
    let cursor = cursor.lines().next().expect("it has a line");
    if body.is_empty() {
        return (status, json!({"cursor": cursor}));
    }
    let length = format!("Content-Length: {}\r\n", body.len());
    assert!(format!("{head}\r\n").contains(&length), "{text}");
    let body: Value = serde_json::from_str(body).expect("it is JSON");
    assert_eq!(body["cursor"], cursor);
    (status, body)
}

fn cursor(body: &Value) -> String {
    body["cursor"].as_str().expect("it is text").to_owned()
}

/// A connection, by its first poll.
fn begin(world: &World) -> String {
    let (status, body) = answer(asks(world, ""));
    assert_eq!((status, &body["messages"]), (200, &json!([])));
    cursor(&body)
}

/// Waits until the metrics have counted so many.
fn counted(counter: &Counter, count: u64) {
    let start = std::time::Instant::now();
    while counter.value() < count {
        assert!(start.elapsed() < world::DEADLINE, "{}", counter.value());
        std::thread::park_timeout(Duration::from_millis(5));
    }
    assert_eq!(counter.value(), count);
}

fn conn(world: &World) -> Conn {
    match world.ask(Command::Connections { id: Id::Int(7) }) {
        Reply::Connections(conns) => conns[0],
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_comes_between_two_polls_waits_and_what_comes_later_is_waited_for() {
    let world = start(|_| {});
    let first = begin(&world);
    for text in ["one", "two"] {
        assert_eq!(world.send(7, Message::new(text)), 1);
    }
    let (status, body) = answer(asks(&world, &first));
    assert_eq!(status, 200);
    assert_eq!(body["messages"], json!([{"text": "one"}, {"text": "two"}]));
    // An answer that was lost is said again.
    let (_, again) = answer(asks(&world, &first));
    assert_eq!(again, body);
    // Of two that wait, the later takes the place of the other.
    let clients = [asks(&world, &cursor(&body)), asks(&world, &cursor(&body))];
    let answers = clients.map(|client| std::thread::spawn(|| answer(client)));
    counted(world.metrics.polls.of(Poll::Replaced), 1);
    assert_eq!(world.send(7, Message::new(vec![0xff, 0])), 1);
    let mut answers = answers.map(|answer| answer.join().expect("it has its answer"));
    answers.sort_by_key(|(status, _)| *status);
    let [(told, body), (replaced, _)] = &answers;
    assert_eq!((*told, *replaced), (200, 409));
    assert_eq!(body["messages"], json!([{"base64": "/wA="}]));
    // All that was one connection.
    assert_eq!(world.metrics.connections.of(Transport::Poll).value(), 1);
    world.owner.wait("one connection", |told| {
        let opened = |event: &&Event| {
            matches!(event, Event::Opened { id: Id::Int(7), info, .. }
                if info.transport == Wire::Poll && info.peer.is_some())
        };
        told.events.iter().filter(opened).count() == 1
    });
    assert_eq!(world.owner.wait("it", |told| told.opened()), 1);
}

#[test]
fn a_poll_for_which_nothing_comes_is_told_so_and_its_cursor_is_still_good() {
    let world = start(|config| config.poll_timeout = Duration::from_millis(200));
    let first = begin(&world);
    let (status, body) = answer(asks(&world, &first));
    assert_eq!((status, cursor(&body)), (204, first.clone()));
    assert_eq!(world.send(7, Message::new("late")), 1);
    let (status, body) = answer(asks(&world, &first));
    assert_eq!(
        (status, &body["messages"]),
        (200, &json!([{"text": "late"}]))
    );
}

#[test]
fn who_stays_away_is_gone_and_hears_of_it() {
    let world = start(|config| config.poll_linger = Duration::from_millis(100));
    let first = begin(&world);
    let closed = |told: &world::State| {
        let mut closed = told.events.iter();
        closed.any(|event| {
            matches!(
                event,
                Event::Closed {
                    reason: Reason::Client,
                    ..
                }
            )
        })
    };
    world.owner.wait("the end", closed);
    counted(world.metrics.closed.of(Closed::Client), 1);
    assert_eq!(world.send(7, Message::new("nobody")), 0);
    for text in [
        &first,
        "what is this",
        "0-0-0",
        "ffffffff-ffffffffffffffff-ffffffffffffffff",
    ] {
        let (status, body) = answer(asks(&world, &text.replace(' ', "%20")));
        assert_eq!((status, &body["messages"]), (410, &json!([])), "{text}");
        assert_ne!(cursor(&body), first);
        assert!(
            body["error"]
                .as_str()
                .expect("it says so")
                .contains("go on")
        );
    }
}

#[test]
fn a_client_that_leaves_while_it_waits_finds_everything_when_it_returns() {
    let world = start(|_| {});
    let first = begin(&world);
    let waiting = asks(&world, &first);
    drop(waiting);
    // Its leaving is noticed before or after: either way nothing is lost.
    assert_eq!(world.send(7, Message::new("kept")), 1);
    let (_, body) = answer(asks(&world, &first));
    assert_eq!(body["messages"], json!([{"text": "kept"}]));
}

#[test]
fn its_conn_is_that_of_any_connection() {
    let world = start(|_| {});
    let first = begin(&world);
    let conn = conn(&world);
    let signal = Signal::Deliver(Message::new("by name"));
    world.bridge.handle(Command::Signal { conn, signal }, None);
    let (_, body) = answer(asks(&world, &first));
    assert_eq!(body["messages"], json!([{"text": "by name"}]));
    let waiting = asks(&world, &cursor(&body));
    world.ask(Command::Close {
        ids: Ids::One(Id::Int(7)),
        reason: Reason::Drain,
    });
    // Whether the end or the poll was first: the next one begins anew.
    assert!([204, 410].contains(&answer(waiting).0));
}

#[test]
fn many_messages_come_in_several_answers_and_too_many_close() {
    let world = start(|config| config.outbox_bytes_max = 200 * 1024);
    let mut after = begin(&world);
    let text = "x".repeat(30_000);
    for _ in 0..6 {
        assert_eq!(world.send(7, Message::new(text.clone())), 1);
    }
    let mut counts = Vec::new();
    while counts.iter().sum::<usize>() < 6 {
        let (status, body) = answer(asks(&world, &after));
        assert_eq!(status, 200);
        counts.push(body["messages"].as_array().expect("a list").len());
        after = cursor(&body);
    }
    assert_eq!(counts, [2, 2, 2]);
    // The last two have been told, and make room.
    for _ in 0..6 {
        assert_eq!(world.send(7, Message::new(text.clone())), 1);
    }
    assert_eq!(world.send(7, Message::new(text)), 0, "the outbox is full");
    counted(world.metrics.closed.of(Closed::OutboxFull), 1);
    assert_eq!(answer(asks(&world, &after)).0, 410);
}

#[test]
fn a_gap_is_told_where_the_policy_is_to_drop() {
    let world = start(|config| config.when_full = WhenFull::KeepLatest);
    let first = begin(&world);
    for text in ["1", "2", "3"] {
        world.send(7, Message::new(text));
    }
    let (_, body) = answer(asks(&world, &first));
    assert_eq!(body["messages"], json!([{"gap": 2}, {"text": "3"}]));
}

#[test]
fn connections_of_one_id_are_limited() {
    let world = start(|config| config.connections_per_id_max = 2);
    let (first, _) = (begin(&world), begin(&world));
    assert!(asks(&world, "").read_to_end().starts_with("HTTP/1.1 503"));
    world.send(7, Message::new("still here"));
    assert_eq!(answer(asks(&world, &first)).0, 200);
}
