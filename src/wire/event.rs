//! What an edge tells its owners.
//!
//! Events of one connection arrive in the order they happened. A snapshot may tell of a
//! connection that the owner knows already, never of one that has closed before it: applying
//! `Opened` twice must do no harm (`bridge` says why).

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::{Ask, Conn, Handler, Id, Ref};

/// One piece of news.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// `{snapshot, begin}`: what follows replaces all that the owner knew.
    SnapshotBegin,
    /// `{snapshot, 'end'}`: connections not told of since `begin` are gone.
    SnapshotEnd,
    /// `{opened, ConnPid, Id, Info}`
    Opened {
        /// The new connection.
        conn: Conn,
        /// Its id.
        id: Id,
        /// How it came.
        info: OpenedInfo,
    },
    /// `{closed, ConnPid, Id, Reason}`
    Closed {
        /// The connection that is gone.
        conn: Conn,
        /// Its id.
        id: Id,
        /// Why.
        reason: Reason,
    },
    /// `{congested, ConnPid, Id, Bytes}`: the client reads too slowly, and much waits for it or was
    /// dropped. Told once, until it is drained.
    Congested {
        /// The slow connection.
        conn: Conn,
        /// Its id.
        id: Id,
        /// Bytes that wait for it.
        bytes: u64,
    },
    /// `{drained, ConnPid, Id}`: nothing waits any more for a connection that was told to be congested.
    Drained {
        /// The connection that has caught up.
        conn: Conn,
        /// Its id.
        id: Id,
    },
    /// `{overloaded, Count, Bytes}`: messages dropped at a shard's door since the last such event.
    Overloaded {
        /// Messages dropped.
        count: u64,
        /// Bytes of payload in them.
        bytes: u64,
    },
    /// `{received, ConnPid, Id, {text | binary, Bytes}}`: a client said something.
    Received {
        /// Its connection.
        conn: Conn,
        /// Its id.
        id: Id,
        /// Who is to hear it; `None`: every owner.
        handler: Option<Handler>,
        /// What.
        said: Said,
    },
    /// `{request, Ref, Request}` or `{batch, Ref, Handler, [Body]}`: told to one owner, which owes
    /// an answer.
    Ask {
        /// What the answer names.
        reference: Ref,
        /// What is asked.
        ask: Ask,
    },
    /// `{ack, Bytes}`: this much of the owner's credit is free again.
    Ack {
        /// Bytes of credit.
        bytes: u64,
    },
}

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// `{text, Bytes}`: UTF-8.
    Text(Bytes),
    /// `{binary, Bytes}`
    Binary(Bytes),
}

/// What is told of a connection when it opens: `#{transport => T, peer => {Ip, Port}}`, and
/// `handler => Name` when its route names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedInfo {
    /// How messages are framed.
    pub transport: Transport,
    /// The client's address; `None` when the socket was gone before it could be asked.
    pub peer: Option<SocketAddr>,
    /// What its route names.
    pub handler: Option<Handler>,
}

/// How a held connection frames its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// `chunked`: each message is one HTTP chunk (RFC 9112, 7.1).
    Chunked,
    /// `sse`: server-sent events (WHATWG HTML, 9.2).
    Sse,
    /// `websocket`: each message is a message (RFC 6455).
    Websocket,
    /// `poll`: each message is in the answer to a long poll.
    Poll,
}

impl Transport {
    /// Every transport, in the order of the metrics.
    pub const ALL: [Transport; 4] = [
        Transport::Chunked,
        Transport::Sse,
        Transport::Websocket,
        Transport::Poll,
    ];

    /// Its name in Erlang, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Chunked => "chunked",
            Transport::Sse => "sse",
            Transport::Websocket => "websocket",
            Transport::Poll => "poll",
        }
    }
}

/// What a [`Watcher`](super::Watcher) is told of a connection, exactly once for each watch. It is told
/// by the shard that holds the connection, so nothing is lost between "held" and "gone".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It has closed now.
    Closed(Reason),
    /// It was gone already, or never was: `noproc`.
    Before,
    /// The shard has lost it, by a bug of ours: `panic`.
    Lost,
    /// Nobody looked, because the shard's queue is full: `system_limit`.
    Overloaded,
}

/// Why a connection closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `client`: the client closed, or its machine reset the connection.
    Client,
    /// `outbox_full`: the client read too slowly (policy `close`).
    OutboxFull,
    /// `outbox_total`: the outboxes of all connections together were full, and this was among the
    /// fullest.
    OutboxTotal,
    /// `protocol`: the client sent bytes where none are allowed, or broke the rules of WebSocket.
    Protocol,
    /// `io`: the socket failed in another way.
    Io,
    /// `drain`: `close_all` reached it.
    Drain,
    /// `shutdown`: the edge is stopping.
    Shutdown,
    /// `unserved`: the client said something, and nobody was there to hear it.
    Unserved,
    /// The reason that Erlang gave, any term: its external format without the version byte.
    Asked(Bytes),
    /// The same, of the form `{Code, Text}`: a WebSocket is told both. Shared, because a mass close has
    /// one reason.
    Worded(Arc<Worded>),
}

/// A reason of Erlang's that says what a WebSocket is told (RFC 6455, section 7.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worded {
    /// As in [`Reason::Asked`].
    pub term: Bytes,
    /// 1000, or 4000 to 4999.
    pub code: u16,
    /// At most [`Worded::TEXT_BYTES_MAX`].
    pub text: String,
}

impl Worded {
    /// What fits a close frame behind its code.
    pub const TEXT_BYTES_MAX: usize = 123;

    /// Unless the code is not for applications to give, or the text is too long.
    pub fn new(term: Bytes, code: u16, text: String) -> Option<Worded> {
        let is_ours = matches!(code, 1000 | 4000..=4999);
        (is_ours && text.len() <= Self::TEXT_BYTES_MAX).then_some(Worded { term, code, text })
    }
}

impl Reason {
    /// The reasons that the metrics tell apart, in their order.
    pub const LABELS: [&str; 9] = [
        "client",
        "outbox_full",
        "outbox_total",
        "protocol",
        "io",
        "drain",
        "shutdown",
        "unserved",
        "asked",
    ];

    /// Its place in [`Reason::LABELS`].
    pub fn index(&self) -> usize {
        match self {
            Reason::Client => 0,
            Reason::OutboxFull => 1,
            Reason::OutboxTotal => 2,
            Reason::Protocol => 3,
            Reason::Io => 4,
            Reason::Drain => 5,
            Reason::Shutdown => 6,
            Reason::Unserved => 7,
            Reason::Asked(_) | Reason::Worded(_) => 8,
        }
    }

    /// Its name in metrics and, but for `Asked` and `Worded`, the atom in Erlang.
    pub fn as_str(&self) -> &'static str {
        Self::LABELS[self.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applications_have_codes_and_room_of_their_own() {
        let is_one = |code, length| Worded::new(Bytes::new(), code, "x".repeat(length)).is_some();
        for code in [1000, 4000, 4999] {
            assert!(is_one(code, 0) && is_one(code, 123), "{code}");
            assert!(!is_one(code, 124), "{code}");
        }
        for code in [0, 999, 1001, 1005, 1006, 1011, 1015, 3000, 3999, 5000] {
            assert!(!is_one(code, 0), "{code}");
        }
    }
}
