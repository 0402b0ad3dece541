//! More clients than there is room for: each limit refuses or holds back, is counted, and lets others
//! in again.

#[path = "support/world.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod world;

#[path = "limits/open_files.rs"]
#[cfg(target_os = "linux")]
mod open_files;

use std::time::Instant;

use lariat::metrics::{Closed, Refused};
use lariat::wire::Message;
use world::{DEADLINE, World};

const REQUEST: &str = "GET /stream/7 HTTP/1.1\r\nHost: test\r\n\r\n";

/// Waits for what a thread counts after it has told.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

#[test]
fn an_address_has_its_limit_and_gets_places_back() {
    let world = World::start(|config| config.connections_per_address_max = 2);
    let first = world.stream(1, "");
    // A head that is being read has a place, too.
    let reading = world.client("GET /stream/2 HT");
    wait_until("the accept", || world.metrics.accepted.value() == 2);
    let answer = world.client("").read_to_end();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nRetry-After: "), "{answer}");
    assert_eq!(world.metrics.address_limit.value(), 1);
    drop((first, reading));
    let come_back = || {
        let mut client = world.client(REQUEST);
        client.read_until(b"\r\n\r\n").starts_with("HTTP/1.1 200 ")
    };
    wait_until("a place", come_back);
}

#[test]
fn a_storm_of_refusals_leaves_those_who_are_held_alone() {
    let world = World::start(|config| config.connections_max = 1);
    let mut held = world.stream(1, "");
    for _ in 0..2_000 {
        let answer = world.client(REQUEST).read_to_end();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("\r\nRetry-After: "), "{answer}");
        assert!(
            answer.ends_with("\r\n\r\ntoo many connections\n"),
            "{answer}"
        );
    }
    let refused = world.metrics.refused.of(Refused::Unavailable);
    assert_eq!(refused.value(), 2_000);
    assert_eq!(world.send(1, Message::new("Hello")), 1);
    held.read_until(b"Hello\r\n");
    // Its place is free for another one.
    drop(held);
    wait_until("its end", || {
        world.metrics.closed.of(Closed::Client).value() == 1
    });
    world.stream(2, "");
}

#[test]
fn those_beyond_the_accept_rate_wait_and_are_served() {
    let world = World::start(|config| config.accept_rate_max = 20);
    let mut clients: Vec<_> = (0..60).map(|_| world.client(REQUEST)).collect();
    for client in &mut clients {
        assert!(client.read_until(b"\r\n\r\n").starts_with("HTTP/1.1 200 "));
    }
    assert!(
        world.metrics.accept_throttled.value() > 0,
        "some had to wait"
    );
}

/// Whoever waits in the backlog has sent its request before its accept: the listener reads it in
/// place, and hands over as many as one batch has, and more. What is not whole yet, or no plain
/// stream, takes the way of the others.
#[test]
fn requests_that_are_there_at_the_accept_are_judged_like_those_that_come_later() {
    let world = World::start(|config| config.accept_rate_max = 100);
    // A second's tokens, so that all of the next ones wait.
    drop((0..100).map(|_| world.client("")).collect::<Vec<_>>());
    let mut whole: Vec<_> = (0..150)
        .map(|id| world.client(format!("GET /stream/{id} HTTP/1.1\r\nHost: test\r\n\r\n")))
        .collect();
    let mut half = world.client("GET /stream/1000 HTTP/1.1\r\n");
    let mut wrong = world.client("GET /stream/1001 HTTP/1.1\r\n\r\n");
    let mut elsewhere = world.client("GET /elsewhere HTTP/1.1\r\nHost: test\r\n\r\n");
    for client in &mut whole {
        assert!(client.read_until(b"\r\n\r\n").starts_with("HTTP/1.1 200 "));
    }
    half.write("Host: test\r\n\r\n");
    assert!(half.read_until(b"\r\n\r\n").starts_with("HTTP/1.1 200 "));
    assert!(wrong.read_to_end().starts_with("HTTP/1.1 400 "));
    assert!(elsewhere.read_to_end().starts_with("HTTP/1.1 404 "));
    for (id, client) in (0..).zip(&mut whole) {
        assert_eq!(world.send(id, Message::new("Hello")), 1);
        client.read_until(b"Hello\r\n");
    }
}

#[test]
fn a_refusal_is_not_destroyed_by_a_request_that_comes_late() {
    let world = World::start(|config| config.connections_max = 1);
    let _held = world.stream(1, "");
    let mut late = world.client("");
    wait_until("the refusal", || {
        world.metrics.refused.of(Refused::Unavailable).value() == 1
    });
    // It finds a socket that still reads; or, after a second, a reset behind the whole answer.
    late.stream.set_nodelay(true).expect("the option is known");
    late.write(REQUEST);
    assert!(late.read_to_end().starts_with("HTTP/1.1 503 "));
}
