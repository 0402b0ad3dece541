//! The edge as a client sees it: raw bytes in, raw bytes out, cases labelled by RFC section.
//!
//! Every case of misuse also proves that another connection has not noticed.

#[path = "support/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use lariat::bridge;
use lariat::metrics::{Closed, Dropped, Refused};
use lariat::wire::{Command, Event, Id, Ids, Message, Reason, Reply, Transport};
use world::World;

/// Sends `request`, expects `status`, and that a stream held all the while still works.
fn refused(world: &World, request: &[u8], status: &str) -> String {
    let mut witness = world.stream(99, "");
    let answer = world.client(request).read_to_end();
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status}")),
        "{status} expected: {answer}"
    );
    assert_eq!(world.send(99, Message::new("still here")), 1);
    assert!(
        witness
            .read_until(b"still here\r\n")
            .ends_with("a\r\nstill here\r\n")
    );
    answer
}

#[test]
fn rfc9112_7_1_a_message_is_a_chunk() {
    let world = World::start(|_| {});
    let mut client = world.client("GET /stream/7 HTTP/1.1\r\nHost: test\r\n\r\n");
    let head = client.read_until(b"\r\n\r\n");
    for field in [
        "200 OK",
        "Transfer-Encoding: chunked",
        "Cache-Control: no-store",
        "Date: ",
    ] {
        assert!(head.contains(field), "{head}");
    }
    world.owner.wait("the stream to open", |told| {
        told.events
            .iter()
            .any(|event| matches!(event, Event::Opened { id: Id::Int(7), .. }))
    });
    assert_eq!(world.send(7, Message::new("Hello")), 1);
    assert_eq!(client.read_until(b"Hello\r\n"), "5\r\nHello\r\n");
}

#[test]
fn html_9_2_an_event_source_gets_events() {
    let world = World::start(|_| {});
    let mut client = world.stream(7, "Accept: text/event-stream\r\n");
    assert!(client.read_until(b"\n\n\r\n").contains("retry: "));
    world.send(7, Message::new("a\nb"));
    assert_eq!(
        client.read_until(b"\n\n\r\n"),
        "11\r\ndata: a\ndata: b\n\n\r\n"
    );
}

#[test]
fn rfc9112_7_1_http_1_0_gets_no_chunks() {
    let world = World::start(|_| {});
    let mut client = world.client("GET /stream/7 HTTP/1.0\r\n\r\n");
    assert!(!client.read_until(b"\r\n\r\n").contains("chunked"));
    world.owner.wait("the stream to open", |told| {
        told.events
            .iter()
            .any(|event| matches!(event, Event::Opened { .. }))
    });
    world.send(7, Message::new("Hello"));
    assert_eq!(client.read_until(b"Hello"), "Hello");
}

#[test]
fn one_id_may_have_several_connections_up_to_the_limit() {
    let world = World::start(|config| config.connections_per_id_max = 2);
    let mut first = world.stream(7, "");
    let mut second = world.stream(7, "Accept: text/event-stream\r\n");
    second.read_until(b"\n\n\r\n");
    assert_eq!(world.send(7, Message::new("Hello")), 2);
    assert_eq!(first.read_until(b"Hello\r\n"), "5\r\nHello\r\n");
    assert!(second.read_until(b"Hello\n\n\r\n").contains("data: Hello"));
    let answer = world
        .client("GET /stream/7 HTTP/1.1\r\nHost: test\r\n\r\n")
        .read_to_end();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let Reply::Connections(conns) = world.ask(Command::Connections { id: Id::Int(7) }) else {
        panic!("connections are answered with connections")
    };
    assert_eq!(conns.len(), 2);
}

#[test]
fn rfc9110_15_5_1_garbage_is_400() {
    let world = World::start(|_| {});
    refused(&world, b"\x16\x03\x01\x02\x00\x01\x00", "400");
    refused(&world, b"GET /stream/1 HTTP/1.1\r\n\r\n", "400");
    refused(
        &world,
        b"GET /stream/1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "400",
    );
    assert_eq!(world.metrics.refused.of(Refused::BadRequest).value(), 3);
}

#[test]
fn rfc6585_5_a_large_head_is_431() {
    let world = World::start(|_| {});
    let long = format!(
        "GET /stream/1 HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(9000)
    );
    refused(&world, long.as_bytes(), "431");
    let many = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "X: y\r\n".repeat(100)
    );
    refused(&world, many.as_bytes(), "431");
}

#[test]
fn rfc9110_15_5_9_a_slow_head_is_408() {
    // Longer than a busy machine takes between a client's connecting and its first bytes.
    let world = World::start(|config| config.head_timeout = Duration::from_secs(3));
    refused(&world, b"GET /stream/1 HTTP/1.1\r\nHost:", "408");
    refused(&world, b"", "408");
}

#[test]
fn rfc9110_15_5_5_an_unknown_path_is_404() {
    let world = World::start(|_| {});
    for path in [
        "/",
        "/nothing",
        "/stream/",
        "/stream/1/2",
        "/demo/connections",
    ] {
        refused(
            &world,
            format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(),
            "404",
        );
    }
}

#[test]
fn rfc9110_15_5_6_a_wrong_method_is_405_with_allow() {
    let world = World::start(|_| {});
    let request = b"POST /stream/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    let answer = refused(&world, request, "405");
    assert!(answer.contains("\r\nAllow: GET\r\n"), "{answer}");
}

#[test]
fn other_refusals_are_precise() {
    let world = World::start(|_| {});
    refused(
        &world,
        b"GET /stream/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
        "413",
    );
    let long = format!(
        "GET /stream/{} HTTP/1.1\r\nHost: a\r\n\r\n",
        "x".repeat(256)
    );
    refused(&world, long.as_bytes(), "414");
    refused(&world, b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505");
}

#[test]
fn rfc9110_15_6_4_too_many_connections_are_503_with_retry_after() {
    let world = World::start(|config| config.connections_max = 2);
    let leaving = world.stream(1, "");
    let request = b"GET /stream/2 HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = refused(&world, request, "503");
    assert!(answer.contains("\r\nRetry-After: "), "{answer}");
    // A place that is left can be taken again.
    drop(leaving);
    world.owner.wait("the client's leaving", |told| {
        told.events
            .iter()
            .filter(|event| matches!(event, Event::Closed { .. }))
            .count()
            == 2
    });
    world.stream(3, "");
}

#[test]
fn a_client_that_leaves_is_told_at_once() {
    let world = World::start(|_| {});
    drop(world.stream(7, ""));
    world.owner.wait("the client's leaving", |told| {
        let left = |event: &Event| {
            matches!(
                event,
                Event::Closed {
                    id: Id::Int(7),
                    reason: Reason::Client,
                    ..
                }
            )
        };
        told.events.iter().any(left)
    });
    assert_eq!(world.send(7, Message::new("too late")), 0);
    assert_eq!(world.metrics.dropped.of(Dropped::NoConnection).value(), 1);
    assert_eq!(
        world
            .metrics
            .connections
            .of(lariat::metrics::Transport::Chunked)
            .value(),
        0
    );
}

#[test]
fn a_client_that_talks_on_a_stream_is_closed_alone() {
    let world = World::start(|_| {});
    let mut witness = world.stream(1, "");
    let mut talker = world.stream(2, "");
    talker.write(b"x".repeat(8 * 1024));
    world.owner.wait("the talker's end", |told| {
        let closed = |event: &Event| {
            matches!(
                event,
                Event::Closed {
                    id: Id::Int(2),
                    reason: Reason::Protocol,
                    ..
                }
            )
        };
        told.events.iter().any(closed)
    });
    world.send(1, Message::new("Hello"));
    witness.read_until(b"Hello\r\n");
}

#[test]
fn a_client_that_does_not_read_is_closed_alone() {
    let world = World::start(|config| config.outbox_bytes_max = 64 * 1024);
    let mut witness = world.stream(1, "");
    let _stuck = world.stream(2, "");
    let message = Message::new(vec![b'x'; 60 * 1024]);
    // The kernel's buffers take a few megabytes; past them the outbox fills.
    let sends = (0..1000)
        .take_while(|_| world.send(2, message.clone()) == 1)
        .count();
    assert!(sends < 1000, "the outbox has a limit");
    world.owner.wait("the stuck one's end", |told| {
        let closed = |event: &Event| {
            matches!(
                event,
                Event::Closed {
                    id: Id::Int(2),
                    reason: Reason::OutboxFull,
                    ..
                }
            )
        };
        told.events.iter().any(closed)
    });
    world.send(1, Message::new("Hello"));
    witness.read_until(b"Hello\r\n");
    assert_eq!(world.metrics.closed.of(Closed::OutboxFull).value(), 1);
    assert_eq!(world.metrics.dropped.of(Dropped::OutboxFull).value(), 1);
    assert_eq!(world.metrics.outbox_bytes.value(), 0);
}

#[test]
fn a_slow_reader_gets_every_byte_in_order() {
    let world = World::start(|config| {
        config.outbox_bytes_max = 64 << 20;
        config.outbox_messages_max = 10_000;
    });
    let mut client = world.stream(5, "");
    let expected = world.send_much_and_close(5);
    assert!(
        client.read_to_end() == expected,
        "what was sent arrives, then the end"
    );
}

#[test]
fn close_ends_the_body_in_order() {
    let world = World::start(|_| {});
    let mut client = world.stream(5, "");
    let closed = world.ask(Command::Close {
        ids: Ids::One(Id::Int(5)),
        reason: Reason::Drain,
    });
    assert_eq!(closed, Reply::Closed { connections: 1 });
    assert_eq!(client.read_to_end(), "0\r\n\r\n");
}

#[test]
fn close_all_ends_every_stream() {
    let world = World::start(|_| {});
    let mut clients: Vec<_> = (0..20).map(|id| world.stream(id, "")).collect();
    let reply = world.ask(Command::CloseAll { per_second: 1000 });
    assert_eq!(reply, Reply::Closed { connections: 20 });
    for client in &mut clients {
        assert_eq!(client.read_to_end(), "0\r\n\r\n");
    }
}

#[test]
fn silent_connections_hear_a_heartbeat() {
    let world = World::start(|config| config.heartbeat = Some(Duration::from_millis(300)));
    let mut plain = world.stream(1, "");
    let mut events = world.stream(2, "Accept: text/event-stream\r\n");
    events.read_until(b"\n\n\r\n");
    assert_eq!(plain.read_until(b"\r\n\n\r\n"), "1\r\n\n\r\n");
    assert_eq!(events.read_until(b"\n\n\r\n"), "3\r\n:\n\n\r\n");
}

#[test]
fn a_second_attach_gets_the_whole_picture_in_a_new_epoch() {
    let world = World::start(|_| {});
    let clients: Vec<_> = (0..50).map(|id| world.stream(id, "")).collect();
    world.owner.change(|told| told.events.clear());
    let Reply::Attached { epoch, .. } = world.ask(Command::Attach {
        owner: world::OWNER,
        handlers: Vec::new(),
    }) else {
        panic!("attach is answered with an epoch")
    };
    world.owner.wait("the snapshot", |told| {
        told.events.last() == Some(&Event::SnapshotEnd)
    });
    world.owner.wait("the picture", |told| {
        assert_eq!(told.epochs.last(), Some(&epoch));
        assert!(told.epochs.is_sorted());
        assert_eq!(told.events.first(), Some(&Event::SnapshotBegin));
        let ids = told.events.iter().filter_map(|event| match event {
            Event::Opened {
                id: Id::Int(id),
                info,
                ..
            } => {
                assert_eq!(info.transport, Transport::Chunked);
                assert!(info.peer.is_some());
                Some(*id)
            }
            _ => None,
        });
        let mut ids: Vec<i64> = ids.collect();
        ids.sort_unstable();
        ids == (0..50).collect::<Vec<_>>()
    });
    drop(clients);
}

#[test]
fn a_snapshot_larger_than_a_part_is_complete() {
    let world = World::start(|_| {});
    let clients: Vec<_> = (0..2500).map(|id| world.client(request(id))).collect();
    let opened = |told: &world::State| {
        told.events
            .iter()
            .filter(|event| matches!(event, Event::Opened { .. }))
            .count()
            == 2500
    };
    world.owner.wait("all to open", opened);
    world.owner.change(|told| told.events.clear());
    world.ask(Command::Attach {
        owner: world::OWNER,
        handlers: Vec::new(),
    });
    world.owner.wait("the snapshot", |told| {
        told.events.last() == Some(&Event::SnapshotEnd)
    });
    world.owner.wait("every connection once", opened);
    drop(clients);
}

#[test]
fn an_owner_that_lags_gets_a_new_snapshot() {
    let config = bridge::Config {
        owner_events_max: 50,
        ..bridge::Config::default()
    };
    let world = World::start_with(config, |_| {});
    world.owner.change(|told| told.is_busy = true);
    let mut clients: Vec<_> = (0..300).map(|id| world.client(request(id))).collect();
    for client in &mut clients {
        client.read_until(b"\r\n\r\n");
    }
    let lost = || world.metrics.events_lost.value();
    let deadline = std::time::Instant::now() + world::DEADLINE;
    while lost() == 0 {
        assert!(std::time::Instant::now() < deadline, "the owner never lags");
        std::thread::yield_now();
    }
    world.owner.change(|told| told.is_busy = false);
    // However much was lost on the way, the picture that follows is whole.
    world.owner.wait("the whole picture", |told| {
        let begin = told
            .events
            .iter()
            .rposition(|event| *event == Event::SnapshotBegin);
        let last = begin.map_or(&[][..], |at| &told.events[at..]);
        let ids = last.iter().filter_map(|event| match event {
            Event::Opened { id, .. } => Some(id),
            _ => None,
        });
        let ids: BTreeSet<&Id> = ids.collect();
        told.epochs.len() > 1 && ids.len() == 300 && last.contains(&Event::SnapshotEnd)
    });
}

#[test]
fn the_demo_serves_its_page_and_tells_who_is_there() {
    let world = World::start(|config| config.demo = true);
    let _stream = world.stream(123, "Accept: text/event-stream\r\n");
    let page = world
        .client("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .read_to_end();
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("<html"),
        "{page}"
    );
    let answer = world
        .client("GET /demo/connections HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .read_to_end();
    let expected = r#"{"connections":[{"id":"123","transport":"sse"}],"total":1}"#;
    assert!(answer.ends_with(expected), "{answer}");
}

#[test]
fn stopping_says_goodbye() {
    let world = World::start(|_| {});
    let mut client = world.stream(1, "");
    world.bridge.stop();
    assert_eq!(client.read_to_end(), "0\r\n\r\n");
    let mut late = std::net::TcpStream::connect(world.address);
    let refused = late
        .as_mut()
        .map_or(0, |late| late.read(&mut [0; 1]).unwrap_or(0));
    assert_eq!(refused, 0, "nothing is accepted any more");
}

fn request(id: usize) -> String {
    format!("GET /stream/{id} HTTP/1.1\r\nHost: test\r\n\r\n")
}
