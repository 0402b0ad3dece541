//! The distribution protocol as bytes: frames, control messages, and what they carry.
//!
//! No sockets, no state, no decisions: what to do about a message is `link`'s concern. Terms and what they
//! mean are `term`'s; here is only what a hidden node says and hears beyond that: `frame` opens a frame,
//! `control` tells what a message is for, `shape` what `!`, calls, casts and io wrap a term in. `fast` goes
//! before all that: it knows the shapes of nearly all traffic at sight, and leaves the rest. The way out
//! is `outbound`.

#[cfg(any(test, feature = "fuzzing"))]
mod agreement;
mod control;
mod fast;
#[cfg(test)]
mod fast_test;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod oracle_test;
mod outbound;
mod shape;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use agreement::agreed;
pub(crate) use control::{Control, Malformed, split};
pub(crate) use fast::sent;
pub(crate) use frame::{Body, HEADER, Message, Part, open, write_part_header};
pub(crate) use outbound::{Outbound, Outgoing, Receiver};
pub(crate) use shape::{
    Call, ReplyAddress, Shape, answer, bad_request, call_of_undecodable, io_refused, shape,
};
