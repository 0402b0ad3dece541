//! Clients that vanish without a word: found in a bounded time, alone.
//!
//! A filter on the client's own socket drops every packet that arrives for it, so its machine
//! acknowledges nothing and says nothing: what a pulled cable looks like from here. It needs no
//! privileges and no second network.
#![cfg(target_os = "linux")]

#[path = "support/world.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod world;

use std::time::Duration;

use lariat::metrics::Closed;
use lariat::wire::{Event, Id, Message, Reason};
use socket2::{SockFilter, SockRef};
use world::{Client, World};

/// `BPF_RET | BPF_K` with 0: keep nothing of any packet.
const DROP_ALL: [SockFilter; 1] = [SockFilter::new(0x06, 0, 0, 0)];

fn vanish(client: &Client) {
    SockRef::from(&client.stream)
        .attach_filter(&DROP_ALL)
        .expect("anybody may filter what is their own");
}

fn wait_for_its_end(world: &World, id: i64) {
    world.owner.wait("the vanished one's end", |told| {
        // The poller says `io`; a heartbeat that fails before it has looked, `client`.
        let ended = |event: &Event| match event {
            Event::Closed {
                id: Id::Int(of),
                reason: Reason::Io | Reason::Client,
                ..
            } => *of == id,
            _ => false,
        };
        told.events.iter().any(ended)
    });
}

#[test]
fn one_that_acknowledges_no_heartbeat_is_gone() {
    let world = World::start(|config| {
        config.heartbeat = Some(Duration::from_millis(300));
        config.client_timeout = Some(Duration::from_secs(1));
    });
    let mut witness = world.stream(1, "");
    let vanished = world.stream(2, "");
    vanish(&vanished);
    wait_for_its_end(&world, 2);
    assert_eq!(world.send(2, Message::new("too late")), 0);
    let closed = [Closed::Io, Closed::Client].map(|reason| world.metrics.closed.of(reason).value());
    assert_eq!(closed.iter().sum::<u64>(), 1);
    assert_eq!(world.send(1, Message::new("Hello")), 1);
    witness.read_until(b"Hello\r\n");
}

#[test]
fn without_heartbeats_keepalive_finds_it() {
    let world = World::start(|config| {
        config.heartbeat = None;
        config.client_timeout = Some(Duration::from_secs(1));
    });
    let mut witness = world.stream(1, "");
    let vanished = world.stream(2, "");
    vanish(&vanished);
    wait_for_its_end(&world, 2);
    // Probes that are answered end nobody.
    assert_eq!(world.send(1, Message::new("Hello")), 1);
    witness.read_until(b"Hello\r\n");
}
