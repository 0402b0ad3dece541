//! Server-sent events byte for byte, and as an independent parser hears them.
//!
//! The table is `test/vectors/sse.txt`; the clients of other languages hear the same events in
//! `test/lariat_clients_SUITE.erl`.

#[path = "support/world.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod world;

use std::convert::Infallible;

use bytes::Bytes;
use eventsource_stream::Eventsource;
use futures_util::{StreamExt, stream};
use lariat::wire::{EventMeta, Message};
use world::World;

struct Row {
    message: Message,
    bytes: Vec<u8>,
    heard: [String; 3],
}

fn table() -> Vec<Row> {
    let text = include_str!("vectors/sse.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(row).collect()
}

fn row(line: &str) -> Row {
    let columns: Vec<&str> = line.split('\t').collect();
    let [event, id, payload, bytes, heard @ ..] = &columns[..] else {
        panic!("{line:?} has too few columns");
    };
    let field = |text: &str| (text != "-").then(|| Bytes::from(unescape(text)));
    let (event, id) = (field(event), field(id));
    let is_named = event.is_some() || id.is_some();
    let heard: Vec<String> = heard
        .iter()
        .map(|text| String::from_utf8(unescape(text)).expect("what is heard is text"))
        .collect();
    Row {
        message: Message {
            meta: is_named.then(|| Box::new(EventMeta { event, id })),
            ..Message::new(unescape(payload))
        },
        bytes: unescape(bytes),
        heard: heard.try_into().expect("type, data and id are heard"),
    }
}

/// As in Rust's strings.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (&escape, after) = rest.split_first().expect("an escape has a letter");
        rest = after;
        bytes.push(match escape {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let digits = std::str::from_utf8(&rest[..2]).expect("digits are ASCII");
                rest = &rest[2..];
                u8::from_str_radix(digits, 16).expect("two digits")
            }
            other => panic!("\\{} is no escape", char::from(other)),
        });
    }
    bytes
}

/// What follows the head on an SSE stream of HTTP/1.0, which has no chunks, after all rows are sent.
fn body() -> Vec<u8> {
    let world = World::start(|config| config.heartbeat = None);
    let mut client = world.client("GET /stream/1 HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n");
    client.read_until(b"\r\n\r\n");
    client.read_until(b"\n\n");
    world.owner.wait("the stream", |told| told.opened() == 1);
    for row in table() {
        assert_eq!(world.send(1, row.message), 1);
    }
    world.send_end(1);
    client.read_to_end().into_bytes()
}

#[test]
fn events_are_the_bytes_of_the_table() {
    let expected: Vec<u8> = table().into_iter().flat_map(|row| row.bytes).collect();
    let got = body();
    assert_eq!(got, expected, "{}", String::from_utf8_lossy(&got));
}

#[test]
fn an_independent_parser_hears_what_the_table_says() {
    let expected: Vec<[String; 3]> = table().into_iter().map(|row| row.heard).collect();
    let got = body();
    // In pieces of every size a socket may give: one after the other, each a little longer.
    let (mut pieces, mut rest, mut size) = (Vec::new(), &got[..], 1);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(size.min(rest.len()));
        pieces.push(Ok::<_, Infallible>(Bytes::copy_from_slice(piece)));
        rest = after;
        size = size % 7 + 1;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let heard = stream::iter(pieces).eventsource().map(|event| {
        let event = event.expect("every event is one");
        [event.event, event.data, event.id]
    });
    let heard: Vec<_> = runtime.expect("a runtime starts").block_on(heard.collect());
    assert_eq!(heard, expected);
}
