//! Answers and events as terms.
//!
//! Client bytes become binaries only. The vocabulary is `wire`'s; the shapes are those of the
//! design's page "What Erlang says and hears".

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::names::Names;
use super::write::{Writer, atom};
use super::{ask, id};
use crate::wire::{Event, Gone, InfoValue, Reason, Reply, Said};

/// What an edge answers.
pub fn reply(w: &mut Writer, names: &impl Names, reply: &Reply) {
    let ok = |w: &mut Writer| {
        w.tuple(2).atom("ok");
    };
    match reply {
        Reply::Ok => {
            w.atom("ok");
        }
        Reply::Sent {
            connections,
            queued_bytes,
        } => {
            ok(w);
            w.map(2).atom("connections").uint(*connections);
            w.atom("queued_bytes").uint(*queued_bytes);
        }
        Reply::Closed { connections } => {
            ok(w);
            w.map(1).atom("connections").uint(*connections);
        }
        Reply::Connections(conns) => {
            ok(w);
            w.list(conns.len());
            for conn in conns {
                names.write_conn(w, *conn);
            }
            w.nil();
        }
        Reply::Info(values) => {
            ok(w);
            w.map(values.len());
            for (name, value) in values {
                w.atom(name);
                match value {
                    InfoValue::Int(int) => w.uint(*int),
                    InfoValue::Text(text) => w.binary(text.as_bytes()),
                    InfoValue::Texts(texts) => {
                        w.list(texts.len());
                        for text in texts {
                            w.binary(text.as_bytes());
                        }
                        w.nil()
                    }
                };
            }
        }
        Reply::Attached { epoch, credit } => {
            ok(w);
            w.map(2).atom("epoch").uint(*epoch);
            w.atom("credit").uint(*credit);
        }
        Reply::Refused(refusal) => {
            w.tuple(2).atom("error").atom(refusal.as_str());
        }
    }
}

/// `{lariat, Edge, Epoch, [Event]}`
pub fn events(w: &mut Writer, names: &impl Names, epoch: u64, events: &[Event]) {
    w.tuple(4).atom("lariat").atom(names.edge()).uint(epoch);
    w.list(events.len());
    for one in events {
        event(w, names, one);
    }
    w.nil();
}

fn event(w: &mut Writer, names: &impl Names, event: &Event) {
    match event {
        Event::SnapshotBegin => {
            w.tuple(2).atom("snapshot").atom("begin");
        }
        Event::SnapshotEnd => {
            w.tuple(2).atom("snapshot").atom("end");
        }
        Event::Opened { conn, id, info } => {
            w.tuple(4).atom("opened");
            names.write_conn(w, *conn);
            id::write(w, id);
            w.map(1 + usize::from(info.peer.is_some()) + usize::from(info.handler.is_some()));
            w.atom("transport").atom(info.transport.as_str());
            if let Some(handler) = &info.handler {
                w.atom("handler").binary(handler.as_str().as_bytes());
            }
            if let Some(peer) = info.peer {
                w.atom("peer");
                address(w, peer);
            }
        }
        Event::Closed { conn, id, reason } => {
            w.tuple(4).atom("closed");
            names.write_conn(w, *conn);
            id::write(w, id);
            w.raw(&term_of(reason));
        }
        Event::Congested { conn, id, bytes } => {
            w.tuple(4).atom("congested");
            names.write_conn(w, *conn);
            id::write(w, id);
            w.uint(*bytes);
        }
        Event::Drained { conn, id } => {
            w.tuple(3).atom("drained");
            names.write_conn(w, *conn);
            id::write(w, id);
        }
        Event::Overloaded { count, bytes } => {
            w.tuple(3).atom("overloaded").uint(*count).uint(*bytes);
        }
        Event::Received { conn, id, said, .. } => {
            w.tuple(4).atom("received");
            names.write_conn(w, *conn);
            id::write(w, id);
            match said {
                Said::Text(bytes) => w.tuple(2).atom("text").binary(bytes),
                Said::Binary(bytes) => w.tuple(2).atom("binary").binary(bytes),
            };
        }
        Event::Ask { reference, ask } => ask::write(w, *reference, ask),
        Event::Ack { bytes } => {
            w.tuple(2).atom("ack").uint(*bytes);
        }
    }
}

/// The reason in the DOWN and exit signals that say so: the one in the `closed` event, or why there
/// is none.
pub fn gone(gone: &Gone) -> Bytes {
    match gone {
        Gone::Closed(reason) => term_of(reason),
        Gone::Before => atom("noproc").into(),
        Gone::Lost => atom("panic").into(),
        Gone::Overloaded => atom("system_limit").into(),
    }
}

fn term_of(reason: &Reason) -> Bytes {
    match reason {
        Reason::Asked(term) => term.clone(),
        Reason::Worded(worded) => worded.term.clone(),
        known => atom(known.as_str()).into(),
    }
}

/// `{Ip, Port}`, where `Ip` is what `inet:ip_address()` is: a tuple of 4 or 8 integers.
pub(super) fn address(w: &mut Writer, peer: SocketAddr) {
    w.tuple(2);
    match peer.ip() {
        IpAddr::V4(ip) => {
            w.tuple(4);
            for octet in ip.octets() {
                w.int(i64::from(octet));
            }
        }
        IpAddr::V6(ip) => {
            w.tuple(8);
            for segment in ip.segments() {
                w.int(i64::from(segment));
            }
        }
    }
    w.int(i64::from(peer.port()));
}
