//! WebSockets on a real edge, over real sockets: the handshake, both directions, closing, limits, and
//! what happens when nobody hears what clients say.
//!
//! Raw bytes labelled with the section of RFC 6455, and `tungstenite` as a client that is not ours.
//! The laws of the codec are tested beside it.

#[path = "support/websocket.rs"]
mod websocket;
#[path = "support/world.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod world;

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use lariat::edge::{Config, Route};
use lariat::metrics::{Dropped, Transport, WebsocketFault};
use lariat::wire::{
    Command, Conn, Event, Form, Id, Ids, Kind, Message, Reason, Said, Signal, WhenFull,
};
use tungstenite::Message as Theirs;
use websocket::{frame, handshake};
use world::{DEADLINE, OWNER, World};

fn start(change: impl FnOnce(&mut Config)) -> World {
    World::start(|config| {
        let mut route = Route::new("/ws/{id}".parse().expect("it is a path"));
        route.kind = Kind::Websocket;
        config.routes = vec![Arc::new(route)];
        change(config);
    })
}

/// What the owner has heard of clients, once it is so much.
fn heard(world: &World, count: usize) -> Vec<(Conn, Said)> {
    let all = |told: &world::State| -> Vec<(Conn, Said)> {
        let events = told.events.iter();
        let received = events.filter_map(|event| match event {
            Event::Received { conn, said, .. } => Some((*conn, said.clone())),
            _ => None,
        });
        received.collect()
    };
    world
        .owner
        .wait("what clients said", |told| {
            let all = all(told);
            (all.len() >= count).then_some(all)
        })
        .expect("it was waited for")
}

fn closed(world: &World, wanted: &Reason) {
    world.owner.wait("the end", |told| {
        let is_it =
            |event: &Event| matches!(event, Event::Closed { reason, .. } if reason == wanted);
        told.events.iter().any(is_it)
    });
}

fn close(world: &World, reason: Reason) {
    world.ask(Command::Close {
        ids: Ids::One(Id::Int(1)),
        reason,
    });
}

#[test]
fn what_is_said_reaches_the_other_side() {
    let world = start(|_| {});
    let mut client = world.websocket(1, "");
    assert_eq!(
        world.metrics.connections.of(Transport::Websocket).value(),
        1
    );
    client.send_frame(0x81, "häagen".as_bytes());
    client.send_frame(0x02, b"\x00\xff");
    client.send_frame(0x80, b"end");
    let heard = heard(&world, 2);
    assert_eq!(heard[0].1, Said::Text("häagen".into()));
    assert_eq!(heard[1].1, Said::Binary((&b"\x00\xffend"[..]).into()));
    let conn = heard[0].0;
    // Text is text, unless it is said to be binary or is none.
    assert_eq!(world.send(1, Message::new("hi")), 1);
    assert_eq!(world.send(1, Message::new(&b"\xff"[..])), 1);
    let binary = Message {
        form: Form::Binary,
        ..Message::new("hi")
    };
    let signal = Signal::Deliver(binary);
    world.bridge.handle(Command::Signal { conn, signal }, None);
    let frames = [(); 3].map(|()| client.read_frame());
    let expected: [(u8, &[u8]); 3] = [(0x81, b"hi"), (0x82, b"\xff"), (0x82, b"hi")];
    assert_eq!(
        frames.map(|(first, payload)| (first, payload)),
        expected.map(|(first, payload)| (first, payload.to_vec()))
    );
}

/// Section 5.5.2: a pong has the payload of its ping, also within a message. Section 5.5.1: a close
/// is answered with one of the same code, and the owners hear that the client has left.
#[test]
fn control_frames_are_answered() {
    let world = start(|_| {});
    let mut client = world.websocket(1, "");
    // Cut anywhere.
    for byte in [
        frame(0x01, b"a"),
        frame(0x89, b"you there?"),
        frame(0x8a, b"unasked"),
        frame(0x80, b"b"),
    ]
    .concat()
    {
        client.write([byte]);
    }
    assert_eq!(client.read_frame(), (0x8a, b"you there?".to_vec()));
    assert_eq!(heard(&world, 1)[0].1, Said::Text("ab".into()));
    client.send_frame(0x88, &[&4001_u16.to_be_bytes()[..], b"enough"].concat());
    assert_eq!(client.read_close(), (4001, String::new()));
    closed(&world, &Reason::Client);
    let client = world.websocket(2, "");
    drop(client);
    closed(&world, &Reason::Client);
}

#[test]
fn a_silent_websocket_is_pinged() {
    let world = start(|config| config.heartbeat = Some(Duration::from_millis(20)));
    let mut client = world.websocket(1, "");
    assert_eq!(client.read_frame(), (0x89, Vec::new()));
    client.send_frame(0x8a, b"");
    assert_eq!(client.read_frame(), (0x89, Vec::new()));
}

/// Section 7.4.
#[test]
fn each_end_has_its_code() {
    let world = start(|_| {});
    for (reason, code) in [
        (Reason::Asked((&b"w\x06normal"[..]).into()), 1000),
        (Reason::Drain, 1012),
        (Reason::Unserved, 1013),
    ] {
        let client = world.websocket(1, "");
        close(&world, reason.clone());
        assert_eq!(client.read_close(), (code, String::new()));
        closed(&world, &reason);
    }
    for (bytes, code, fault) in [
        (&b"\x81\x01a"[..], 1002, WebsocketFault::Protocol),
        (&frame(0x81, b"\xff"), 1007, WebsocketFault::Invalid),
        (
            &frame(0x82, &[0; 65537])[..14],
            1009,
            WebsocketFault::TooBig,
        ),
    ] {
        let mut client = world.websocket(1, "");
        client.write(bytes);
        assert_eq!(client.read_close(), (code, String::new()));
        assert_eq!(world.metrics.websocket_faults.of(fault).value(), 1);
    }
    closed(&world, &Reason::Protocol);
    // When many are sent away they hear when to come back.
    let client = world.websocket(1, "");
    world.ask(Command::CloseAll { per_second: 1000 });
    let (code, reason) = client.read_close();
    assert_eq!(code, 1012);
    let wait = reason.strip_prefix("retry: ").map(str::parse::<u32>);
    assert!(wait.is_some_and(|wait| wait.is_ok()), "{reason}");
    let client = world.websocket(1, "");
    world.bridge.stop();
    assert_eq!(client.read_close().0, 1001);
}

/// Section 4.2.
#[test]
fn what_is_no_handshake_is_refused() {
    let world = start(|_| {});
    let good = handshake("/ws/1", "");
    for (request, status) in [
        (good.replace("Version: 13", "Version: 8"), "426"),
        ("GET /ws/1 HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(), "426"),
        (good.replace("jZQ==", "j"), "400"),
        (handshake("/ws/1", "Origin: https://elsewhere\r\n"), "403"),
        (good.replace("GET", "POST"), "405"),
        (handshake("/ws/", ""), "404"),
    ] {
        let answer = world.client(&request).read_to_end();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}{answer}"
        );
        if status == "426" {
            assert!(
                answer.contains("\r\nSec-WebSocket-Version: 13\r\n"),
                "{answer}"
            );
        }
    }
    let mut client = world.client(handshake("/ws/1", "Origin: http://TEST\r\n"));
    let head = client.read_until(b"\r\n\r\n");
    assert!(head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert!(
        !head.contains("Sec-WebSocket-Protocol") && !head.contains("Extensions"),
        "{head}"
    );
}

/// A client that does not wait for the answer to its handshake.
#[test]
fn what_comes_with_the_handshake_is_heard() {
    let world = start(|_| {});
    let mut request = handshake("/ws/1", "").into_bytes();
    request.extend(frame(0x81, b"early"));
    let mut client = world.client(request);
    client.read_until(b"\r\n\r\n");
    assert_eq!(heard(&world, 1)[0].1, Said::Text("early".into()));
}

#[test]
fn another_library_talks_with_compression_on_our_side_only_where_it_is_agreed() {
    let world = start(|_| {});
    let stream = TcpStream::connect(world.address).expect("the edge accepts");
    stream.set_read_timeout(Some(DEADLINE)).expect("it can");
    let (mut client, answer) = tungstenite::client("ws://localhost/ws/7", stream)
        .expect("the handshake is as the library wants it");
    assert!(!answer.headers().contains_key("sec-websocket-extensions"));
    for length in [0, 1, 125, 126, 65535, 65536] {
        let text = "x".repeat(length);
        client.send(Theirs::text(text.clone())).expect("it is sent");
        let heard = heard(&world, 1);
        assert_eq!(heard[0].1, Said::Text(text.clone().into()));
        world.owner.change(|told| {
            told.events
                .retain(|event| !matches!(event, Event::Received { .. }))
        });
        assert_eq!(world.send(7, Message::new(text.clone())), 1);
        assert_eq!(client.read().expect("it is heard"), Theirs::text(text));
    }
    client.close(None).expect("it is sent");
    while let Ok(message) = client.read() {
        assert!(matches!(message, Theirs::Close(_)));
    }
    closed(&world, &Reason::Client);
}

/// RFC 7692, section 7.2.3.1: "Hello" compressed, and our own way back.
#[test]
fn compression_is_agreed_and_spoken() {
    let world = start(|_| {});
    let mut client = world.client(handshake(
        "/ws/1",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
    ));
    let head = client.read_until(b"\r\n\r\n");
    assert!(
        head.contains("\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_"),
        "{head}"
    );
    client.send_frame(0xc1, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    assert_eq!(heard(&world, 1)[0].1, Said::Text("Hello".into()));
    assert_eq!(world.send(1, Message::new("Hello".repeat(200))), 1);
    let (first, payload) = client.read_frame();
    assert_eq!(first, 0xc1);
    assert!(payload.len() < 100, "{} bytes", payload.len());
    // Turned off, it is not agreed.
    let world = start(|config| config.deflate = false);
    let extra = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let head = world
        .client(handshake("/ws/1", extra))
        .read_until(b"\r\n\r\n");
    assert!(!head.contains("Extensions"), "{head}");
}

/// Who says more than can be told blocks, and all of it is told when it can be, in order.
#[test]
fn who_says_too_much_is_not_read_until_it_is_told() {
    let world = start(|config| config.untold.one_bytes_max = 100_000);
    let mut client = world.websocket(1, "");
    world.owner.change(|told| told.is_busy = true);
    client.stream.set_nonblocking(true).expect("it can");
    let mut sent = Vec::new();
    let message = |number: usize| {
        frame(
            0x81,
            format!("{number:04}{}", "x".repeat(60_000)).as_bytes(),
        )
    };
    let mut count = 0;
    // Until the sockets take no more: the edge does not read.
    let mut written = 0;
    loop {
        if written == sent.len() {
            if world.metrics.reading_pauses.value() > 0 && count >= 100 {
                break;
            }
            sent = message(count);
            written = 0;
            count += 1;
        }
        match client.stream.write(&sent[written..]) {
            Ok(taken) => written += taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if world.metrics.reading_pauses.value() > 0 {
                    break;
                }
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(world.metrics.client_messages.value() <= 3);
    world.owner.change(|told| told.is_busy = false);
    client.stream.set_nonblocking(false).expect("it can");
    client
        .stream
        .write_all(&sent[written..])
        .expect("it is read again");
    for (number, (_, said)) in heard(&world, count).into_iter().enumerate() {
        let Said::Text(text) = said else {
            panic!("{said:?}");
        };
        assert_eq!(text[..4], *format!("{number:04}").as_bytes());
    }
}

#[test]
fn who_is_heard_by_nobody_is_told() {
    let world = start(|_| {});
    let mut client = world.websocket(1, "");
    world.ask(Command::Detach { owner: OWNER });
    client.send_frame(0x81, b"hello?");
    assert_eq!(client.read_close().0, 1013);
    assert_eq!(world.metrics.dropped.of(Dropped::Unserved).value(), 1);
}

/// Unfinished messages have a limit of their own, which the longest pay.
#[test]
fn messages_that_never_end_are_bounded_together() {
    let world = start(|config| {
        config.shards = 1;
        config.unfinished_bytes_max = 100_000;
    });
    let mut modest = world.websocket(1, "");
    modest.send_frame(0x02, &[1; 10]);
    let mut hogs: Vec<_> = (2..4).map(|id| world.websocket(id, "")).collect();
    for hog in &mut hogs {
        hog.send_frame(0x02, &[2; 60_000]);
    }
    closed(&world, &Reason::Unserved);
    modest.send_frame(0x80, b"");
    assert_eq!(heard(&world, 1)[0].1, Said::Binary(vec![1; 10].into()));
}

/// What was dropped is told where it is missing.
#[test]
fn a_gap_is_a_text() {
    let world = start(|config| config.when_full = WhenFull::DropNewest);
    let mut client = world.websocket(1, "");
    let payload = "x".repeat(60_000);
    let dropped = || world.metrics.dropped.of(Dropped::DropNewest).value();
    while dropped() < 3 {
        world.send(1, Message::new(payload.clone()));
        world.send(2, Message::new("in a later turn, so that it is counted"));
    }
    loop {
        let (first, text) = client.read_frame();
        assert_eq!(first, 0x81);
        if let Some(gap) = text.strip_prefix(b"{\"gap\":") {
            let text = std::str::from_utf8(gap).expect("it is text");
            let lost: u64 = text.trim_end_matches('}').parse().expect("it is a number");
            assert!(lost >= 3, "{lost}");
            break;
        }
        assert_eq!(text.len(), payload.len());
    }
}
