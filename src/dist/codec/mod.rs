//! Bytes to vocabulary and back: the only place that knows the external term format.
//!
//! No sockets, no state, no decisions: what to do about a message is `link`'s concern. The way in
//! is bounded at every step: `scan` walks a term without trusting a number in it, `view` then looks
//! at it in place, `control` and `command` give it meaning, `id` and `iodata` copy what is kept. A
//! frame never makes us allocate more than about twice its own size, but for ids (24 bytes each, at
//! most a million). `fast` goes before all that: it knows the shapes of nearly all traffic at sight, and
//! leaves the rest. The way out is `write`, with `reply` and `outbound` on top.

#[cfg(any(test, feature = "fuzzing"))]
mod agreement;
mod answer;
mod ask;
mod command;
mod control;
mod fast;
#[cfg(test)]
mod fast_test;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod id;
mod iodata;
mod names;
#[cfg(test)]
mod oracle_test;
mod outbound;
mod reply;
mod scan;
mod shape;
#[cfg(test)]
mod vectors_test;
mod view;
mod write;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use agreement::agreed;
pub(crate) use command::{Request, atom_reason, reason, request, signal};
pub(crate) use control::{Control, Malformed, split};
pub(crate) use fast::sent;
pub(crate) use frame::{Body, HEADER, Message, Part, open, write_part_header};
pub(crate) use names::Names;
pub(crate) use outbound::{Outbound, Outgoing, Receiver};
pub(crate) use reply::{events, gone, reply};
pub(crate) use scan::Refused;
pub(crate) use shape::{
    Call, ReplyAddress, Shape, answer, bad_request, call_of_undecodable, io_refused, shape,
};
pub(crate) use view::{Pid, Term};
pub(crate) use write::{Writer, atom, pid};
