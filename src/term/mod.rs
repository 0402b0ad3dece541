//! The vocabulary as terms of Erlang: `wire` to bytes and back, in the external term format.
//!
//! No sockets, no state, no decisions, and nothing of how the bytes come: over a distribution link
//! (`dist`), or from a process in the same VM. The way in is bounded at every step: `scan` walks a term
//! without trusting a number in it, `view` then looks at it in place, `command` and `answer` give it
//! meaning, `id` and `iodata` copy what is kept. A term never makes us allocate more than about twice its
//! own size, but for ids (24 bytes each, at most a million). The way out is `write`, with `reply` and
//! `ask` on top. What differs between edges, how they and their connections are called, is a parameter
//! ([`Names`]).

mod answer;
mod ask;
mod command;
mod id;
mod iodata;
mod names;
mod reply;
mod scan;
#[cfg(test)]
mod vectors_test;
mod view;
mod write;

pub use command::{
    AttachOptions, Request, atom_reason, delivery, event_options, reason, request, signal,
};
pub use id::ids;
pub use names::{InVm, Names};
pub use reply::{events, gone, reply};
pub use scan::{Refused, VERSION};
pub use view::{Atom, Elements, Kind, List, Pid, Term};
pub use write::{Writer, atom, pid};
// What `dist` reads in the raw frame.
#[cfg(feature = "node")]
pub(crate) use {
    id::{ID_BYTES_MAX, IDS_MAX},
    iodata::flatten_list,
    scan::tag,
};
