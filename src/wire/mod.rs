//! The vocabulary shared with Erlang: who is addressed, what may be asked, what is told.
//!
//! Pure data. No sockets, no threads, no clock, and no knowledge of the external term format:
//! `dist` turns these values into terms and back, the NIF does the same with its own terms.
//! The Erlang side of the same vocabulary is `lariat_wire`.

mod command;
mod conn;
mod event;
mod id;
mod ids;
mod message;
mod request;
mod when_full;

pub use command::{Command, InfoValue, Owner, Refusal, Reply, Signal, Watcher};
pub use conn::{Conn, NODE_SHARD, SHARDS_MAX};
pub use event::{Event, Gone, OpenedInfo, Reason, Said, Transport, Worded};
pub use id::Id;
pub use ids::{ID_COST, Ids};
pub use message::{EventMeta, Form, Lent, Message};
pub use request::{
    AcceptOptions, Answer, Ask, Claim, Handler, Heartbeat, Kind, Publish, Ref, Request,
};
pub use when_full::WhenFull;
