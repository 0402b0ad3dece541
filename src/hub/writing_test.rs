//! How the hub writes: which calls, from which memory, and where it goes on.
//!
//! What arrives is the simulation's affair; here it is what that costs.

use std::io::IoSlice;

use foldhash::fast::FixedState;

use super::{Framing, Hub, Limits, Output, Roomy, Sockets, WhenFull};
use crate::wire::{Conn, Id, Ids, Lent, Message};

/// One call to a socket: the slot, and address and length of each piece.
type Call = (u32, Vec<(usize, usize)>);

/// Sockets that take `room` bytes each call, and note the calls.
struct Noting {
    room: usize,
    calls: Vec<Call>,
}

impl Noting {
    fn take(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls)
    }
}

impl Sockets for Noting {
    fn write(&mut self, slot: u32, bytes: &[u8]) -> Option<usize> {
        self.write_vectored(slot, &[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slot: u32, pieces: &[IoSlice<'_>]) -> Option<usize> {
        let pieces = pieces
            .iter()
            .map(|piece| (piece.as_ptr() as usize, piece.len()));
        self.calls.push((slot, pieces.collect()));
        let offered: usize = self.calls.last()?.1.iter().map(|(_, length)| length).sum();
        Some(offered.min(self.room))
    }
}

const ALL: usize = usize::MAX;

/// A hub with a connection of each framing, ids from 0 on, and what its sockets note.
fn hub(framings: &[Framing]) -> (Hub<FixedState>, Vec<Conn>, Noting) {
    let limits = Limits {
        connections_per_id_max: 1,
        outbox_bytes_max: 1 << 20,
        outbox_messages_max: 1000,
        outbox_total_bytes_max: 1 << 20,
    };
    let mut hub = Hub::new(0, limits, FixedState::default());
    let open = |(id, &framing)| {
        hub.insert(Id::Int(id), framing, WhenFull::Close)
            .expect("ids have one each")
    };
    let conns = (0..).zip(framings).map(open).collect();
    let calls = Vec::new();
    (hub, conns, Noting { room: ALL, calls })
}

fn ids(count: i64) -> Ids {
    Ids::Ints((0..count).collect())
}

#[test]
fn a_message_is_framed_once_and_written_once_to_each() {
    use Framing::{Chunked, ChunkedSse, Plain, PlainSse};
    let (mut hub, _, mut sockets) = hub(&[
        Chunked, ChunkedSse, Plain, PlainSse, Chunked, PlainSse, Plain,
    ]);
    hub.handle_message(&ids(7), &Message::new("Hello"), &mut sockets);
    let calls = sockets.take();
    assert_eq!(calls.len(), 7, "a call each, and no other");
    let of = |slot: usize| &calls[slot].1;
    assert!(calls.iter().all(|(_, pieces)| pieces.len() == 1));
    assert_eq!(
        (of(0), of(2), of(3)),
        (of(4), of(6), of(5)),
        "the same memory"
    );
    assert_eq!(hub.poll_output(), None);
}

#[test]
fn what_waits_leaves_in_one_call_that_begins_where_the_last_one_ended() {
    let (mut hub, conns, mut sockets) = hub(&[Framing::Plain, Framing::Plain]);
    sockets.room = 3;
    hub.handle_message(&ids(2), &Message::new("0123456789"), &mut sockets);
    assert_eq!(sockets.take().len(), 2);
    for _ in 1..20 {
        hub.handle_message(&ids(2), &Message::new("0123456789"), &mut sockets);
    }
    assert_eq!(sockets.take(), [], "a full socket is not asked again");
    let wanted: Vec<Output> = std::iter::from_fn(|| hub.poll_output()).collect();
    let want = |conn: &Conn| Output::WantWrite(conn.slot);
    assert_eq!(wanted, conns.iter().map(want).collect::<Vec<_>>());

    // 7 of the first, 10 of each of the next two, 5 of the fourth; then nothing more is tried.
    sockets.room = 32;
    hub.handle_writable(conns[0].slot, &mut sockets);
    let first = sockets.take();
    let lengths =
        |calls: &[Call]| -> Vec<usize> { calls[0].1.iter().map(|(_, length)| *length).collect() };
    assert_eq!(first.len(), 1);
    assert_eq!(lengths(&first), [vec![7], vec![10; 19]].concat());
    sockets.room = ALL;
    hub.handle_writable(conns[0].slot, &mut sockets);
    let rest = sockets.take();
    assert_eq!(rest.len(), 1, "all the rest in one call");
    assert_eq!(lengths(&rest), [vec![5], vec![10; 16]].concat());
    let (at, _) = first[0].1[3];
    assert_eq!(
        rest[0].1[0],
        (at + 5, 5),
        "it goes on behind what was taken"
    );
    assert_eq!(hub.poll_output(), Some(Output::WroteAll(conns[0].slot)));

    // The other connection waits for the same bytes in the same memory.
    hub.handle_writable(conns[1].slot, &mut sockets);
    assert_eq!(sockets.take()[0].1, first[0].1);
    assert_eq!((hub.queued_bytes(), hub.congested()), (0, 0));
}

#[test]
fn more_than_one_call_takes_leaves_in_several() {
    let (mut hub, conns, mut sockets) = hub(&[Framing::Plain]);
    sockets.room = 0;
    for _ in 0..150 {
        hub.handle_message(&ids(1), &Message::new("x"), &mut sockets);
    }
    sockets.take();
    sockets.room = ALL;
    hub.handle_writable(conns[0].slot, &mut sockets);
    let pieces: Vec<usize> = sockets
        .take()
        .iter()
        .map(|(_, pieces)| pieces.len())
        .collect();
    assert_eq!(pieces, [64, 64, 22]);
}

/// Where the pieces of a call lie and how long they are.
fn only(calls: &[Call]) -> &[(usize, usize)] {
    assert_eq!(calls.len(), 1);
    &calls[0].1
}

#[test]
fn a_large_payload_leaves_from_where_it_lies_and_waits_there() {
    let payload = "x".repeat(150);
    for (framing, before, behind) in [
        (Framing::Chunked, "96\r\n".len(), "\r\n".len()),
        (Framing::Plain, 0, 0),
        (Framing::PlainSse, "data: ".len(), "\n\n".len()),
        (Framing::ChunkedSse, "9e\r\ndata: ".len(), "\n\n\r\n".len()),
        (Framing::WebSocket, 4, 0),
    ] {
        let (mut hub, conns, mut sockets) = hub(&[framing]);
        let message = Message::new(payload.clone());
        let at = message.payload.as_ptr() as usize;
        hub.handle_message(&ids(1), &message, &mut sockets);
        let calls = sockets.take();
        let pieces = only(&calls);
        let lengths: Vec<usize> = pieces.iter().map(|(_, length)| *length).collect();
        assert_eq!((lengths, pieces[1].0), (vec![before, 150, behind], at));

        sockets.room = before + 100;
        hub.handle_message(&ids(1), &message, &mut sockets);
        sockets.take();
        assert_eq!(hub.queued_bytes(), 50 + behind);
        sockets.room = 20;
        hub.handle_writable(conns[0].slot, &mut sockets);
        assert_eq!(only(&sockets.take())[0], (at + 100, 50), "{framing:?}");
        sockets.room = ALL;
        hub.handle_writable(conns[0].slot, &mut sockets);
        assert_eq!(only(&sockets.take())[0], (at + 120, 30));
        assert_eq!((hub.queued_bytes(), hub.congested()), (0, 0));
    }
}

#[test]
fn what_might_hold_much_else_or_must_be_transformed_is_copied() {
    let (mut hub, conns, mut sockets) = hub(&[Framing::Plain, Framing::PlainSse]);
    // Large enough to be written as it lies, not to wait there: it may be a slice of much more.
    let message = Message::new("x".repeat(80));
    let at = message.payload.as_ptr() as usize;
    sockets.room = 30;
    hub.handle_message(&Ids::One(Id::Int(0)), &message, &mut sockets);
    assert_eq!(only(&sockets.take())[1], (at, 80));
    hub.handle_writable(conns[0].slot, &mut sockets);
    let calls = sockets.take();
    let rest = only(&calls);
    assert_eq!((rest.len(), rest[0].1), (1, 50));
    assert!(!(at..at + 80).contains(&rest[0].0), "it has been copied");

    sockets.room = ALL;
    let lines = Message::new("line\n".repeat(40));
    hub.handle_message(&Ids::One(Id::Int(1)), &lines, &mut sockets);
    assert_eq!(only(&sockets.take()).len(), 1, "an event of many lines");
}

#[test]
fn a_message_of_ours_is_framed_where_it_lies() {
    let (mut hub, conns, mut sockets) = hub(&[
        Framing::Plain,
        Framing::Chunked,
        Framing::ChunkedSse,
        Framing::WebSocket,
    ]);
    let own = || {
        let message = Message::new("Hello");
        let lent = Lent {
            whole: None,
            ..(&message).into()
        };
        Roomy::of(lent).expect("it is small")
    };
    hub.handle_own_message(&ids(4), own(), &mut sockets);
    let calls = sockets.take();
    let payloads = calls.iter().zip([0, 3, 9, 2]).map(|((_, pieces), before)| {
        let [(address, _)] = pieces[..] else {
            panic!("one piece: {pieces:?}")
        };
        address + before
    });
    let payloads: Vec<_> = payloads.collect();
    assert_eq!(payloads, [payloads[0]; 4], "no copy for any of them");
    // What does not fit waits, and nothing of it is lost with the message.
    sockets.room = 2;
    let sent = hub.handle_own_signal(conns[1], own(), &mut sockets);
    assert_eq!(sent.map(|sent| sent.queued_bytes), Some(8));
    let shared = Message::new("shared");
    assert!(
        Roomy::of((&shared).into()).is_none(),
        "it need not be copied at all"
    );
}
