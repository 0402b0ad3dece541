//! What each frame from the peer makes us do.
//!
//! Runs on the reader's thread and never blocks it. Keeps no state: monitors and links are the link's
//! (`watches`, and `signals` for what they mean), owners the registry's. The rule behind every line: whoever waits in Erlang is
//! answered at once, if only with a refusal, and what cannot be used is counted, not fatal. Spec:
//! OTP "Distribution Protocol", "Control Messages".

use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;
use tracing::warn;

use super::assembly::{Assemblies, Outcome};
use super::gathered::{Brought, Gathered};
use super::reply::{ReplyTo, answer_now};
use super::signals::{LARIAT, NET_KERNEL};
use super::{Limits, Link};
use crate::dist::codec::{
    Body, Call, Control, Malformed, Message, Shape, bad_request, call_of_undecodable, io_refused,
    open, sent, shape, split,
};
use crate::dist::identity::Named;
use crate::dist::name::NodeName;
use crate::dist::owners::Attached;
use crate::dist::registry::Registry;
use crate::dist::throttle::Throttle;
use crate::metrics::{Dropped, LinkDown, Metrics};
use crate::term::{Pid, Refused, Request, Term, request, signal};
use crate::wire::{Command, Owner, Refusal, Reply};

/// The registered name of sends on credit: `{Ids, Msg}`, or a cast of `{send, Ids, Msg, Options}`.
const CREDITED: &str = "lariat_credited";

pub(crate) struct Session {
    pub(super) link: Arc<Link>,
    pub(super) registry: Arc<Registry>,
    /// Sends of this read that have not been handed over; they go before whatever came later.
    gathered: Gathered,
    /// What they keep alive.
    held_bytes: usize,
    /// Messages of which parts are still to come.
    assemblies: Assemblies,
    /// Whose credit this node's sends are on: the last that attached over this link and asked for
    /// it. It may have gone since; the bridge then takes the sends as sent without.
    credit: Cell<Option<Owner>>,
    unknown_shapes: Throttle,
    undecodable: Throttle,
    unknown_controls: Throttle,
    too_large: Throttle,
}

impl Session {
    pub(super) fn new(link: Arc<Link>, registry: Arc<Registry>, limits: Limits) -> Session {
        let metrics = Arc::clone(registry.metrics());
        Session {
            link,
            registry,
            gathered: Gathered::default(),
            held_bytes: 0,
            assemblies: Assemblies::new(limits.frame_bytes_max, metrics),
            credit: Cell::new(None),
            unknown_shapes: Throttle::default(),
            undecodable: Throttle::default(),
            unknown_controls: Throttle::default(),
            too_large: Throttle::default(),
        }
    }

    pub(super) fn peer(&self) -> &NodeName {
        self.link.peer()
    }

    /// The read is over, all of its frames have come: hands over what is gathered.
    pub(super) fn hand_over(&mut self, bytes: usize) -> Brought {
        self.flush();
        let brought = self.gathered.finish();
        let metrics = self.metrics();
        metrics.received_bytes.add(bytes as u64);
        metrics.frames_received.add(brought.frames as u64);
        brought
    }

    /// Before anything but another send: what one process sends arrives in order.
    fn flush(&mut self) {
        let inbound = self.registry.inbound();
        self.gathered.hand_over(inbound, self.held_bytes);
    }

    /// A tick is answered with a tick.
    pub(super) fn tick(&mut self) {
        self.gathered.frame();
        self.link.queue.tick();
    }

    /// The link has ended; `reason` counts unless somebody else gave one before.
    pub(super) fn end(self, reason: LinkDown) {
        self.link.close(reason);
        self.registry
            .link_ended(&self.link, self.link.down_reason());
    }

    /// `held_bytes` is what a slice of the frame keeps alive.
    pub(super) fn frame(&mut self, frame: &Bytes, held_bytes: usize) -> Result<(), Malformed> {
        self.gathered.frame();
        self.held_bytes = held_bytes;
        let (part, outcome) = match open(frame)? {
            Body::Whole(message) => return self.message(message, frame),
            Body::First(part) => (part, self.assemblies.begin(part)?),
            Body::Next(part) => (part, self.assemblies.go_on(part)?),
        };
        match outcome {
            Outcome::Open => Ok(()),
            Outcome::Whole(bytes) => self.message(Message::assembled(&bytes), &bytes),
            Outcome::GivenUp(beginning) if beginning.is_empty() => self.give_up(part.bytes),
            Outcome::GivenUp(beginning) => self.give_up(&beginning),
        }
    }

    /// A message, within the bytes that it shares.
    fn message(&mut self, message: Message<'_>, frame: &Bytes) -> Result<(), Malformed> {
        if let Some(sent) = sent(message, frame) {
            self.deliver(sent.name, sent.command);
            return Ok(());
        }
        let (control, payload_bytes) = split(message)?;
        if !matches!(control, Control::RegSend { .. }) {
            self.flush();
        }
        let message = match payload_bytes.map(Term::whole) {
            Some(Ok(term)) => Some(term),
            None => None,
            // These have their effect whatever arguments or reason come with them.
            Some(Err(_)) if is_whole(&control) => None,
            Some(Err(refused)) => {
                self.undecodable(refused, payload_bytes.unwrap_or_default());
                return Ok(());
            }
        };
        self.obey(control, message, frame);
        Ok(())
    }

    fn obey(&mut self, control: Control<'_>, message: Option<Term<'_>>, frame: &Bytes) {
        let outbound = &self.link.outbound;
        match (control, message) {
            (Control::RegSend { name }, Some(message)) => self.by_name(name, message, frame),
            (Control::Send { to }, Some(message)) => self.by_pid(to, message, frame),
            (Control::AliasSend, _) => self.drop_for(Dropped::UnknownPid),
            (Control::Exit { to, reason }, payload) => self.exit(to, reason.or(payload)),
            (
                Control::Monitor {
                    from,
                    to,
                    reference,
                },
                _,
            ) => self.monitor(from, to, reference),
            (Control::Demonitor { to, reference }, _) => self.demonitor(to, reference),
            (Control::MonitorExit { reference }, _) => {
                self.registry.owner_died(&self.link, reference.bytes());
            }
            (Control::Link { from, to }, _) => self.link_to(from, to),
            (Control::UnlinkId { id, from, to }, _) => self.unlink(id, from, to),
            (Control::LinkExit { from, to, reason }, payload) => {
                self.link_exit(from, to, reason.or(payload));
            }
            (Control::SpawnRequest { reference, from }, _) => {
                self.metrics().spawns_refused.increment();
                self.link.send(&outbound.spawn_refused(reference, from));
            }
            (Control::Ignored, _) => {}
            (Control::Unknown, _) | (Control::RegSend { .. } | Control::Send { .. }, None) => {
                self.metrics().unknown_controls.increment();
                if let Some(suppressed) = self.unknown_controls.pass() {
                    let peer = self.peer();
                    warn!(%peer, suppressed, "an unknown control message was skipped");
                }
            }
        }
    }

    fn by_name(&mut self, name: &str, message: Term<'_>, frame: &Bytes) {
        let shape = shape(message, frame);
        if !matches!(shape, Shape::Deliver(_) | Shape::Cast(_)) {
            self.flush();
        }
        match shape {
            Shape::Deliver(command) => self.deliver(name, command),
            Shape::Call(call) if name == LARIAT || name == NET_KERNEL => self.call(&call, frame),
            Shape::Cast(asked) if name == LARIAT || name == CREDITED => {
                self.cast(name, asked, frame);
            }
            Shape::Io { from, reply_as } => self.refuse_io(from, reply_as),
            // Who calls another name has been told `noproc` by the monitor that comes before.
            Shape::Call(_) | Shape::Cast(_) | Shape::Unknown => self.unknown_shape(name),
        }
    }

    /// A command that nobody waits for. Sends go together, at the latest when the read is over.
    fn deliver(&mut self, name: &str, mut command: Command) {
        if let Command::Send { credit, .. } = &mut command {
            if name == CREDITED {
                *credit = self.credit.get();
            }
            self.gathered.send(command);
        } else {
            self.flush();
            self.registry.inbound().command(command, None);
        }
    }

    fn by_pid(&mut self, to: Pid<'_>, message: Term<'_>, frame: &Bytes) {
        let named = self.link.outbound.identity.named_by(to);
        if named == Named::Node {
            return self.by_name(LARIAT, message, frame);
        }
        match shape(message, frame) {
            Shape::Call(call) => answer_now(&self.link, &call, |w| bad_request(w, call.request)),
            Shape::Io { from, reply_as } => self.refuse_io(from, reply_as),
            _ => match named {
                Named::Conn(conn) => match signal(message, frame) {
                    Some(signal) => self.signal(conn, signal),
                    None => self.unknown_shape("the pid of a connection"),
                },
                Named::Node | Named::Nothing => self.drop_for(Dropped::UnknownPid),
            },
        }
    }

    fn call(&mut self, call: &Call<'_>, frame: &Bytes) {
        let link = &self.link;
        let refuse = || answer_now(link, call, |w| bad_request(w, call.request));
        let Some(asked) = call.request else {
            return refuse();
        };
        let inbound = self.registry.inbound();
        let reply_to = |new| Some(ReplyTo::new(link, &self.registry, call, new));
        match request(asked, frame) {
            Request::IsAuth => answer_now(link, call, |w| {
                w.atom("yes");
            }),
            Request::Command(command) => inbound.command(command, reply_to(None)),
            Request::Attach { pid, options } => match self.attach(pid, options.on_credit) {
                Attached::New(owner) => {
                    let handlers = options.handlers;
                    inbound.command(Command::Attach { owner, handlers }, reply_to(Some(owner)));
                }
                Attached::Known(owner) => {
                    let handlers = options.handlers;
                    inbound.command(Command::Attach { owner, handlers }, reply_to(None));
                }
                Attached::Full => {
                    let refused = Reply::Refused(Refusal::OwnersLimit);
                    ReplyTo::new(link, &self.registry, call, None).send(refused);
                }
                Attached::Elsewhere => refuse(),
            },
            Request::Detach => match self.registry.detach_pid(link, call.from) {
                Some(owner) => inbound.command(Command::Detach { owner }, reply_to(None)),
                None => ReplyTo::new(link, &self.registry, call, None).send(Reply::Ok),
            },
            Request::Bad => {
                self.unknown_shape("a call");
                refuse();
            }
        }
    }

    fn cast(&mut self, name: &str, asked: Term<'_>, frame: &Bytes) {
        match request(asked, frame) {
            Request::Command(command) => self.deliver(name, command),
            Request::Attach { pid, options } => {
                self.flush();
                let attached = self.attach(pid, options.on_credit);
                if let Attached::New(owner) | Attached::Known(owner) = attached {
                    let handlers = options.handlers;
                    let command = Command::Attach { owner, handlers };
                    self.registry.inbound().command(command, None);
                }
            }
            // A cast has no sender, so there is nobody to detach.
            Request::Detach | Request::IsAuth | Request::Bad => self.unknown_shape("a cast"),
        }
    }

    fn attach(&self, pid: Term<'_>, on_credit: bool) -> Attached {
        let pid = pid.pid();
        let attached = pid.map_or(Attached::Elsewhere, |pid| {
            self.registry.attach(&self.link, pid)
        });
        if let Attached::New(owner) | Attached::Known(owner) = attached
            && on_credit
        {
            self.credit.set(Some(owner));
        }
        attached
    }

    /// A message is larger than it may be: the rest of it is skipped. Whoever waits for an answer
    /// gets one, if the beginning of the message says who.
    fn give_up(&mut self, beginning: &[u8]) -> Result<(), Malformed> {
        let (control, payload_bytes) = split(Message::assembled(beginning))?;
        self.drop_for(Dropped::TooLarge);
        if matches!(control, Control::SpawnRequest { .. }) {
            self.obey(control, None, &Bytes::new());
        } else {
            self.refuse_call(payload_bytes.unwrap_or_default());
        }
        if let Some(suppressed) = self.too_large.pass() {
            let peer = self.peer();
            warn!(
                %peer, suppressed,
                "a message was skipped: it is too large, or too many large ones are open at once. \
                 Send less at a time, or raise dist.frame_bytes_max"
            );
        }
        Ok(())
    }

    /// A caller waits even when its request is of no use.
    fn refuse_call(&self, payload_bytes: &[u8]) {
        if let Some(call) = call_of_undecodable(payload_bytes) {
            answer_now(&self.link, &call, |w| bad_request(w, None));
        }
    }

    fn undecodable(&self, refused: Refused, payload_bytes: &[u8]) {
        self.drop_for(Dropped::Undecodable);
        self.refuse_call(payload_bytes);
        if let Some(suppressed) = self.undecodable.pass() {
            let peer = self.peer();
            warn!(%peer, suppressed, "a message was skipped, its term is not accepted: {refused}");
        }
    }

    fn refuse_io(&self, from: Term<'_>, reply_as: Term<'_>) {
        let payload = io_refused(reply_as);
        self.link
            .send(&self.link.outbound.send(from.bytes(), &payload));
    }

    fn unknown_shape(&self, to: &str) {
        self.drop_for(Dropped::UnknownShape);
        if let Some(suppressed) = self.unknown_shapes.pass() {
            let peer = self.peer();
            warn!(
                %peer, to, suppressed,
                "a message was skipped: its shape is unknown. Send {{Id, Msg}} or {{[Id], Msg}} with \
                 Msg a binary or an iolist to any name, or gen_server:call({{lariat, Node}}, Command)"
            );
        }
    }

    fn drop_for(&self, reason: Dropped) {
        self.metrics().dropped.of(reason).increment();
    }

    pub(super) fn metrics(&self) -> &Metrics {
        self.registry.metrics()
    }
}

/// Whether the control message says enough without its payload.
fn is_whole(control: &Control<'_>) -> bool {
    matches!(
        control,
        Control::SpawnRequest { .. }
            | Control::Exit { .. }
            | Control::LinkExit { .. }
            | Control::MonitorExit { .. }
    )
}
