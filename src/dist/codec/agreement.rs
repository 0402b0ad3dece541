//! The law of the fast path: it says what the general path says, or nothing.
//!
//! Written once, for every test and every fuzz target that looks for a message which breaks it. It
//! makes no messages and knows no frames of its own.

use bytes::Bytes;

use super::control::{Control, split};
use super::fast::sent;
use super::frame::Message as Envelope;
use super::shape::{Shape, shape};
use crate::term::Term;
use crate::wire::{Command, Ids, Message};

/// What a send comes down to: the name it goes to, and what goes to whom. On nobody's credit.
pub(super) type Delivery = (String, Ids, Message);

/// Asserts the law of `envelope`, a part of `frame`; what the fast path makes of it.
#[track_caller]
pub(crate) fn agreed(envelope: Envelope<'_>, frame: &Bytes) -> Option<Delivery> {
    let general = general(envelope, frame);
    let sent = sent(envelope, frame)?;
    let fast = delivery(sent.name, sent.command);
    assert!(fast.is_some(), "the fast path knows sends only");
    assert_eq!(fast, general, "{frame:?}");
    fast
}

/// What the general path makes of it, when it is a message for ids.
pub(super) fn general(envelope: Envelope<'_>, frame: &Bytes) -> Option<Delivery> {
    let (control, bytes) = split(envelope).ok()?;
    // Of any control message, so that this is tried on all of them.
    let payload = Term::whole(bytes?).ok()?;
    let Control::RegSend { name } = control else {
        return None;
    };
    match shape(payload, frame) {
        Shape::Deliver(command) => delivery(name, command),
        _ => None,
    }
}

fn delivery(name: &str, command: Command) -> Option<Delivery> {
    match command {
        Command::Send {
            ids,
            message,
            credit: None,
        } => Some((name.to_owned(), ids, message)),
        _ => None,
    }
}
