//! The messages that we send: bodies of frames, ready for the queue.
//!
//! No lengths and no sockets. Erlang ends the link on a control message that it cannot parse, so
//! every one is built here and checked against an independent decoder (`oracle_test`). The sender
//! is always the node's own pid, but where a connection or a name must speak for itself.

use super::frame::{HEADER, PASS_THROUGH};
use super::shape::ReplyAddress;
use crate::dist::flags::Flags;
use crate::dist::identity::Identity;
use crate::term::Names;
use crate::term::Writer;
use crate::term::{Pid, Term};
use crate::wire::Conn;

/// Builds messages for one link.
#[derive(Clone, Debug)]
pub(crate) struct Outbound {
    pub(crate) identity: Identity,
    /// The flags that hold on the link.
    pub(crate) flags: Flags,
}

/// A message that we send: the body of a frame, and what the queue must know to cut it.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) body: Vec<u8>,
    /// Where the payload begins that may go out in parts; `None` when nothing may: there is no
    /// payload, or the link has no fragments.
    pub(crate) cut_from: Option<usize>,
    pub(crate) to: Receiver,
}

/// Whom a message is for: those for the same process must not overtake each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receiver(pub(crate) u64);

impl Receiver {
    /// Of a process of the link's peer: its numbers tell it from all others there.
    fn of(term: Term<'_>) -> Receiver {
        let numbers = |pid: Pid<'_>| u64::from(pid.id) << 32 | u64::from(pid.serial);
        // What is no pid is nobody that Erlang would deliver to.
        Receiver(term.pid().map_or(0, numbers))
    }

    fn of_bytes(pid: &[u8]) -> Receiver {
        Term::parse(pid).map_or(Receiver(0), |(term, _)| Receiver::of(term))
    }
}

impl Outbound {
    /// `SEND` to a pid of the peer. Accepted also where `SEND_SENDER` is negotiated.
    pub(crate) fn send(&self, to: &[u8], payload: &[u8]) -> Outgoing {
        let mut w = self.control(3);
        w.int(2).atom("").raw(to);
        self.with_payload(w, Receiver::of_bytes(to), payload)
    }

    /// The answer to a call of `caller`: to the alias of its tag by `ALTACT_SIG_SEND` or, where the
    /// peer does not know that, `ALIAS_SEND`; `SEND` where the tag names no alias.
    pub(crate) fn answer(
        &self,
        to: ReplyAddress<'_>,
        caller: Term<'_>,
        payload: &[u8],
    ) -> Outgoing {
        /// The bit that says "the receiver is an alias".
        const TO_ALIAS: i64 = 4;
        let mut w;
        match to {
            ReplyAddress::Pid(pid) => return self.send(pid.bytes(), payload),
            ReplyAddress::Alias(reference) => {
                if self.flags.contains(Flags::ALTACT_SIG) {
                    w = self.control(4);
                    w.int(37).int(TO_ALIAS);
                } else {
                    w = self.control(3);
                    w.int(33);
                }
                self.identity.write_node(&mut w);
                w.raw(reference.bytes());
            }
        }
        self.with_payload(w, Receiver::of(caller), payload)
    }

    /// The answer to a monitor whose target is no more: `PAYLOAD_MONITOR_P_EXIT`, or
    /// `MONITOR_P_EXIT` without the flag. `target` is echoed: the pid or the name. All are terms.
    pub(crate) fn down(
        &self,
        target: &[u8],
        to: &[u8],
        reference: &[u8],
        reason: &[u8],
    ) -> Outgoing {
        let has_payload = self.flags.contains(Flags::EXIT_PAYLOAD);
        let mut w = self.control(if has_payload { 4 } else { 5 });
        w.int(if has_payload { 28 } else { 21 });
        w.raw(target).raw(to).raw(reference);
        self.with_reason(w, Receiver::of_bytes(to), has_payload, reason)
    }

    /// The end of a link: `PAYLOAD_EXIT`, or `EXIT` without the flag.
    pub(crate) fn exit(&self, from: &[u8], to: &[u8], reason: &[u8]) -> Outgoing {
        let has_payload = self.flags.contains(Flags::EXIT_PAYLOAD);
        let mut w = self.control(if has_payload { 3 } else { 4 });
        w.int(if has_payload { 24 } else { 3 });
        w.raw(from).raw(to);
        self.with_reason(w, Receiver::of_bytes(to), has_payload, reason)
    }

    /// `UNLINK_ID_ACK`: must precede any other signal to the one that unlinked.
    pub(crate) fn unlink_ack(&self, id: Term<'_>, from: Term<'_>, to: Term<'_>) -> Outgoing {
        let mut w = self.control(4);
        w.int(36).raw(id.bytes()).raw(from.bytes()).raw(to.bytes());
        without_payload(w, Receiver::of(to))
    }

    /// `SPAWN_REPLY` with an error: nothing was spawned.
    pub(crate) fn spawn_refused(&self, reference: Term<'_>, to: Term<'_>) -> Outgoing {
        let mut w = self.control(5);
        w.int(31)
            .raw(reference.bytes())
            .raw(to.bytes())
            .int(0)
            .atom("notsup");
        without_payload(w, Receiver::of(to))
    }

    /// `MONITOR_P` of a process of the peer by the node; `number` makes the reference.
    pub(crate) fn monitor(&self, pid: &[u8], number: u32) -> Outgoing {
        self.monitoring(19, pid, number)
    }

    /// `DEMONITOR_P`.
    pub(crate) fn demonitor(&self, pid: &[u8], number: u32) -> Outgoing {
        self.monitoring(20, pid, number)
    }

    fn monitoring(&self, op: i64, pid: &[u8], number: u32) -> Outgoing {
        let mut w = self.control(4);
        w.int(op);
        self.identity.write_node(&mut w);
        w.raw(pid).raw(&self.reference(number));
        without_payload(w, Receiver::of_bytes(pid))
    }

    /// The pid of a connection.
    pub(crate) fn conn(&self, conn: Conn) -> Vec<u8> {
        let mut w = Writer::new();
        self.identity.write_conn(&mut w, conn);
        w.into_bytes()
    }

    /// A reference of ours, encoded: the form in which it also comes back.
    pub(crate) fn reference(&self, number: u32) -> Vec<u8> {
        let mut w = Writer::new();
        // The first word of a reference has 18 bits.
        let words = [number & 0x3_ffff, number >> 18, 0];
        w.reference(self.identity.name.as_str(), self.identity.creation, &words);
        w.into_bytes()
    }

    /// Begins a frame of the shape that the link has, with a control message of so many fields.
    fn control(&self, fields: usize) -> Writer {
        let mut writer = Writer::new();
        if self.has_fragments() {
            writer.raw(&HEADER);
        } else {
            writer.u8(PASS_THROUGH).version();
        }
        writer.tuple(fields);
        writer
    }

    fn with_payload(&self, mut writer: Writer, to: Receiver, payload: &[u8]) -> Outgoing {
        let at = writer.written();
        if !self.has_fragments() {
            writer.version();
        }
        writer.raw(payload);
        Outgoing {
            body: writer.into_bytes(),
            cut_from: self.has_fragments().then_some(at),
            to,
        }
    }

    fn with_reason(
        &self,
        mut writer: Writer,
        to: Receiver,
        as_payload: bool,
        reason: &[u8],
    ) -> Outgoing {
        if as_payload {
            return self.with_payload(writer, to, reason);
        }
        writer.raw(reason);
        without_payload(writer, to)
    }

    fn has_fragments(&self) -> bool {
        self.flags.contains(Flags::FRAGMENTS)
    }
}

fn without_payload(writer: Writer, to: Receiver) -> Outgoing {
    Outgoing {
        body: writer.into_bytes(),
        cut_from: None,
        to,
    }
}
