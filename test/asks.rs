//! Whether a client is held is asked, and what is answered is done: raw clients, a real edge and
//! bridge, and an owner that this file plays.
//!
//! No Erlang here; the same with a real node is `test/lariat_asks_SUITE.erl`.

#[path = "support/world.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod world;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lariat::edge::{Access, Route};
use lariat::metrics::Asked;
use lariat::wire::{
    AcceptOptions, Answer, Ask, Command, Event, Handler, Heartbeat, Id, Kind, Message, Ref,
    Request, Transport, WhenFull,
};
use world::{Client, DEADLINE, OWNER, World};

fn chat() -> Handler {
    "chat".parse().expect("it is a name")
}

/// An edge that asks `chat` about `/rooms/{room}`, and an owner that serves it.
fn world(change: impl FnOnce(&mut lariat::edge::Config)) -> World {
    let world = World::start(|config| {
        let mut route = Route::new("/rooms/{room}".parse().expect("it is a path"));
        route.access = Access::Ask;
        route.handler = Some(chat());
        config.routes = vec![Arc::new(route), Arc::default()];
        change(config);
    });
    attach(&world, vec![chat()]);
    world
}

fn attach(world: &World, handlers: Vec<Handler>) {
    world.owner.change(|told| told.events.clear());
    let owner = OWNER;
    world.ask(Command::Attach { owner, handlers });
    world.owner.wait("the snapshot", |told| {
        told.events.last() == Some(&Event::SnapshotEnd)
    });
}

/// The question number `nth` that the owner was told.
fn asked(world: &World, nth: usize) -> (Ref, Arc<Request>) {
    let question = |event: &Event| match event {
        Event::Ask {
            reference,
            ask: Ask::Request(request),
        } => Some((*reference, Arc::clone(request))),
        _ => None,
    };
    let found = world.owner.wait("a question", |told| {
        told.events.iter().filter_map(question).nth(nth)
    });
    found.expect("it was waited for")
}

fn answer(world: &World, reference: Ref, answer: Answer) {
    world.ask(Command::Answers(vec![(reference, Some(answer))]));
}

fn accept(id: Id, options: AcceptOptions) -> Answer {
    Answer::Accept { id, options }
}

fn enter(world: &World) -> Client {
    world.client("GET /rooms/a%20b?x=%31 HTTP/1.1\r\nHost: h\r\nCookie: a=1\r\ncookie: b=2\r\n\r\n")
}

fn count(world: &World, outcome: Asked) {
    let is_counted = || world.metrics.asks.of(outcome).value() > 0;
    wait(is_counted, "it is counted");
}

/// What a thread does after it has told somebody.
fn wait(is_there: impl Fn() -> bool, what: &str) {
    let begin = std::time::Instant::now();
    while !is_there() {
        assert!(begin.elapsed() < DEADLINE, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn who_is_accepted_is_held_as_the_answer_says() {
    let world = world(|_| {});
    let mut client = enter(&world);
    let (reference, request) = asked(&world, 0);
    assert_eq!(request.kind, Kind::Stream);
    assert_eq!(request.handler, chat());
    assert_eq!(request.method, "GET");
    assert_eq!(request.path, "/rooms/a%20b");
    assert_eq!(request.query, "x=%31");
    assert_eq!(request.bindings, [("room".into(), "a b".into())]);
    let headers: Vec<(Bytes, Bytes)> = vec![
        ("host".into(), "h".into()),
        ("cookie".into(), "a=1; b=2".into()),
    ];
    assert_eq!(request.headers, headers);
    assert_eq!(request.peer, client.stream.local_addr().ok());
    assert_eq!((request.body.len(), &request.claims), (0, &None));
    let options = AcceptOptions {
        headers: vec![("Set-Cookie".into(), "seen=1".into())],
        heartbeat: Some(Heartbeat::Every(Duration::from_secs(1))),
        when_full: Some(WhenFull::KeepLatest),
    };
    answer(&world, reference, accept(Id::Int(7), options));
    let head = client.read_until(b"\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nSet-Cookie: seen=1\r\n"), "{head}");
    world.owner.wait("the stream to open", |told| {
        let is_it = |event: &Event| match event {
            Event::Opened { id, info, .. } => {
                *id == Id::Int(7)
                    && info.transport == Transport::Chunked
                    && info.handler == Some(chat())
            }
            _ => false,
        };
        told.events.iter().any(is_it)
    });
    assert_eq!(world.send(7, Message::new("hello")), 1);
    client.read_until(b"5\r\nhello\r\n");
    // Its heartbeat is its own: that of the others comes after 20 seconds at the earliest.
    for _ in 0..3 {
        client.read_until(b"1\r\n\n\r\n");
    }
    count(&world, Asked::Accepted);
    // And snapshots say the handler, too.
    attach(&world, Vec::new());
    world.owner.wait("the snapshot", |told| {
        told.events.iter().any(
            |event| matches!(event, Event::Opened { info, .. } if info.handler == Some(chat())),
        )
    });
}

#[test]
fn who_is_not_accepted_is_told_what_the_answer_says() {
    let world = world(|_| {});
    let mut client = enter(&world);
    answer(
        &world,
        asked(&world, 0).0,
        Answer::Reject {
            status: 403,
            reason: "not today".into(),
        },
    );
    let text = client.read_to_end();
    assert!(text.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{text}");
    assert!(
        text.ends_with("\r\nConnection: close\r\n\r\nnot today"),
        "{text}"
    );
    let mut client = enter(&world);
    answer(
        &world,
        asked(&world, 1).0,
        Answer::Reply {
            status: 302,
            headers: vec![
                ("Location".into(), "/login".into()),
                ("Connection".into(), "keep-alive".into()),
                ("Content-Length".into(), "999".into()),
            ],
            body: "go".into(),
        },
    );
    let text = client.read_to_end();
    assert!(text.starts_with("HTTP/1.1 302 Found\r\n"), "{text}");
    let end = "\r\nLocation: /login\r\nContent-Length: 2\r\nConnection: close\r\n\r\ngo";
    assert!(text.ends_with(end), "{text}");
    count(&world, Asked::Rejected);
    count(&world, Asked::Replied);
}

#[test]
fn a_bad_answer_harms_nobody_but_its_client() {
    let world = world(|_| {});
    let cookie = |value: &'static str| {
        accept(
            Id::Int(1),
            AcceptOptions {
                headers: vec![("Set-Cookie".into(), value.into())],
                ..AcceptOptions::default()
            },
        )
    };
    let status = |status| Answer::Reply {
        status,
        headers: Vec::new(),
        body: Bytes::new(),
    };
    let bad = [
        None,
        Some(Answer::Taken),
        Some(cookie("a\r\nX: y")),
        Some(cookie("a\0")),
        Some(status(99)),
        Some(status(101)),
        Some(status(1000)),
    ];
    for (nth, bad) in bad.into_iter().enumerate() {
        let mut client = enter(&world);
        let (reference, _) = asked(&world, nth);
        world.ask(Command::Answers(vec![(reference, bad)]));
        let text = client.read_to_end();
        assert!(text.starts_with("HTTP/1.1 500 "), "{nth}: {text}");
        // A second answer, and one to nobody, change nothing.
        let answers = [reference, Ref(u64::MAX), Ref(0)];
        let answers = answers.map(|reference| {
            (
                reference,
                Some(accept(Id::Int(1), AcceptOptions::default())),
            )
        });
        world.ask(Command::Answers(answers.into()));
    }
    count(&world, Asked::Bad);
    assert!(world.metrics.asks_stale.value() >= 21);
    assert_eq!(world.send(1, Message::new("nobody")), 0);
}

#[test]
fn without_an_answer_there_is_a_refusal() {
    let world = world(|config| {
        config.ask_timeout = Duration::from_millis(50);
    });
    let mut client = enter(&world);
    assert!(client.read_to_end().starts_with("HTTP/1.1 504 "));
    count(&world, Asked::Late);
    attach(&world, vec!["other".parse().expect("it is a name")]);
    let text = enter(&world).read_to_end();
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    assert!(
        text.contains("\r\nRetry-After: ") && text.contains("no handler"),
        "{text}"
    );
    count(&world, Asked::NoHandler);
}

#[test]
fn who_asked_an_owner_that_goes_is_refused_at_once() {
    let world = world(|config| config.ask_timeout = Duration::from_secs(3600));
    let mut client = enter(&world);
    asked(&world, 0);
    world.bridge.owner_gone(OWNER);
    let text = client.read_to_end();
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    count(&world, Asked::Gone);
}

#[test]
fn so_many_wait_and_no_more() {
    let world = world(|config| {
        config.ask_timeout = Duration::from_secs(3600);
        config.asks_max = 2;
    });
    let first = enter(&world);
    let (reference, _) = asked(&world, 0);
    let mut second = enter(&world);
    asked(&world, 1);
    let text = enter(&world).read_to_end();
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    count(&world, Asked::Full);
    // One that leaves makes room, and is not answered any more.
    drop(first);
    wait(
        || world.metrics.asks_waiting.value() == 1,
        "it is forgotten",
    );
    answer(
        &world,
        reference,
        accept(Id::Int(1), AcceptOptions::default()),
    );
    assert_eq!(world.metrics.asks_stale.value(), 1);
    let mut third = enter(&world);
    for nth in [1, 2] {
        let (reference, _) = asked(&world, nth);
        answer(
            &world,
            reference,
            accept(Id::Int(1), AcceptOptions::default()),
        );
    }
    second.read_until(b"\r\n\r\n");
    third.read_until(b"\r\n\r\n");
    wait(|| world.metrics.asks_waiting.value() == 0, "nobody waits");
}

/// While its way is busy a question waits for it.
#[test]
fn a_busy_owner_is_asked_later() {
    let world = world(|config| config.ask_timeout = Duration::from_secs(3600));
    world.owner.change(|told| told.is_busy = true);
    let mut client = enter(&world);
    world.owner.wait("a try", |told| told.refused > 0);
    world.owner.change(|told| told.is_busy = false);
    let (reference, _) = asked(&world, 0);
    answer(
        &world,
        reference,
        accept(Id::Int(3), AcceptOptions::default()),
    );
    client.read_until(b"\r\n\r\n");
}

/// The edge stops: whoever waits is told so, not left alone.
#[test]
fn who_waits_when_the_edge_stops_is_told() {
    let world = world(|config| config.ask_timeout = Duration::from_secs(3600));
    let mut client = enter(&world);
    asked(&world, 0);
    world.bridge.stop();
    assert!(client.read_to_end().starts_with("HTTP/1.1 503 "));
    count(&world, Asked::Stopping);
}

/// The configs of tests do not come from a file.
#[test]
fn a_route_that_does_not_fit_together_starts_nothing() {
    let mut route = Route::new("/rooms/{room}".parse().expect("it is a path"));
    route.access = Access::Ask;
    let config = lariat::edge::Config {
        routes: vec![Arc::new(route)],
        ..lariat::edge::Config::default()
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let started = runtime.block_on(async { lariat::edge::start(config, Arc::default()) });
    let error = started.err().expect("it names the key").to_string();
    assert!(error.starts_with("http.route.handler"), "{error}");
}
