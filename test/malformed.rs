//! Requests that nobody should send: each has the answer that the table says, and no other
//! connection notices.
//!
//! The table is `test/vectors/requests.txt`. A hang is a failure: every read has a deadline.

#[path = "support/world.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod world;

use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lariat::edge::{Pattern, Route};
use lariat::wire::{Kind, Message};
use world::{Client, DEADLINE, World};

/// The id of a stream that is held all the while.
const WITNESS: i64 = 99;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Held,
    Closed,
    Status(u16),
}

struct Row {
    line: usize,
    expected: Expected,
    bytes: Vec<u8>,
}

fn table() -> Vec<Row> {
    let text = include_str!("vectors/requests.txt");
    let rows = text.lines().enumerate().filter_map(|(index, line)| {
        let (expected, bytes) = line.split_once(' ')?;
        let expected = match expected {
            "#" => return None,
            "held" => Expected::Held,
            "closed" => Expected::Closed,
            status => Expected::Status(status.parse().expect("a status")),
        };
        Some(Row {
            line: index + 1,
            expected,
            bytes: unescape(bytes),
        })
    });
    rows.collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let used = match (first, rest.as_bytes().get(1)) {
            ('\\', Some(b'x')) => {
                bytes.push(u8::from_str_radix(&rest[2..4], 16).expect("two digits"));
                4
            }
            ('\\', Some(b'{')) => {
                let end = rest.find('}').expect("a repetition ends");
                let (times, what) = rest[2..end].split_once('*').expect("a number of times");
                let what = unescape(what);
                bytes.extend(what.repeat(times.parse().expect("a number")));
                end + 1
            }
            ('\\', Some(escaped)) => {
                bytes.push(match escaped {
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'0' => 0,
                    b'\\' => b'\\',
                    other => panic!("\\{} is no escape", char::from(*other)),
                });
                2
            }
            _ => {
                bytes.extend(&rest.as_bytes()[..first.len_utf8()]);
                first.len_utf8()
            }
        };
        rest = &rest[used..];
    }
    bytes
}

/// One answer, with a body of the length that it says, and then the end.
fn judge(row: &Row, answer: &str) -> Result<(), String> {
    let offence = || Err(format!("line {}: {:?}: {answer:?}", row.line, row.expected));
    let Expected::Status(status) = row.expected else {
        return offence();
    };
    let begin = format!("HTTP/1.1 {status} ");
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return offence();
    };
    let length = format!("\r\nContent-Length: {}\r\n", body.len());
    let is_right = head.starts_with(&begin)
        && head.contains(&length)
        && head.contains("\r\nConnection: close");
    if is_right { Ok(()) } else { offence() }
}

/// With a path that takes bodies, for a handler that nobody serves: what is well-formed there has 503.
fn world(change: impl FnOnce(&mut lariat::edge::Config)) -> World {
    World::start(|config| {
        let mut route = Route::new("/ask".parse::<Pattern>().expect("it is a path"));
        route.kind = Kind::Request;
        route.handler = Some("nobody".parse().expect("it is a name"));
        config.routes.push(Arc::new(route));
        change(config);
    })
}

fn is_well(world: &World, witness: &mut Client) {
    assert_eq!(world.send(WITNESS, Message::new("still here")), 1);
    witness.read_until(b"still here\r\n");
}

#[test]
fn every_row_has_its_answer_and_nobody_else_notices() {
    let table = table();
    assert!(table.len() >= 200);
    let world = world(|_| {});
    let mut witness = world.stream(WITNESS, "");
    let mut offences = Vec::new();
    for row in &table {
        if row.expected == Expected::Status(408) {
            continue;
        }
        let mut client = world.client(&row.bytes);
        let judged = match row.expected {
            Expected::Held => {
                let head = client.read_until(b"\r\n\r\n");
                let is_held = head.starts_with("HTTP/1.1 200 ");
                is_held
                    .then_some(())
                    .ok_or(format!("line {}: {head:?}", row.line))
            }
            Expected::Closed => {
                let closing = client.stream.shutdown(Shutdown::Write);
                closing.expect("it is connected");
                let answer = client.read_to_end();
                let is_silent = answer.is_empty();
                is_silent
                    .then_some(())
                    .ok_or(format!("line {}: {answer:?}", row.line))
            }
            Expected::Status(_) => judge(row, &client.read_to_end()),
        };
        offences.extend(judged.err());
        drop(client);
        is_well(&world, &mut witness);
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn heads_that_stop_end_at_the_deadline() {
    let table = table();
    let world = world(|config| {
        config.head_timeout = Duration::from_secs(1);
        config.body_timeout = Duration::from_secs(1);
    });
    let mut witness = patient_stream(&world);
    let slow = |row: &&Row| row.expected == Expected::Status(408);
    let clients: Vec<_> = table
        .iter()
        .filter(slow)
        .map(|row| (row, world.client(&row.bytes)))
        .collect();
    assert!(!clients.is_empty());
    for (row, mut client) in clients {
        judge(row, &client.read_to_end()).expect("the deadline answers");
        is_well(&world, &mut witness);
    }
}

#[test]
fn heads_that_drip_end_at_the_deadline_too() {
    let world = World::start(|config| config.head_timeout = Duration::from_secs(1));
    let mut witness = patient_stream(&world);
    let begin = "GET /stream/1 HTTP/1.1\r\nHost: a\r\n";
    // Byte by byte within a line, line by line, and empty lines for ever.
    for (begin, drip) in [(begin, "x"), (begin, "X: y\r\n"), ("", "\r\n"), ("", "G")] {
        let mut client = world.client(begin);
        let row = Row {
            line: 0,
            expected: Expected::Status(408),
            bytes: drip.into(),
        };
        let answer = drip_until_answered(&mut client, drip);
        judge(&row, &answer).expect("the deadline answers");
        is_well(&world, &mut witness);
    }
}

/// Sends a little each time that nothing has come for a moment: never fast enough for the head to
/// become too large, and always before a deadline that began anew with each read.
fn drip_until_answered(client: &mut Client, drip: &str) -> String {
    let moment = Duration::from_millis(30);
    let begun = Instant::now();
    client
        .stream
        .set_read_timeout(Some(moment))
        .expect("a deadline can be set");
    while client.stream.peek(&mut [0]).is_err() {
        assert!(begun.elapsed() < DEADLINE, "dripping is answered");
        client.write(drip);
    }
    client
        .stream
        .set_read_timeout(Some(DEADLINE))
        .expect("a deadline can be set");
    client.read_to_end()
}

/// A stream for a world whose deadline of heads a slow machine may miss: tried until it is held.
fn patient_stream(world: &World) -> Client {
    let begun = Instant::now();
    loop {
        let request = format!("GET /stream/{WITNESS} HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut client = world.client(request);
        if client.read_until(b"\r\n\r\n").starts_with("HTTP/1.1 200") {
            return client;
        }
        assert!(
            begun.elapsed() < DEADLINE,
            "a stream is held sooner or later"
        );
    }
}
