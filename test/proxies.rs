//! Behind proxies: limits and owners see the client's own address, and strangers are not believed.

#[path = "support/world.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod world;

use std::net::SocketAddr;

use lariat::edge::{self, Access, Listen, Network, Route};
use lariat::metrics::ProxyRefused;
use lariat::wire::{Ask, Command, Event, Handler, Id, Message};
use world::{Client, World};

fn trusting(network: &str) -> impl FnOnce(&mut edge::Config) {
    let network: Network = network.parse().expect("it is a network");
    move |config| config.trusted_proxies = [network].into_iter().collect()
}

fn with_proxy_protocol(network: &str) -> impl FnOnce(&mut edge::Config) {
    let trust = trusting(network);
    |config| {
        trust(config);
        for listen in &mut config.listen {
            *listen = Listen {
                proxy_protocol: true,
                ..listen.clone()
            };
        }
    }
}

fn request(id: i64, fields: &str) -> String {
    format!("GET /stream/{id} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

/// The address that the owner was told of this id, and is told again in a new snapshot.
fn peer_of(world: &World, id: i64) -> Option<SocketAddr> {
    let told = |state: &world::State| {
        state.events.iter().rev().find_map(|event| match event {
            Event::Opened {
                id: Id::Int(of),
                info,
                ..
            } if *of == id => Some(info.peer),
            _ => None,
        })
    };
    let first = world.owner.wait("the stream to open", told);
    world.owner.change(|state| state.events.clear());
    let owner = world::OWNER;
    world.ask(Command::Attach {
        owner,
        handlers: Vec::new(),
    });
    let again = world.owner.wait("the snapshot", told);
    assert_eq!(first, again);
    first.flatten()
}

fn is_held(client: &mut Client) {
    let head = client.read_until(b"\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

#[test]
fn spec_2_1_and_2_2_the_header_says_who_it_is() {
    let world = World::start(with_proxy_protocol("127.0.0.0/8"));
    let text = format!("PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n{}", request(1, ""));
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x03\x0a\0\0\x01\0\x07\0\x50";
    let binary = [&v2[..], request(2, "").as_bytes()].concat();
    let mut clients = [world.client(text), world.client(binary)];
    clients.iter_mut().for_each(is_held);
    assert_eq!(peer_of(&world, 1), "192.0.2.1:5".parse().ok());
    assert_eq!(peer_of(&world, 2), "192.0.2.3:7".parse().ok());
    // A proxy that asks for itself is told as itself.
    let itself = format!("PROXY UNKNOWN\r\n{}", request(3, ""));
    let mut itself = world.client(itself);
    is_held(&mut itself);
    assert_eq!(peer_of(&world, 3), itself.stream.local_addr().ok());
    assert_eq!(world.send(1, Message::new("Hello")), 1);
    clients[0].read_until(b"Hello\r\n");
}

#[test]
fn a_header_in_pieces_is_put_together() {
    let world = World::start(with_proxy_protocol("127.0.0.0/8"));
    let mut client = world.client("");
    let text = format!("PROXY TCP6 ::2 ::1 5 80\r\n{}", request(1, ""));
    client
        .stream
        .set_nodelay(true)
        .expect("the option is known");
    for byte in text.as_bytes() {
        client.write([*byte]);
    }
    is_held(&mut client);
    assert_eq!(peer_of(&world, 1), "[::2]:5".parse().ok());
}

#[test]
fn without_a_header_a_trusted_proxy_is_closed_without_an_answer() {
    let world = World::start(with_proxy_protocol("127.0.0.0/8"));
    // As long as what a header begins with: all of it is read, and nothing is reset.
    let mut client = world.client("GET / ");
    assert_eq!(client.read_to_end(), "");
    let refused = world.metrics.proxy_refused.of(ProxyRefused::Malformed);
    assert_eq!(refused.value(), 1);
}

#[test]
fn a_stranger_at_a_door_for_proxies_is_closed_with_or_without_a_header() {
    let world = World::start(with_proxy_protocol("10.0.0.0/8"));
    for _ in 0..2 {
        assert_eq!(world.client("").read_to_end(), "");
    }
    let refused = world.metrics.proxy_refused.of(ProxyRefused::Untrusted);
    assert_eq!(refused.value(), 2);
}

#[test]
fn forwarded_for_is_the_rightmost_stranger() {
    let world = World::start(trusting("127.0.0.0/8"));
    let fields = "X-Forwarded-For: 8.8.8.8\r\nX-Forwarded-For: 192.0.2.1, 127.9.9.9\r\n";
    let _client = world.stream(1, fields);
    assert_eq!(peer_of(&world, 1), "192.0.2.1:0".parse().ok());
}

#[test]
fn forwarded_for_from_a_stranger_is_nothing() {
    let world = World::start(trusting("10.0.0.0/8"));
    let client = world.stream(1, "X-Forwarded-For: 192.0.2.1\r\n");
    assert_eq!(peer_of(&world, 1), client.stream.local_addr().ok());
}

#[test]
fn the_limit_of_an_address_is_that_of_the_client_behind_the_proxy() {
    let world = World::start(|config| {
        trusting("127.0.0.0/8")(config);
        config.connections_per_address_max = 1;
    });
    let from = |client: &str| format!("X-Forwarded-For: {client}\r\n");
    let _first = world.stream(1, &from("192.0.2.1"));
    let _other = world.stream(2, &from("192.0.2.2"));
    let answer = world.client(request(3, &from("192.0.2.1"))).read_to_end();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(world.metrics.address_limit.value(), 1);
}

#[test]
fn a_handler_is_told_the_clients_own_address() {
    let trust = trusting("127.0.0.0/8");
    let handler: Handler = "chat".parse().expect("it is a name");
    let world = World::start(|config| {
        trust(config);
        let mut route = Route::new("/rooms/{room}".parse().expect("it is a path"));
        route.access = Access::Ask;
        route.handler = Some(handler.clone());
        config.routes = vec![route.into()];
    });
    let owner = world::OWNER;
    let handlers = vec![handler];
    world.ask(Command::Attach { owner, handlers });
    let _client =
        world.client("GET /rooms/1 HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n");
    let peer = world.owner.wait("a question", |told| {
        told.events.iter().find_map(|event| match event {
            Event::Ask {
                ask: Ask::Request(request),
                ..
            } => Some(request.peer),
            _ => None,
        })
    });
    let address = peer.flatten().map(|peer| peer.ip());
    assert_eq!(address, "192.0.2.9".parse().ok());
}
