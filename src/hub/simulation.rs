//! Random lives of connections, held against a model: nothing is lost, doubled or reordered.
//!
//! The sockets are ours and take as many bytes as the case says. The model is a list of frames
//! that each connection should have received; what did arrive must be a beginning of it, and the
//! rest must be exactly what the hub says is queued. No conn is ever given twice, and the tables are
//! in proportion to what they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;

use foldhash::fast::FixedState;
use proptest::prelude::*;

use super::{Farewell, Framing, Hub, Limits, Output, Roomy, Sockets, WhenFull};
use crate::wire::{Conn, Id, Ids, Lent, Message, Reason};

const LIMITS: Limits = Limits {
    connections_per_id_max: 3,
    outbox_bytes_max: 200,
    outbox_messages_max: 4,
    outbox_total_bytes_max: 500,
};

#[derive(Clone, Debug)]
enum Step {
    Open {
        id: i64,
        framing: Framing,
        room: usize,
    },
    Send {
        ids: Vec<i64>,
        length: usize,
    },
    Signal {
        nth: usize,
        length: usize,
    },
    Writable {
        nth: usize,
        room: usize,
    },
    Break {
        nth: usize,
    },
    Gone {
        nth: usize,
    },
    Close {
        id: i64,
    },
    Sweep {
        count: u32,
    },
    Drain {
        count: usize,
    },
    Wave {
        count: usize,
        leave: usize,
    },
    Lose,
}

fn step() -> impl Strategy<Value = Step> {
    let framing = prop::sample::select(vec![
        Framing::Chunked,
        Framing::ChunkedSse,
        Framing::Plain,
        Framing::PlainSse,
        Framing::WebSocket,
    ]);
    prop_oneof![
        4 => (0..4_i64, framing, 0..400_usize)
            .prop_map(|(id, framing, room)| Step::Open { id, framing, room }),
        8 => (prop::collection::vec(0..5_i64, 0..4), 0..120_usize)
            .prop_map(|(ids, length)| Step::Send { ids, length }),
        2 => (0..8_usize, 0..120_usize).prop_map(|(nth, length)| Step::Signal { nth, length }),
        6 => (0..8_usize, 0..300_usize).prop_map(|(nth, room)| Step::Writable { nth, room }),
        1 => (0..8_usize).prop_map(|nth| Step::Break { nth }),
        1 => (0..8_usize).prop_map(|nth| Step::Gone { nth }),
        1 => (0..4_i64).prop_map(|id| Step::Close { id }),
        2 => (0..8_u32).prop_map(|count| Step::Sweep { count }),
        1 => (0..3_usize).prop_map(|count| Step::Drain { count }),
        1 => (0..40_usize, 0..60_usize).prop_map(|(count, leave)| Step::Wave { count, leave }),
        1 => Just(Step::Lose),
    ]
}

/// Sockets that take what they have room for and remember it.
#[derive(Default)]
struct Fakes(BTreeMap<u32, Fake>);

#[derive(Default)]
struct Fake {
    room: usize,
    received: Vec<u8>,
    is_broken: bool,
}

impl Sockets for Fakes {
    fn write(&mut self, slot: u32, bytes: &[u8]) -> Option<usize> {
        let fake = self
            .0
            .get_mut(&slot)
            .expect("the hub writes to open sockets only");
        if fake.is_broken {
            return None;
        }
        let count = bytes.len().min(fake.room);
        fake.room -= count;
        fake.received.extend_from_slice(&bytes[..count]);
        Some(count)
    }

    fn write_vectored(&mut self, slot: u32, pieces: &[IoSlice<'_>]) -> Option<usize> {
        let whole: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_vec()).collect();
        self.write(slot, &whole)
    }
}

/// What a connection should have received.
struct Expected {
    id: i64,
    framing: Framing,
    bytes: Vec<u8>,
    is_ending: bool,
}

struct World {
    hub: Hub<FixedState>,
    sockets: Fakes,
    open: BTreeMap<Conn, Expected>,
    /// Every conn that there has been.
    given: BTreeSet<Conn>,
    letter: u8,
}

impl World {
    fn nth(&self, nth: usize) -> Option<Conn> {
        self.open.keys().nth(nth).copied()
    }

    fn message(&mut self, length: usize) -> Message {
        self.letter = (self.letter + 1) % 26;
        Message::new(vec![b'a' + self.letter; length])
    }

    /// Of every other letter, as if somebody had lent it.
    fn own(message: &Message) -> Option<Roomy> {
        let is_lent = message
            .payload
            .first()
            .is_some_and(|letter| letter % 2 == 0);
        let lent = Lent {
            whole: None,
            ..message.into()
        };
        is_lent.then(|| Roomy::of(lent)).flatten()
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Open { id, framing, room } => self.open(id, framing, room),
            Step::Send { ids, length } => {
                let message = self.message(length);
                for &id in &ids {
                    for expected in self.open.values_mut().filter(|expected| expected.id == id) {
                        expected.push(&message);
                    }
                }
                let (ids, sockets) = (Ids::Ints(ids), &mut self.sockets);
                match Self::own(&message) {
                    Some(own) => self.hub.handle_own_message(&ids, own, sockets),
                    None => self.hub.handle_message(&ids, &message, sockets),
                };
            }
            Step::Signal { nth, length } => {
                let Some(conn) = self.nth(nth) else { return };
                let message = self.message(length);
                self.open.get_mut(&conn).expect("it is open").push(&message);
                let sent = match Self::own(&message) {
                    Some(own) => self.hub.handle_own_signal(conn, own, &mut self.sockets),
                    None => self.hub.handle_signal(conn, &message, &mut self.sockets),
                };
                assert!(sent.is_some());
                let stale = Conn {
                    generation: conn.generation + 1,
                    ..conn
                };
                assert!(
                    self.hub
                        .handle_signal(stale, &message, &mut self.sockets)
                        .is_none()
                );
            }
            Step::Writable { nth, room } => {
                let Some(conn) = self.nth(nth) else { return };
                self.sockets.0.get_mut(&conn.slot).expect("it is open").room += room;
                self.hub.handle_writable(conn.slot, &mut self.sockets);
            }
            Step::Break { nth } => {
                let Some(conn) = self.nth(nth) else { return };
                self.sockets
                    .0
                    .get_mut(&conn.slot)
                    .expect("it is open")
                    .is_broken = true;
            }
            Step::Gone { nth } => {
                let Some(conn) = self.nth(nth) else { return };
                self.hub.handle_gone(conn.slot, Reason::Client);
            }
            Step::Close { id } => {
                for expected in self.open.values_mut().filter(|expected| expected.id == id) {
                    expected.end();
                }
                self.hub
                    .handle_close(&Id::Int(id), &Reason::Drain, &mut self.sockets);
            }
            // Heartbeats go to connections without an outbox: they would blur the comparison.
            Step::Sweep { count } => {
                self.hub.handle_sweep(count, |_| false, &mut self.sockets);
            }
            Step::Drain { count } => {
                let before = self
                    .open
                    .values()
                    .filter(|expected| !expected.is_ending)
                    .count();
                let closed =
                    self.hub
                        .handle_drain(count, &Reason::Drain, || 1234, &mut self.sockets);
                assert_eq!(closed, count.min(before));
                for (conn, expected) in &mut self.open {
                    let is_ending = |hub: &Hub<FixedState>| {
                        hub.slots.get(conn.slot).is_none_or(|held| held.is_ending())
                    };
                    if is_ending(&self.hub) {
                        expected.end();
                    }
                }
            }
            // Ids of their own, so that the limit on an id's connections does not keep it small.
            Step::Wave { count, leave } => {
                for nth in 0..count {
                    let id = 1000 + i64::try_from(nth / LIMITS.connections_per_id_max).unwrap();
                    self.open(id, Framing::Chunked, 400);
                }
                for _ in 0..leave {
                    let Some(&conn) = self.open.keys().next_back() else {
                        break;
                    };
                    self.hub.handle_gone(conn.slot, Reason::Client);
                    self.settle();
                }
            }
            Step::Lose => {
                self.hub = self.hub.successor();
                self.sockets.0.clear();
                self.open.clear();
            }
        }
        self.settle();
    }

    fn open(&mut self, id: i64, framing: Framing, room: usize) {
        let of_id = self
            .open
            .values()
            .filter(|expected| expected.id == id)
            .count();
        match self.hub.insert(Id::Int(id), framing, WhenFull::Close) {
            Err(_) => assert_eq!(of_id, LIMITS.connections_per_id_max),
            Ok(conn) => {
                assert!(of_id < LIMITS.connections_per_id_max);
                let fake = Fake {
                    room,
                    ..Fake::default()
                };
                assert!(
                    self.sockets.0.insert(conn.slot, fake).is_none(),
                    "the slot was free"
                );
                let bytes = b"greeting".to_vec();
                let expected = Expected {
                    id,
                    framing,
                    bytes,
                    is_ending: false,
                };
                assert!(
                    self.open.insert(conn, expected).is_none(),
                    "the conn was free"
                );
                assert!(self.given.insert(conn), "{conn:?} was given before");
                self.hub.handle_opened(conn, b"greeting", &mut self.sockets);
            }
        }
    }

    /// Takes the outputs and compares hub and model.
    fn settle(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            if let Output::Gone {
                conn, id, reason, ..
            } = output
            {
                let expected = self.open.remove(&conn).expect("only open connections go");
                assert_eq!(id, Id::Int(expected.id));
                let fake = self.sockets.0.remove(&conn.slot).expect("it had a socket");
                // With a goodbye, of a drain or of another close: a beginning of either arrived.
                let goodbye = |retry_ms| {
                    let farewell = Farewell {
                        retry_ms,
                        code: None,
                    };
                    expected.framing.goodbye(&reason, farewell)
                };
                let is_beginning = |retry_ms| {
                    let all = [&expected.bytes, &*goodbye(retry_ms)].concat();
                    all.starts_with(&fake.received)
                };
                assert!(
                    is_beginning(None) || is_beginning(Some(1234)),
                    "what arrived is a beginning"
                );
            }
        }
        let mut queued = 0;
        for (conn, expected) in &self.open {
            let received = &self.sockets.0[&conn.slot].received;
            assert!(
                expected.bytes.starts_with(received),
                "{conn:?}: nothing doubled or reordered"
            );
            queued += expected.bytes.len() - received.len();
            assert!(self.hub.connections(&Id::Int(expected.id)).contains(conn));
        }
        assert_eq!(self.hub.queued_bytes(), queued);
        assert_eq!(self.hub.held(), self.open.len());
        assert!(queued <= LIMITS.outbox_total_bytes_max);
        for conn in &self.given {
            assert_eq!(self.hub.is_held(*conn), self.open.contains_key(conn));
        }
        self.hub.slots.check();
        let ids: BTreeSet<i64> = self.open.values().map(|expected| expected.id).collect();
        assert!(self.hub.index.capacity() <= 16 * ids.len().max(1));
        let walked = std::iter::successors(self.hub.next_held(0), |(conn, ..)| {
            self.hub.next_held(conn.slot + 1)
        });
        assert!(walked.map(|(conn, ..)| conn).eq(self.by_slot()));
    }

    fn by_slot(&self) -> Vec<Conn> {
        let mut conns: Vec<Conn> = self.open.keys().copied().collect();
        conns.sort_by_key(|conn| conn.slot);
        conns
    }
}

impl Expected {
    fn push(&mut self, message: &Message) {
        if !self.is_ending {
            self.framing.frame(message.into(), &mut self.bytes);
        }
    }

    fn end(&mut self) {
        self.is_ending = true;
    }
}

proptest! {
    #[test]
    fn the_hub_agrees_with_the_model(steps in prop::collection::vec(step(), 0..80)) {
        let hub = Hub::new(0, LIMITS, FixedState::default());
        let mut world = World {
            hub,
            sockets: Fakes::default(),
            open: BTreeMap::new(),
            given: BTreeSet::new(),
            letter: 0,
        };
        for step in steps {
            world.run(step);
        }
    }
}
