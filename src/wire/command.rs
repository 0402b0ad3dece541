//! What Erlang may ask of an edge, and what an edge answers.
//!
//! No routing here (the bridge knows which shard has which id) and no terms (`term`).

use super::{Answer, Conn, Handler, Id, Ids, Message, Reason, Ref};

/// One request from Erlang, or from an application through the NIF.
#[derive(Debug)]
pub enum Command {
    /// Deliver `message` to every connection of each of `ids`. Answer: [`Reply::Sent`].
    Send {
        /// Whom; an id that appears twice receives twice.
        ids: Ids,
        /// What.
        message: Message,
        /// Whose credit it was sent on; that owner is told [`Event::Ack`](super::Event::Ack) when
        /// the message has left the shards' queues, delivered or not.
        credit: Option<Owner>,
    },
    /// `{answer, Ref, Answer}`, `{answers, [{Ref, Answer}]}`: to what the edge asked; `None` is what
    /// is no answer. Answer: [`Reply::Ok`].
    Answers(Vec<(Ref, Option<Answer>)>),
    /// Close every connection of each of `ids`. Answer: [`Reply::Closed`].
    Close {
        /// Whose connections.
        ids: Ids,
        /// Told to the owner in the `closed` event.
        reason: Reason,
    },
    /// Close all connections at a steady rate. Answer: [`Reply::Closed`] at once, with the
    /// number of connections that will go.
    CloseAll {
        /// How many connections to close each second, at least 1.
        per_second: u32,
    },
    /// Which connections has this id? Answer: [`Reply::Connections`].
    Connections {
        /// Whose connections.
        id: Id,
    },
    /// How is the edge? Answer: [`Reply::Info`].
    Info,
    /// From now on tell `owner` what happens, beginning with a snapshot. Answer:
    /// [`Reply::Attached`], before the snapshot.
    Attach {
        /// Who is to be told.
        owner: Owner,
        /// What it serves.
        handlers: Vec<Handler>,
    },
    /// Tell `owner` nothing more. Answer: [`Reply::Ok`], also when it was not attached.
    Detach {
        /// Who was told.
        owner: Owner,
    },
    /// A message to one connection, as to a process. Never answered; a connection that is gone
    /// is counted (`lariat_messages_dropped_total{reason="gone"}`).
    Signal {
        /// Which connection.
        conn: Conn,
        /// What it is to do.
        signal: Signal,
    },
    /// Tell `watcher` when the connection is gone, once, also when it is gone already: see
    /// [`Gone`](super::Gone). Watching twice is watching once.
    Watch {
        /// Which connection.
        conn: Conn,
        /// Who is to be told.
        watcher: Watcher,
    },
    /// Do not tell it any more; what is on its way may still arrive.
    Unwatch {
        /// Which connection.
        conn: Conn,
        /// Who was to be told.
        watcher: Watcher,
    },
    /// The watcher is no more: forget all that it watches.
    Forget {
        /// Who was to be told.
        watcher: Watcher,
    },
}

/// What one connection is told to do.
#[derive(Debug)]
pub enum Signal {
    /// Write this message.
    Deliver(Message),
    /// Write what waits, say goodbye and close.
    Close(Reason),
    /// Close at once; what waits is lost.
    Abort(Reason),
}

/// A process in Erlang that is told what happens on the edge. The number is given by the side
/// that knows the process (the dist link, the NIF), is unique for the life of the edge, and
/// means nothing to anybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(pub u64);

/// Whoever is told that connections are gone, and passes it on to those who asked: a link. The number
/// is given as an [`Owner`]'s is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Watcher(pub u64);

/// What an edge answers to a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Done. `ok`
    Ok,
    /// `{ok, #{connections => N, queued_bytes => B}}`
    Sent {
        /// Connections that the message was written to or queued for.
        connections: u64,
        /// Bytes that now wait in the outboxes of these connections.
        queued_bytes: u64,
    },
    /// `{ok, #{connections => N}}`
    Closed {
        /// Connections that were closed, or will be (`close_all`).
        connections: u64,
    },
    /// `{ok, [ConnPid]}`
    Connections(Vec<Conn>),
    /// `{ok, #{Name => Value}}`
    Info(Vec<(&'static str, InfoValue)>),
    /// `{ok, #{epoch => Epoch, credit => Bytes}}`
    Attached {
        /// The epoch of the snapshot that follows.
        epoch: u64,
        /// Bytes of credit that the owner may have outstanding; all of it is free now.
        credit: u64,
    },
    /// `{error, Refusal}`
    Refused(Refusal),
}

/// A value in the answer to `info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InfoValue {
    /// An integer.
    Int(u64),
    /// A binary.
    Text(String),
    /// A list of binaries.
    Texts(Vec<String>),
}

/// Why a well-formed command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `overloaded`: a shard's queue is full; nothing was delivered through that shard.
    Overloaded,
    /// `stopping`: the edge is shutting down.
    Stopping,
    /// `owners_limit`: as many owners as the edge allows are attached.
    OwnersLimit,
}

impl Refusal {
    /// The atom that says it in Erlang.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Overloaded => "overloaded",
            Refusal::Stopping => "stopping",
            Refusal::OwnersLimit => "owners_limit",
        }
    }
}
