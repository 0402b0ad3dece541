//! Random lives of long polls, held against a model: whoever follows the cursors gets every message
//! once and in order, also when answers are lost on their way, or is told how many it misses.
//!
//! The client here keeps a cursor and a list; the socket takes as many bytes as the case says, and an
//! answer that has not come whole was none. Time passes as the case says.

use std::io::IoSlice;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use foldhash::fast::FixedState;
use proptest::prelude::*;
use serde_json::Value;

use super::super::{Ask, Hub, Limits, Output, Polled, Sockets, WhenFull};
use crate::hub::Framing;
use crate::wire::{Conn, Id, Ids, Message, Reason};

const ID: i64 = 7;
const WAIT: Duration = Duration::from_secs(25);
const LINGER: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
enum Step {
    /// So many messages of such a length come together.
    Send {
        count: u8,
        length: usize,
    },
    /// The client asks; its socket takes so many bytes at once.
    Ask {
        room: usize,
    },
    /// It does not take the answer that comes first.
    Break,
    Writable {
        room: usize,
    },
    Pass {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..6_u8, 0..60_usize).prop_map(|(count, length)| Step::Send { count, length }),
        6 => prop::sample::select(vec![0, 100, 300, 100_000]).prop_map(|room| Step::Ask { room }),
        1 => Just(Step::Break),
        2 => (0..400_usize).prop_map(|room| Step::Writable { room }),
        2 => prop::sample::select(vec![1, 10, 26, 59, 61]).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

/// The socket of the one client; closed when `received` is `None`.
#[derive(Default)]
struct Socket {
    room: usize,
    is_open: bool,
    received: Vec<u8>,
}

impl Sockets for Socket {
    fn write(&mut self, _: u32, bytes: &[u8]) -> Option<usize> {
        assert!(self.is_open, "the hub writes to open sockets only");
        let count = bytes.len().min(self.room);
        self.room -= count;
        self.received.extend_from_slice(&bytes[..count]);
        Some(count)
    }

    fn write_vectored(&mut self, _: u32, _: &[IoSlice<'_>]) -> Option<usize> {
        unreachable!("polls write whole answers")
    }
}

struct World {
    hub: Hub<FixedState>,
    socket: Socket,
    when_full: WhenFull,
    conn: Option<Conn>,
    keys: u64,
    /// Messages that have been sent; each begins with its number.
    sent: u64,
    cursor: Option<String>,
    /// The number of the message that comes next; `None` until one has come after a new cursor.
    next: Option<u64>,
    /// Whether the connection has gone, or an answer was lost while there were many messages: then the
    /// cursor may be too old.
    may_be_old: bool,
    /// Messages since the present cursor, at least.
    since: u64,
    /// Messages that had been sent when the client asked last.
    asked_at: u64,
    polled: Polled,
    statuses: Vec<u16>,
}

impl World {
    fn new(when_full: WhenFull) -> World {
        let limits = Limits {
            connections_per_id_max: 3,
            outbox_bytes_max: 600,
            outbox_messages_max: 8,
            outbox_total_bytes_max: 1500,
        };
        let mut hub = Hub::new(0, limits, FixedState::with_seed(1));
        hub.set_poll_linger(LINGER);
        World {
            hub,
            socket: Socket::default(),
            when_full,
            conn: None,
            keys: 0,
            sent: 0,
            cursor: None,
            next: None,
            may_be_old: false,
            since: 0,
            asked_at: 0,
            polled: Polled::default(),
            statuses: Vec::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Send { count, length } => {
                for _ in 0..count {
                    let text = format!("{:06}{}", self.sent, "x".repeat(length));
                    self.sent += 1;
                    self.since += 1;
                    self.may_be_old |= self.is_much();
                    let ids = Ids::One(Id::Int(ID));
                    self.hub
                        .handle_message(&ids, &Message::new(text), &mut self.socket);
                }
            }
            Step::Ask { room } => self.ask(room),
            Step::Break => {
                if self.socket.is_open
                    && let Some(conn) = self.conn
                {
                    self.hub.handle_gone(conn.slot, Reason::Client);
                }
            }
            Step::Writable { room } => {
                self.socket.room = room;
                if self.socket.is_open
                    && let Some(conn) = self.conn
                {
                    self.hub.handle_writable(conn.slot, &mut self.socket);
                }
            }
            Step::Pass { seconds } => {
                let elapsed = Duration::from_secs(seconds);
                let date = SystemTime::UNIX_EPOCH;
                self.hub.handle_poll_time(elapsed, date, &mut self.socket);
            }
        }
        self.end_of_turn();
    }

    /// Eight messages, or some 600 bytes, fill an outbox that may drop nothing.
    fn is_much(&self) -> bool {
        matches!(self.when_full, WhenFull::Close | WhenFull::DropNewest) && self.since > 5
    }

    fn ask(&mut self, room: usize) {
        let id = Id::Int(ID);
        self.keys += 1;
        self.asked_at = self.sent;
        // Whoever asks again has given up what was on its way.
        self.socket.received.clear();
        let ask = Ask {
            after: self.cursor.as_ref().map(|text| text.parse()),
            wait: WAIT,
            key: self.keys,
            fields: Bytes::new(),
        };
        let conn = match self.hub.poll_of(&id, &ask) {
            Some(conn) => {
                self.hub.handle_poll_replaced(conn, &mut self.socket);
                self.outputs();
                conn
            }
            None => {
                // It asks on another connection than before, which goes at its time.
                if let Some(conn) = self.conn.take()
                    && self.hub.is_held(conn)
                {
                    self.hub.handle_abort_conn(conn, Reason::Drain);
                    self.outputs();
                }
                self.next = None;
                self.hub
                    .insert(id, Framing::Poll, self.when_full)
                    .expect("there is room")
            }
        };
        self.conn = Some(conn);
        self.socket = Socket {
            room,
            is_open: true,
            received: Vec::new(),
        };
        self.hub.handle_poll(conn, ask, &mut self.socket);
    }

    fn end_of_turn(&mut self) {
        self.hub.handle_ready_polls(&mut self.socket);
        self.outputs();
        let polled = self.hub.take_polled();
        self.polled.told += polled.told;
        self.polled.anew += polled.anew;
    }

    fn outputs(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Answered(_) => {
                    self.socket.is_open = false;
                    let received = std::mem::take(&mut self.socket.received);
                    self.hear(&received);
                }
                Output::Gone { conn, .. } if self.conn == Some(conn) => {
                    self.may_be_old = true;
                    self.conn = None;
                    self.socket.is_open = false;
                }
                _ => {}
            }
        }
    }

    /// What the client makes of an answer; half of one is none.
    fn hear(&mut self, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).expect("answers are text");
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            return;
        };
        let status: u16 = head[9..12].parse().expect("a status");
        self.statuses.push(status);
        if status == 204 || status == 409 {
            return;
        }
        if !body.ends_with('\n') {
            return;
        }
        let json: Value = serde_json::from_str(body).expect("it is whole");
        self.cursor = Some(json["cursor"].as_str().expect("a cursor").to_owned());
        if status == 410 {
            assert!(self.may_be_old, "the cursor was given a moment ago");
            // From here on; what was before is to be fetched elsewhere.
            self.next = None;
        }
        self.since = self.sent - self.asked_at;
        self.may_be_old = self.is_much();
        for message in json["messages"].as_array().expect("messages") {
            if let Some(lost) = message["gap"].as_u64() {
                assert_ne!(self.when_full, WhenFull::Close);
                self.next = self.next.map(|next| next + lost);
                continue;
            }
            let text = message["text"].as_str().expect("they are text");
            let number: u64 = text[..6].parse().expect("a number");
            assert_eq!(self.next.unwrap_or(number), number, "lost or doubled");
            self.next = Some(number + 1);
        }
    }
}

proptest! {
    #[test]
    fn who_follows_the_cursors_misses_nothing_and_gets_nothing_twice(
        steps in prop::collection::vec(step(), 0..80),
        when_full in prop::sample::select(WhenFull::ALL.to_vec()),
    ) {
        let mut world = World::new(when_full);
        for step in &steps {
            world.step(step);
        }
        // In the end all that was sent has come, or is said not to have.
        for _ in 0..60 {
            world.step(&Step::Ask { room: 100_000 });
            world.step(&Step::Pass { seconds: 1 });
        }
        world.step(&Step::Send { count: 1, length: 0 });
        world.step(&Step::Ask { room: 100_000 });
        prop_assert_eq!(world.next, Some(world.sent));
        world.step(&Step::Ask { room: 100_000 });
        prop_assert_eq!((world.hub.queued_bytes(), world.hub.congested()), (0, 0));
        world.step(&Step::Pass { seconds: 26 });
        world.step(&Step::Pass { seconds: 61 });
        prop_assert_eq!(world.hub.held(), 0, "who stays away is gone");
        prop_assert!(world.hub.polls.rows.is_empty() && world.hub.polls.due.is_empty());
    }
}

#[test]
fn an_answer_that_is_lost_is_said_again() {
    let mut world = World::new(WhenFull::Close);
    world.step(&Step::Ask { room: 1000 });
    let begun = world.cursor.clone().expect("the first answer has a cursor");
    world.step(&Step::Send {
        count: 3,
        length: 0,
    });
    world.step(&Step::Ask { room: 100 });
    // The socket took a part, and then it broke.
    world.step(&Step::Break);
    assert_eq!(world.cursor, Some(begun));
    world.step(&Step::Ask { room: 1000 });
    assert_eq!((world.next, world.polled.anew), (Some(3), 0));
}

#[test]
fn a_wait_ends_with_nothing_and_an_absence_with_the_connection() {
    let mut world = World::new(WhenFull::Close);
    world.step(&Step::Ask { room: 1000 });
    world.step(&Step::Ask { room: 1000 });
    world.step(&Step::Pass { seconds: 24 });
    assert!(world.socket.is_open);
    world.step(&Step::Pass { seconds: 1 });
    assert_eq!(world.statuses, [200, 204]);
    world.step(&Step::Send {
        count: 1,
        length: 0,
    });
    world.step(&Step::Pass { seconds: 59 });
    assert_eq!(world.hub.held(), 1);
    world.step(&Step::Pass { seconds: 1 });
    assert_eq!(world.hub.held(), 0);
    world.step(&Step::Ask { room: 1000 });
    assert_eq!(world.statuses, [200, 204, 410]);
}

#[test]
fn a_full_outbox_closes_and_the_next_poll_hears_of_it() {
    let mut world = World::new(WhenFull::Close);
    world.step(&Step::Ask { room: 1000 });
    world.step(&Step::Send {
        count: 9,
        length: 0,
    });
    assert_eq!(world.hub.held(), 0);
    world.step(&Step::Ask { room: 1000 });
    assert_eq!(world.statuses, [200, 410]);
    // What has been told makes room first.
    let mut world = World::new(WhenFull::Close);
    world.step(&Step::Ask { room: 1000 });
    world.step(&Step::Send {
        count: 8,
        length: 0,
    });
    world.step(&Step::Ask { room: 10_000 });
    world.step(&Step::Send {
        count: 8,
        length: 0,
    });
    world.step(&Step::Ask { room: 10_000 });
    assert_eq!((world.next, world.polled.anew), (Some(16), 0));
}

#[test]
fn a_second_poll_takes_the_place_of_the_first() {
    let mut world = World::new(WhenFull::Close);
    world.step(&Step::Ask { room: 1000 });
    world.step(&Step::Ask { room: 1000 });
    world.step(&Step::Ask { room: 1000 });
    assert_eq!(world.statuses, [200, 409]);
    world.step(&Step::Send {
        count: 1,
        length: 0,
    });
    assert_eq!((world.statuses.last(), world.next), (Some(&200), Some(1)));
}

#[test]
fn an_end_answers_whoever_waits() {
    let mut world = World::new(WhenFull::Close);
    world.step(&Step::Ask { room: 1000 });
    world.step(&Step::Ask { room: 1000 });
    let hub = &mut world.hub;
    assert_eq!(
        hub.handle_drain(1, &Reason::Drain, || 1500, &mut world.socket),
        1
    );
    let text = String::from_utf8(world.socket.received.clone()).expect("it is text");
    assert!(
        text.starts_with("HTTP/1.1 204") && text.contains("Retry-After: 2"),
        "{text}"
    );
    world.end_of_turn();
    assert_eq!(world.hub.held(), 0);
}

#[test]
fn cursors_of_others_are_nobodys() {
    let mut world = World::new(WhenFull::Close);
    world.step(&Step::Ask { room: 1000 });
    let cursor = world.cursor.clone().expect("a cursor");
    let ask = |text: &str| Ask {
        after: Some(text.parse()),
        wait: WAIT,
        key: 0,
        fields: Bytes::new(),
    };
    let is_known = |id: i64, text: &str| world.hub.poll_of(&Id::Int(id), &ask(text)).is_some();
    assert!(is_known(ID, &cursor));
    assert!(!is_known(ID + 1, &cursor), "of another id");
    for other in [
        "",
        "0-0-0",
        "x",
        &cursor.replace("-0000000000000001-", "-0000000000000002-"),
    ] {
        assert!(!is_known(ID, other), "{other}");
    }
    let ahead = format!("{}1", &cursor[..cursor.len() - 1]);
    assert!(!is_known(ID, &ahead), "of what has not been told");
}
