//! What the vectors of answers and news are to us, as values.
//!
//! The bytes are Erlang's; that the two agree is what [`super`] tests.

use std::sync::Arc;

use bytes::Bytes;

use super::CONN;
use crate::wire::{
    Ask, Claim, Event, Id, InfoValue, Kind, OpenedInfo, Publish, Reason, Ref, Refusal, Reply,
    Request, Said, Transport,
};

/// What we answer, by the name of its vector.
pub(super) fn answered() -> Vec<(&'static str, Reply)> {
    let info = vec![
        ("connections", InfoValue::Int(3)),
        ("version", InfoValue::Text("1".to_owned())),
    ];
    let sent = Reply::Sent {
        connections: 2,
        queued_bytes: 1 << 40,
    };
    let attached = Reply::Attached {
        epoch: 1 << 50,
        credit: 8_388_608,
    };
    vec![
        ("reply_ok", Reply::Ok),
        ("reply_sent", sent),
        ("reply_closed", Reply::Closed { connections: 300 }),
        ("reply_connections", Reply::Connections(vec![CONN])),
        ("reply_no_connections", Reply::Connections(Vec::new())),
        ("reply_info", Reply::Info(info)),
        ("reply_attached", attached),
        ("reply_overloaded", Reply::Refused(Refusal::Overloaded)),
        ("reply_stopping", Reply::Refused(Refusal::Stopping)),
        ("reply_owners_limit", Reply::Refused(Refusal::OwnersLimit)),
    ]
}

/// What owners are told, by the name of its vector.
pub(super) fn news() -> Vec<(&'static str, Vec<Event>)> {
    let opened = |id, transport, peer: Option<&str>| Event::Opened {
        conn: CONN,
        id,
        info: OpenedInfo {
            transport,
            peer: peer.map(|address| address.parse().unwrap()),
            handler: None,
        },
    };
    let closed = |reason| Event::Closed {
        conn: CONN,
        id: Id::Int(1),
        reason,
    };
    let asked = Bytes::from_static(b"h\x02w\x06kickedw\x03out");
    let reasons = [
        Reason::Client,
        Reason::OutboxFull,
        Reason::OutboxTotal,
        Reason::Protocol,
        Reason::Io,
        Reason::Drain,
        Reason::Shutdown,
        Reason::Unserved,
        Reason::Asked(asked),
    ];
    let alice = Id::Bin((*b"alice").into());
    let (sse, chunked) = (Transport::Sse, Transport::Chunked);
    let congested = Event::Congested {
        conn: CONN,
        id: Id::Int(1),
        bytes: 1 << 16,
    };
    let drained = Event::Drained {
        conn: CONN,
        id: Id::Int(1),
    };
    let received = |said| Event::Received {
        conn: CONN,
        id: Id::Int(1),
        handler: None,
        said,
    };
    let overloaded = Event::Overloaded {
        count: 2,
        bytes: 1 << 40,
    };
    let handled = Event::Opened {
        conn: CONN,
        id: Id::Int(1),
        info: OpenedInfo {
            transport: sse,
            peer: None,
            handler: Some("chat".parse().unwrap()),
        },
    };
    let asks = |reference, request| Event::Ask {
        reference: Ref(reference),
        ask: Ask::Request(Arc::new(request)),
    };
    let pairs = |pairs: &[(&'static str, &'static str)]| -> Vec<(Bytes, Bytes)> {
        let pairs = pairs.iter();
        pairs
            .map(|&(name, value)| (name.into(), value.into()))
            .collect()
    };
    let request = Request {
        kind: Kind::Stream,
        handler: "chat".parse().unwrap(),
        method: "GET".into(),
        path: "/rooms/a%20b".into(),
        bindings: pairs(&[("room", "a b")]),
        query: "x=1".into(),
        headers: pairs(&[("host", "h"), ("cookie", "a=1; b=2")]),
        peer: Some("127.0.0.1:8080".parse().unwrap()),
        body: Bytes::new(),
        claims: None,
        publish: None,
    };
    let mixed = vec![
        Claim::Float(1.5),
        Claim::Bool(true),
        Claim::Bool(false),
        Claim::Null,
        Claim::Map(Vec::new()),
    ];
    let more = Request {
        kind: Kind::Request,
        handler: "lariat_publish".parse().unwrap(),
        method: "POST".into(),
        path: "/".into(),
        bindings: Vec::new(),
        query: Bytes::new(),
        headers: Vec::new(),
        peer: None,
        body: "{}".into(),
        claims: Some(vec![
            ("sub".into(), Claim::Text("alice".into())),
            ("exp".into(), Claim::Int(7)),
            ("exp".into(), Claim::Int(1 << 31)),
            ("x".into(), Claim::List(mixed)),
        ]),
        publish: Some(Publish {
            to: vec![Id::Int(1), Id::Bin((*b"b").into())],
            subject: Some("s".into()),
            event: Some("e".into()),
            id: Some("i".into()),
            message: "m".into(),
        }),
    };
    let batch = Event::Ask {
        reference: Ref(7),
        ask: Ask::Batch {
            handler: "clicks".parse().unwrap(),
            bodies: Arc::from(["one".into(), Bytes::new()]),
        },
    };
    vec![
        (
            "news_snapshot",
            vec![Event::SnapshotBegin, Event::SnapshotEnd],
        ),
        (
            "news_opened",
            vec![opened(Id::Int(123), sse, Some("127.0.0.1:8080"))],
        ),
        (
            "news_opened_v6",
            vec![opened(alice, chunked, Some("[::1]:80"))],
        ),
        (
            "news_opened_unknown_peer",
            vec![opened(Id::Int(-1), sse, None)],
        ),
        ("news_closed", reasons.into_iter().map(closed).collect()),
        ("news_congested", vec![congested, drained]),
        (
            "news_received",
            vec![
                received(Said::Text("Hello".into())),
                received(Said::Binary("".into())),
            ],
        ),
        ("news_overloaded", vec![overloaded]),
        ("news_ack", vec![Event::Ack { bytes: 1 << 33 }]),
        ("news_opened_handler", vec![handled]),
        ("news_request", vec![asks(1 << 40, request)]),
        ("news_request_more", vec![asks(7, more)]),
        ("news_batch", vec![batch]),
    ]
}

/// What an edge in the VM answers otherwise than a node, by the name of its vector.
pub(super) fn answered_in_vm() -> Vec<(&'static str, Reply)> {
    let addresses = ["127.0.0.1:8000", "[::1]:8000"].map(str::to_owned);
    vec![
        ("vm_reply_connections", Reply::Connections(vec![CONN])),
        (
            "vm_reply_info",
            Reply::Info(vec![(
                "http_addresses",
                InfoValue::Texts(addresses.to_vec()),
            )]),
        ),
    ]
}

/// What it tells its owners.
pub(super) fn news_in_vm() -> Vec<(&'static str, Vec<Event>)> {
    let drained = Event::Drained {
        conn: CONN,
        id: Id::Int(1),
    };
    vec![("vm_news_drained", vec![drained])]
}
