//! Slow readers: what a client receives is a beginning of what was sent, or says where it is not.
//!
//! One connection of each policy and framing against random rooms of its socket; many against the limit
//! of all outboxes. The client here reads frames apart by itself.

use std::io::IoSlice;

use foldhash::fast::FixedState;
use proptest::prelude::*;

use super::{Framing, Hub, Limits, Output, Sockets, WhenFull};
use crate::wire::{Conn, Id, Ids, Message, Reason, Transport};

const LIMITS: Limits = Limits {
    connections_per_id_max: 3,
    outbox_bytes_max: 120,
    outbox_messages_max: 5,
    outbox_total_bytes_max: 100_000,
};

/// Sockets that have so much room together, and keep what slot 0 received.
struct Narrow {
    room: usize,
    received: Vec<u8>,
}

impl Sockets for Narrow {
    fn write(&mut self, slot: u32, bytes: &[u8]) -> Option<usize> {
        let count = bytes.len().min(self.room);
        self.room -= count;
        if slot == 0 {
            self.received.extend_from_slice(&bytes[..count]);
        }
        Some(count)
    }

    fn write_vectored(&mut self, slot: u32, pieces: &[IoSlice<'_>]) -> Option<usize> {
        let whole: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_vec()).collect();
        self.write(slot, &whole)
    }
}

/// What a client makes of the body.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Message(u64),
    Gap(u64),
}

/// Takes the chunks apart, if there are any: their extensions and contents.
fn chunks(mut body: &str) -> Vec<(&str, &str)> {
    let mut chunks = Vec::new();
    while !body.is_empty() {
        let (head, rest) = body.split_once("\r\n").expect("a chunk has a head");
        let (size, extension) = head.split_once(';').unwrap_or((head, ""));
        let size = usize::from_str_radix(size, 16).expect("a size is hexadecimal");
        chunks.push((extension, &rest[..size]));
        body = rest[size..].strip_prefix("\r\n").expect("a chunk ends");
    }
    chunks
}

/// Those of connections that always have a socket; polls have laws of their own.
fn streams() -> Vec<Framing> {
    let is_stream = |framing: &Framing| *framing != Framing::Poll;
    Framing::ALL.into_iter().filter(is_stream).collect()
}

fn heard(framing: Framing, body: &[u8]) -> Vec<Heard> {
    if framing.transport() == Transport::Websocket {
        return messages(body)
            .map(|text| match text.strip_prefix("{\"gap\":") {
                Some(lost) => Heard::Gap(lost.trim_end_matches('}').parse().expect("a number")),
                None => Heard::Message(text.trim_start_matches('-').parse().expect("a number")),
            })
            .collect();
    }
    let body = std::str::from_utf8(body).expect("all of it is text");
    let number = |text: &str| text.trim_start_matches('-').parse().expect("a number");
    let event = |event: &str| match event.strip_prefix("event: gap\ndata: ") {
        Some(lost) => Heard::Gap(number(lost)),
        None => Heard::Message(number(event.strip_prefix("data: ").expect("an event"))),
    };
    let events = |body: &str| -> Vec<Heard> {
        let events = body.split_terminator("\n\n");
        events.map(event).collect()
    };
    match framing {
        Framing::Plain => body
            .split_terminator('.')
            .map(|text| Heard::Message(number(text)))
            .collect(),
        Framing::PlainSse => events(body),
        Framing::ChunkedSse => chunks(body)
            .iter()
            .flat_map(|(_, event)| events(event))
            .collect(),
        Framing::Chunked => chunks(body)
            .into_iter()
            .map(|(extension, text)| match extension.strip_prefix("lost=") {
                Some(lost) => Heard::Gap(number(lost)),
                None => Heard::Message(number(text)),
            })
            .collect(),
        _ => unreachable!("it is a WebSocket"),
    }
}

/// Of unmasked frames with short lengths.
fn messages(mut body: &[u8]) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        while let Some(rest) = body.strip_prefix(b"\x8a\x01!") {
            body = rest;
        }
        let [opcode, length, rest @ ..] = body else {
            assert!(body.is_empty(), "frames are whole");
            return None;
        };
        assert_eq!(*opcode, 0x81);
        let (text, behind) = rest.split_at(usize::from(*length));
        body = behind;
        Some(std::str::from_utf8(text).expect("it is text"))
    })
}

/// The nth message: its number, as long as the case says.
fn message(framing: Framing, number: u64, length: usize) -> Message {
    let end = if framing == Framing::Plain { "." } else { "" };
    Message::new(format!("{number:->length$}{end}"))
}

proptest! {
    #[test]
    fn a_gap_says_exactly_what_is_missing_where_it_is(
        framing in prop::sample::select(streams()),
        when_full in prop::sample::select(WhenFull::ALL.to_vec()),
        steps in prop::collection::vec((0..4_u8, 0..60_usize), 0..60),
    ) {
        let mut hub = Hub::new(0, LIMITS, FixedState::with_seed(1));
        let conn = hub.insert(Id::Int(1), framing, when_full).expect("it is the first");
        let mut sockets = Narrow { room: 0, received: Vec::new() };
        let mut sent = 0;
        let mut is_told = false;
        for (step, size) in steps {
            match step {
                0 => {
                    sockets.room = size;
                    hub.handle_writable(conn.slot, &mut sockets);
                }
                3 if framing.transport() == Transport::Websocket => {
                    hub.handle_aside(conn.slot, b"\x8a\x01!", &mut sockets);
                }
                _ => {
                    sent += 1;
                    let message = message(framing, sent, size.max(4));
                    hub.handle_message(&Ids::One(Id::Int(1)), &message, &mut sockets);
                }
            }
            let frame_max = 60 + 40;
            prop_assert!(hub.queued_bytes() <= LIMITS.outbox_bytes_max + 2 * frame_max);
            while let Some(output) = hub.poll_output() {
                match output {
                    Output::Congested { .. } => prop_assert!(!std::mem::replace(&mut is_told, true)),
                    Output::Drained { .. } => prop_assert!(std::mem::replace(&mut is_told, false)),
                    _ => {}
                }
            }
        }
        sockets.room = usize::MAX;
        if hub.is_held(conn) {
            hub.handle_writable(conn.slot, &mut sockets);
            prop_assert_eq!((hub.queued_bytes(), hub.congested()), (0, 0));
        } else {
            prop_assert_eq!(when_full, WhenFull::Close);
            return Ok(());
        }
        let lost = hub.take_lost();
        let (mut next, mut missing) = (1, 0);
        for heard in heard(framing, &sockets.received) {
            match heard {
                Heard::Message(number) if framing == Framing::Plain => {
                    prop_assert!(number >= next);
                    missing += number - next;
                    next = number + 1;
                }
                Heard::Message(number) => {
                    prop_assert_eq!(number, next);
                    next += 1;
                }
                Heard::Gap(count) => {
                    prop_assert!(count > 0);
                    missing += count;
                    next += count;
                }
            }
        }
        if framing == Framing::Plain {
            missing += sent + 1 - next;
        } else {
            prop_assert_eq!(next, sent + 1, "what is missing at the end is told, too");
        }
        prop_assert_eq!(lost.oldest + lost.newest + lost.replaced + lost.total, missing);
    }
}

/// Whoever has least waiting keeps it: the limit of all is paid by the fullest.
#[test]
fn the_limit_of_all_is_paid_by_the_worst() {
    for worst in WhenFull::ALL {
        let limits = Limits {
            outbox_bytes_max: 1 << 20,
            outbox_messages_max: 1000,
            outbox_total_bytes_max: 10_000,
            ..LIMITS
        };
        let mut hub = Hub::new(0, limits, FixedState::with_seed(1));
        let mut open = |id, when_full| hub.insert(Id::Int(id), Framing::Plain, when_full);
        let hog = open(1, worst).expect("it is the first");
        let modest: Vec<Conn> = (2..12)
            .map(|id| open(id, WhenFull::Close).expect("ids have one each"))
            .collect();
        let mut sockets = Narrow {
            room: 0,
            received: Vec::new(),
        };
        let mut send = |hub: &mut Hub<FixedState>, ids, length: usize| {
            hub.handle_message(&ids, &Message::new("x".repeat(length)), &mut sockets)
        };
        send(&mut hub, Ids::Ints((2..12).collect()), 100);
        let mut sent = 0;
        while hub.queued_bytes() + 1000 <= 10_000 && worst != WhenFull::KeepLatest {
            send(&mut hub, Ids::One(Id::Int(1)), 1000);
            sent += 1;
        }
        if worst == WhenFull::KeepLatest {
            send(&mut hub, Ids::One(Id::Int(1)), 8500);
            sent = 1;
        }
        // One of the modest asks for a little more than there is.
        let result = send(&mut hub, Ids::One(Id::Int(2)), 900);
        assert_eq!(
            (result.connections, result.outbox_total),
            (1, 0),
            "{worst:?}"
        );
        assert_eq!(hub.queued_bytes(), 10 * 100 + 900);
        assert!(modest.iter().all(|conn| hub.is_held(*conn)));
        if worst == WhenFull::Close {
            assert!(!hub.is_held(hog));
            let reasons =
                std::iter::from_fn(|| hub.poll_output()).filter_map(|output| match output {
                    Output::Gone { reason, unsent, .. } => Some((reason, unsent)),
                    _ => None,
                });
            assert_eq!(reasons.collect::<Vec<_>>(), [(Reason::OutboxTotal, sent)]);
        } else {
            assert!(hub.is_held(hog));
            assert_eq!(hub.take_lost().total, sent as u64);
        }
    }
}
