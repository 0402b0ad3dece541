//! Whole answers against the connection's state machine, cut at every place.

use proptest::prelude::*;

use super::super::frames;
use super::*;

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
const CHUNKED_EVENTS: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What the connection drew.
const NONCE: u64 = 7;

const MINE: &str = "m:01700000000123456789#42;";
const FOREIGN: &str = "m:01700000000123456789#43;";

fn asked(transport: Transport) -> Connection {
    let mut connection = Connection::new(42, transport, NONCE);
    connection.handle_sent(100, 100);
    connection
}

/// The events of an answer that comes in `parts` and then ends.
fn told<'a>(transport: Transport, parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut connection = asked(transport);
    let mut events = Vec::new();
    for part in parts {
        connection.handle_bytes(part, |event| events.push(event));
    }
    events.extend(connection.handle_end());
    assert_eq!(connection.handle_end(), None, "the end is told once");
    events
}

/// The same, checked to be independent of a cut at any place.
fn told_anyhow(transport: Transport, answer: &str) -> Vec<Event> {
    let bytes = answer.as_bytes();
    let whole = told(transport, [bytes]);
    assert_eq!(told(transport, bytes.chunks(1)), whole);
    for at in 0..bytes.len() {
        let (one, other) = bytes.split_at(at);
        assert_eq!(told(transport, [one, other]), whole, "cut at {at}");
    }
    whole
}

fn message(payload_bytes: usize, stamped: bool) -> Event {
    Event::Message {
        payload_bytes: payload_bytes as u64,
        stamped,
    }
}

fn stamped(ours: bool) -> Event {
    Event::Stamped(Stamp {
        sent_ns: 1_700_000_000_123_456_789,
        ours,
    })
}

fn chunk(data: &str) -> String {
    format!("{:X}\r\n{data}\r\n", data.len())
}

/// Bytes after the end are seen only when they come with the end; else the socket is closed.
fn but_for_the_rest(mut events: Vec<Event>) -> Vec<Event> {
    if let Some(last @ Event::Faulted(Fault::AfterTheEnd)) = events.last_mut() {
        *last = Event::Closed(Ending::Complete);
    }
    events
}

#[test]
fn chunks_are_messages_and_a_newline_is_a_heartbeat() {
    let body: String = ["\n", "hello", MINE, "\n\n", FOREIGN].map(chunk).concat();
    let answer = format!("{CHUNKED}{body}0\r\n\r\n");
    assert_eq!(
        told_anyhow(Transport::Chunked, &answer),
        [
            Event::Opened,
            Event::Heartbeat,
            message(5, false),
            stamped(true),
            message(MINE.len(), true),
            message(2, false),
            stamped(false),
            message(FOREIGN.len(), true),
            Event::Closed(Ending::Complete),
        ]
    );
}

#[test]
fn events_are_messages_and_a_comment_is_a_heartbeat() {
    let stream = format!("retry: 900\n\n:\n\ndata: {MINE}\nid: 7\n\ndata:\ndata:\n\n");
    let expected = [
        Event::Opened,
        Event::Heartbeat,
        stamped(true),
        message(MINE.len(), true),
        message(1, false),
        Event::Closed(Ending::Complete),
    ];
    assert_eq!(
        told_anyhow(Transport::Sse, &format!("{EVENTS}{stream}")),
        expected
    );

    // The same stream in chunks that know nothing of lines.
    let (one, other) = stream.split_at(stream.len() / 2);
    let answer = format!("{CHUNKED_EVENTS}{}{}0\r\n\r\n", chunk(one), chunk(other));
    assert_eq!(told_anyhow(Transport::Sse, &answer), expected);
}

#[test]
fn a_stamp_does_not_cross_messages() {
    let (one, other) = MINE.split_at(10);
    let answer = format!("{CHUNKED}{}{}", chunk(one), chunk(other));
    assert_eq!(
        told_anyhow(Transport::Chunked, &answer),
        [
            Event::Opened,
            message(one.len(), false),
            message(other.len(), false),
            Event::Closed(Ending::Unfinished),
        ]
    );
}

#[test]
fn a_refusal_is_told_once_and_its_body_ignored() {
    let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nfull";
    assert_eq!(
        told_anyhow(Transport::Chunked, answer),
        [Event::Refused {
            status: 503,
            retry_after_s: None
        }]
    );
}

#[test]
fn what_is_no_stream_is_a_fault() {
    let fault = |transport, answer: &str| match told_anyhow(transport, answer).as_slice() {
        [Event::Faulted(fault)] => *fault,
        other => panic!("{answer:?} gave {other:?}"),
    };
    let plain = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(fault(Transport::Chunked, plain), Fault::NotAStream);
    assert_eq!(fault(Transport::Sse, plain), Fault::NotAStream);
    assert_eq!(fault(Transport::Chunked, EVENTS), Fault::NotAStream);
    assert_eq!(fault(Transport::Sse, CHUNKED), Fault::NotEvents);
    assert_eq!(fault(Transport::Sse, "hello\r\n"), Fault::Head);
}

#[test]
fn messages_of_a_websocket_and_a_ping() {
    let transport = Transport::WebSocket { deflate: true };
    let more = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let mut answer = handshake::answer(NONCE, more).into_bytes();
    answer.extend(frames::frame(0x01, b"hel"));
    answer.extend(frames::frame(0x89, b"?"));
    answer.extend(frames::frame(0x80, b"lo"));
    answer.extend(frames::frame(0x82, FOREIGN.as_bytes()));
    answer.extend(frames::frame(0xc1, MINE.as_bytes()));
    answer.extend(frames::frame(0x81, b"\n"));
    let opened = [
        Event::Opened,
        Event::Heartbeat,
        message(5, false),
        stamped(false),
        message(FOREIGN.len(), true),
        message(MINE.len(), false),
        message(1, false),
    ];
    let ended = |ending| [&opened[..], &[Event::Closed(ending)]].concat();
    assert_eq!(told(transport, [&answer[..]]), ended(Ending::Unfinished));
    let half = [&answer[..], &frames::frame(0x01, b"x")].concat();
    assert_eq!(told(transport, half.chunks(1)), ended(Ending::MidMessage));
    let closed = [&answer[..], &frames::frame(0x88, b""), b"rest"].concat();
    assert_eq!(told(transport, closed.chunks(3)), ended(Ending::Complete));
}

#[test]
fn what_a_websocket_owes_is_sent_once() {
    let mut connection = asked(Transport::WebSocket { deflate: false });
    connection.handle_bytes(handshake::answer(NONCE, "").as_bytes(), |_| {});
    assert!(connection.replies().is_empty());
    connection.handle_bytes(&frames::frame(0x89, b"abc"), |_| {});
    connection.handle_bytes(&frames::frame(0x88, b""), |_| {});
    assert_eq!(connection.replies().len(), 9 + 6);
    assert_eq!(connection.replies()[..2], [0x8a, 0x83]);
    connection.handle_replied(9);
    assert_eq!(connection.replies()[..2], [0x88, 0x80]);
    connection.handle_replied(6);
    assert!(connection.replies().is_empty());
}

#[test]
fn who_reads_no_answers_gets_no_more_of_them() {
    let mut connection = asked(Transport::WebSocket { deflate: false });
    connection.handle_bytes(handshake::answer(NONCE, "").as_bytes(), |_| {});
    for _ in 0..1000 {
        connection.handle_bytes(&frames::frame(0x89, &[b'x'; 125]), |_| {});
    }
    assert!(connection.replies().len() < 4096 + 131);
}

#[test]
fn a_websocket_needs_its_handshake() {
    let websocket = Transport::WebSocket { deflate: false };
    let told = |transport, answer: &str| told_anyhow(transport, answer);
    assert_eq!(
        told(websocket, CHUNKED),
        [Event::Faulted(Fault::NotAWebSocket)]
    );
    let refused = |status| Event::Refused {
        status,
        retry_after_s: None,
    };
    assert_eq!(told(websocket, "HTTP/1.1 503 No\r\n\r\n"), [refused(503)]);
    let switched = handshake::answer(NONCE, "");
    assert_eq!(told(Transport::Chunked, &switched), [refused(101)]);
    let other = handshake::answer(NONCE + 1, "");
    assert_eq!(told(websocket, &other), [Event::Faulted(Fault::Accept)]);
}

#[test]
fn a_fault_ends_the_stream() {
    let answer = format!("{CHUNKED}{}nonsense{}", chunk("a"), chunk("b"));
    assert_eq!(
        told_anyhow(Transport::Chunked, &answer),
        [
            Event::Opened,
            message(1, false),
            Event::Faulted(Fault::ChunkSize)
        ]
    );
}

#[test]
fn the_way_a_stream_ends_is_told() {
    let ending = |transport, answer: &str| match told(transport, [answer.as_bytes()]).pop() {
        Some(Event::Closed(ending)) => ending,
        other => panic!("{answer:?} gave {other:?}"),
    };
    let unfinished = format!("{CHUNKED}{}", chunk("a"));
    let half = format!("{CHUNKED}5\r\nab");
    assert_eq!(ending(Transport::Chunked, ""), Ending::BeforeHead);
    assert_eq!(
        ending(Transport::Chunked, "HTTP/1.1 200"),
        Ending::BeforeHead
    );
    assert_eq!(ending(Transport::Chunked, &unfinished), Ending::Unfinished);
    assert_eq!(ending(Transport::Chunked, &half), Ending::MidMessage);
    assert_eq!(ending(Transport::Sse, EVENTS), Ending::Complete);
    assert_eq!(
        ending(Transport::Sse, &format!("{EVENTS}data: x\n")),
        Ending::MidMessage
    );
    let mut connection = asked(Transport::Chunked);
    let reset = Some(Event::Closed(Ending::Reset));
    assert_eq!(connection.handle_reset(), reset);
    assert_eq!(connection.handle_reset(), None);
}

#[test]
fn a_request_goes_out_in_parts() {
    let mut connection = Connection::new(42, Transport::Chunked, NONCE);
    assert_eq!(connection.request_sent(), Some(0));
    connection.handle_sent(30, 100);
    assert_eq!(connection.request_sent(), Some(30));
    connection.handle_sent(100, 100);
    assert_eq!(connection.request_sent(), None);
}

/// What the tool itself costs a connection, beside the kernel's socket.
#[test]
fn a_connection_stays_small() {
    assert!(size_of::<Connection>() <= 96, "{}", size_of::<Connection>());
}

proptest! {
    #[test]
    fn no_answer_upsets_it_however_it_is_cut(
        sse: bool,
        pieces in prop::collection::vec(
            prop::sample::select(&[
                CHUNKED, CHUNKED, EVENTS, CHUNKED_EVENTS, "HTTP/1.1 ", "404 No\r\n\r\n", "1\r\n",
                "\n", "\r\n", "0\r\n\r\n", "8\r\n", "data: x\n\n", ": \n", MINE, "1A\r\n", "\r\n",
            ][..]), 0..20),
        cuts in prop::collection::vec(1_usize..30, 0..60),
    ) {
        let transport = if sse { Transport::Sse } else { Transport::Chunked };
        let answer = pieces.concat();
        let whole = told(transport, [answer.as_bytes()]);
        let parts = crate::load::cut(answer.as_bytes(), &cuts);
        prop_assert_eq!(but_for_the_rest(told(transport, parts)), but_for_the_rest(whole));
    }
}
