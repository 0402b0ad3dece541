//! The way back to somebody who called.
//!
//! Knows nothing of what was asked. Whoever holds a [`ReplyTo`] owes an answer; dropping it is one.

use std::sync::Arc;

use super::Link;
use crate::dist::codec::{Call, ReplyAddress, answer};
use crate::dist::registry::Registry;
use crate::term::{Term, Writer, reply};
use crate::wire::{Owner, Refusal, Reply};

/// Answers one call, once. Dropped without an answer it says `{error, stopping}`, so that no caller
/// ever waits for its timeout.
#[derive(Debug)]
pub struct ReplyTo {
    /// `None` once it has been answered.
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    link: Arc<Link>,
    registry: Arc<Registry>,
    from: Box<[u8]>,
    tag: Box<[u8]>,
    alias: Option<Box<[u8]>>,
    /// Known only since this call: forgotten again when the call is refused.
    newly_attached: Option<Owner>,
}

impl ReplyTo {
    pub(super) fn new(
        link: &Arc<Link>,
        registry: &Arc<Registry>,
        call: &Call<'_>,
        newly_attached: Option<Owner>,
    ) -> ReplyTo {
        let alias = match call.reply_address() {
            ReplyAddress::Alias(reference) => Some(reference.bytes().into()),
            ReplyAddress::Pid(_) => None,
        };
        ReplyTo {
            pending: Some(Pending {
                link: Arc::clone(link),
                registry: Arc::clone(registry),
                from: call.from.bytes().into(),
                tag: call.tag.bytes().into(),
                alias,
                newly_attached,
            }),
        }
    }

    /// Sends the answer; never blocks. A caller whose link is gone has been told so by Erlang.
    pub fn send(mut self, reply: Reply) {
        if let Some(pending) = self.pending.take() {
            pending.send(&reply);
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.take() {
            pending.send(&Reply::Refused(Refusal::Stopping));
        }
    }
}

impl Pending {
    fn send(self, value: &Reply) {
        if let (Reply::Refused(_), Some(owner)) = (value, self.newly_attached) {
            self.registry.detach(owner);
        }
        let outbound = &self.link.outbound;
        let payload = answer(&self.tag, |w| reply(w, &outbound.identity, value));
        let to = match &self.alias {
            Some(reference) => Term::parse(reference).map(|(term, _)| ReplyAddress::Alias(term)),
            None => Term::parse(&self.from).map(|(term, _)| ReplyAddress::Pid(term)),
        };
        let to = to.expect("these bytes were a term when the call came");
        let (caller, _) =
            Term::parse(&self.from).expect("these bytes were a term when the call came");
        self.link.send(&outbound.answer(to, caller, &payload));
    }
}

/// Answers a call at once, without the bridge.
pub(super) fn answer_now(link: &Link, call: &Call<'_>, write: impl FnOnce(&mut Writer)) {
    let payload = answer(call.tag.bytes(), write);
    link.send(
        &link
            .outbound
            .answer(call.reply_address(), call.from, &payload),
    );
}
