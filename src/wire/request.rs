//! What an edge asks Erlang, and what Erlang answers: who may connect, what a request is answered,
//! what bodies came.
//!
//! Pure data, as it was said on either side. Whether an answer fits its question, and whether it may
//! go out as HTTP, is the edge's to judge.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Id, WhenFull};

/// What an edge asks of whoever serves a handler.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// `{request, Ref, Request}`: may this client connect, or what is it to be answered?
    Request(Arc<Request>),
    /// `{batch, Ref, Handler, [Body]}`: these came, in this order.
    Batch {
        /// For whom.
        handler: Handler,
        /// Each one request's body.
        bodies: Arc<[Bytes]>,
    },
}

/// A request of a client. What it said is bytes, never more.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What its route is for: [`Kind::Stream`], [`Kind::Websocket`], [`Kind::Poll`] or
    /// [`Kind::Request`].
    pub kind: Kind,
    /// Whom it is for.
    pub handler: Handler,
    /// As it was sent: `GET`.
    pub method: Bytes,
    /// As it was sent, without the query.
    pub path: Bytes,
    /// What stands where the route's path has names, percent-decoded.
    pub bindings: Vec<(Bytes, Bytes)>,
    /// What follows the question mark, as it was sent.
    pub query: Bytes,
    /// The fields of its head, each once; names in lower case.
    pub headers: Vec<(Bytes, Bytes)>,
    /// The client's address; `None` for a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Empty for what is to be held.
    pub body: Bytes,
    /// What its token says, of a route that wants one.
    pub claims: Option<Vec<(Bytes, Claim)>>,
    /// What it wants published, when that is what its route is for.
    pub publish: Option<Publish>,
}

/// A value in a token.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// An integer.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A binary.
    Text(Bytes),
    /// A list.
    List(Vec<Claim>),
    /// A map.
    Map(Vec<(Bytes, Claim)>),
}

/// `#{to => [Id], subject => Binary, event => Binary, id => Binary, message => Binary}`; what was not
/// said is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publish {
    /// Whom.
    pub to: Vec<Id>,
    /// Whose subscribers.
    pub subject: Option<Bytes>,
    /// The name of the event.
    pub event: Option<Bytes>,
    /// The id of the event.
    pub id: Option<Bytes>,
    /// What.
    pub message: Bytes,
}

/// What a route is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `stream`: held, server-sent events or chunks.
    #[default]
    Stream,
    /// `websocket`: held, and both sides talk.
    Websocket,
    /// `poll`: held until there is something to say.
    Poll,
    /// `request`: answered by its handler.
    Request,
    /// `batch`: bodies that reach their handler many at a time.
    Batch,
    /// `publish`: sends a message.
    Publish,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 6] = [
        Kind::Stream,
        Kind::Websocket,
        Kind::Poll,
        Kind::Request,
        Kind::Batch,
        Kind::Publish,
    ];

    /// Its name in Erlang and in the config.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Stream => "stream",
            Kind::Websocket => "websocket",
            Kind::Poll => "poll",
            Kind::Request => "request",
            Kind::Batch => "batch",
            Kind::Publish => "publish",
        }
    }

    /// Whether what comes there is held, under an id.
    pub fn is_held(self) -> bool {
        matches!(self, Kind::Stream | Kind::Websocket | Kind::Poll)
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        let named = Kind::ALL.into_iter().find(|kind| kind.as_str() == text);
        named.ok_or_else(|| {
            let names = Kind::ALL.map(Kind::as_str).join(", ");
            format!("{text:?} is no kind of route; accepted: {names}")
        })
    }
}

/// The name of what decides about a route in Erlang. Cloning shares it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handler(Arc<str>);

impl Handler {
    /// The longest name, in bytes: that of a word or three.
    pub const BYTES_MAX: usize = 64;

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Handler {
    type Err = String;

    fn from_str(text: &str) -> Result<Handler, String> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let fits = (1..=Handler::BYTES_MAX).contains(&text.len());
        if !fits || !text.bytes().all(is_name) {
            return Err(format!(
                "{text:?} is no name of a handler; accepted: 1 to {} letters, digits, _ and -",
                Handler::BYTES_MAX
            ));
        }
        Ok(Handler(text.into()))
    }
}

impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Names one question among those that wait. Given by the edge; an answer says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ref(pub u64);

/// What Erlang answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `{accept, Id, Options}`: it is held under this id.
    Accept {
        /// The address of the connection from now on.
        id: Id,
        /// How it is held.
        options: AcceptOptions,
    },
    /// `{reply, Status, Headers, Body}`
    Reply {
        /// A status of HTTP, if it is one.
        status: u16,
        /// Fields, as they were said.
        headers: Vec<(Bytes, Bytes)>,
        /// What.
        body: Bytes,
    },
    /// `{reject, Status, Reason}`: a short answer, and the connection closes.
    Reject {
        /// A status of HTTP, if it is one.
        status: u16,
        /// Text for people.
        reason: Bytes,
    },
    /// `taken`: of a batch.
    Taken,
}

/// How a connection that Erlang accepts is held: what is absent is as its route and the config say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptOptions {
    /// Fields for the head of the answer, as they were said.
    pub headers: Vec<(Bytes, Bytes)>,
    /// Silence before a heartbeat.
    pub heartbeat: Option<Heartbeat>,
    /// What becomes of it when it reads too slowly.
    pub when_full: Option<WhenFull>,
}

/// A connection's own heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// `off`
    Off,
    /// Milliseconds in Erlang.
    Every(Duration),
}

impl Ask {
    /// For whom it is.
    pub fn handler(&self) -> &Handler {
        match self {
            Ask::Request(request) => &request.handler,
            Ask::Batch { handler, .. } => handler,
        }
    }

    /// Bytes that it keeps alive, about.
    pub fn bytes(&self) -> usize {
        let pairs = |pairs: &[(Bytes, Bytes)]| -> usize {
            let each = size_of::<(Bytes, Bytes)>();
            let sizes = pairs
                .iter()
                .map(|(name, value)| name.len() + value.len() + each);
            sizes.sum()
        };
        match self {
            Ask::Request(request) => {
                // Claims come out of the head, a publication out of the body: both are as long again.
                let Request {
                    path,
                    query,
                    body,
                    headers,
                    bindings,
                    ..
                } = &**request;
                size_of::<Request>()
                    + path.len()
                    + query.len()
                    + 2 * (body.len() + pairs(headers))
                    + pairs(bindings)
            }
            Ask::Batch { bodies, .. } => {
                let sizes = bodies.iter().map(|body| body.len() + size_of::<Bytes>());
                sizes.sum()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_by_name() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        let error = "long-poll".parse::<Kind>().unwrap_err();
        assert!(error.contains("websocket"), "{error}");
    }

    #[test]
    fn handlers_have_plain_names() {
        for name in ["chat", "a", "Chat_2-b", &"x".repeat(64)] {
            assert_eq!(name.parse::<Handler>().unwrap().as_str(), name);
        }
        for name in ["", "a b", "a.b", "ä", &"x".repeat(65)] {
            assert!(name.parse::<Handler>().is_err(), "{name}");
        }
    }
}
