//! What makes a connection a process: monitors, links and exit signals from the peer.
//!
//! The connections themselves are the shards'. A monitor or link is noted (`watches`) and the shard
//! that holds the connection asked to tell; the shard's answer is exact, because it alone knows. It
//! comes back through `Node::gone`. The order that holds: what one process sends to one connection takes
//! effect in that order, monitors and links included; a DOWN or exit signal comes when the
//! connection is gone, after all that was written to it. No order holds between these signals and
//! the events of owners or the answers to calls: those come from the node.
//!
//! The node's own process cannot end but with the link, which Erlang notices by itself: monitors of
//! it and links to it are accepted and need no memory.

use super::session::Session;
use super::watches::{Added, Removed, Watch};

use crate::dist::identity::Named;
use crate::term::{Pid, Term, atom, atom_reason, pid, reason};
use crate::wire::{Command, Conn, Signal, Watcher};

/// The registered name that commands go to.
pub(super) const LARIAT: &str = "lariat";
/// The registered name that `net_adm:ping` goes to.
pub(super) const NET_KERNEL: &str = "net_kernel";

/// Why a signal cannot be what was asked for.
const NO_PROCESS: &str = "noproc";
const TOO_MANY: &str = "system_limit";

impl Session {
    pub(super) fn monitor(&self, from: Term<'_>, to: Term<'_>, reference: Term<'_>) {
        let named = match (to.pid(), to.atom()) {
            (Some(pid), _) => self.link.outbound.identity.named_by(pid),
            (None, Some(LARIAT | NET_KERNEL)) => Named::Node,
            (None, _) => Named::Nothing,
        };
        let reason = match (named, from.pid()) {
            (Named::Node, _) => return,
            (Named::Conn(conn), Some(from)) => {
                if self.watch(conn, Watch::monitor(reference, &pid(from))) {
                    return;
                }
                TOO_MANY
            }
            _ => NO_PROCESS,
        };
        let (to, from, reference) = (to.bytes(), from.bytes(), reference.bytes());
        let down = self.link.outbound.down(to, from, reference, &atom(reason));
        self.link.send(&down);
    }

    pub(super) fn demonitor(&self, to: Term<'_>, reference: Term<'_>) {
        if let Some(conn) = self.conn(to) {
            let removed = self.link.watches.demonitor(conn, reference);
            self.unwatch(conn, removed);
        }
    }

    pub(super) fn link_to(&self, from: Term<'_>, to: Term<'_>) {
        let named = to
            .pid()
            .map(|pid| self.link.outbound.identity.named_by(pid));
        let reason = match (named, from.pid()) {
            (Some(Named::Node), _) => return,
            (Some(Named::Conn(conn)), Some(from)) => {
                if self.watch(conn, Watch::link(&pid(from))) {
                    return;
                }
                TOO_MANY
            }
            _ => NO_PROCESS,
        };
        let exit = self
            .link
            .outbound
            .exit(to.bytes(), from.bytes(), &atom(reason));
        self.link.send(&exit);
    }

    /// Answered before anything else goes to `from`: until then it takes no exit signal of `to`.
    pub(super) fn unlink(&self, id: Term<'_>, from: Term<'_>, to: Term<'_>) {
        let conn = self.conn(to);
        let removed = match (conn, from.pid()) {
            (Some(conn), Some(from)) => self.link.watches.unlink(conn, &pid(from)),
            _ => Removed::Unknown,
        };
        self.link.send(&self.link.outbound.unlink_ack(id, to, from));
        if let Some(conn) = conn {
            self.unwatch(conn, removed);
        }
    }

    /// A linked process has ended: the connection ends with it, unless the reason is `normal`. Without
    /// the link (its end has crossed an unlink) nothing happens.
    pub(super) fn link_exit(&self, from: Term<'_>, to: Term<'_>, why: Option<Term<'_>>) {
        let (Some(conn), Some(from)) = (self.conn(to), from.pid()) else {
            return;
        };
        let removed = self.link.watches.unlink(conn, &pid(from));
        if removed == Removed::Unknown {
            return;
        }
        self.unwatch(conn, removed);
        if why.and_then(Term::atom) != Some("normal") {
            self.close(conn, why);
        }
    }

    /// `exit(Pid, Reason)`. As for a process: `normal` from another does not end it, `kill` ends it at
    /// once and with the reason `killed`.
    pub(super) fn exit(&self, to: Pid<'_>, why: Option<Term<'_>>) {
        let Named::Conn(conn) = self.link.outbound.identity.named_by(to) else {
            return;
        };
        match why.and_then(Term::atom) {
            Some("normal") => {}
            Some("kill") => self.signal(conn, Signal::Abort(atom_reason("killed"))),
            _ => self.close(conn, why),
        }
    }

    pub(super) fn signal(&self, conn: Conn, signal: Signal) {
        self.command(Command::Signal { conn, signal });
    }

    /// A reason that cannot be decoded is still one to close for.
    fn close(&self, conn: Conn, why: Option<Term<'_>>) {
        let reason = why.map_or_else(|| atom_reason("undecodable"), reason);
        self.signal(conn, Signal::Close(reason));
    }

    /// False: too many.
    fn watch(&self, conn: Conn, watch: Watch) -> bool {
        let added = self.link.watches.add(conn, watch);
        if added == Added::First {
            let watcher = self.watcher();
            self.command(Command::Watch { conn, watcher });
        }
        if added == Added::Full {
            self.metrics().watches_refused.increment();
        }
        added != Added::Full
    }

    fn unwatch(&self, conn: Conn, removed: Removed) {
        if removed == Removed::Last {
            let watcher = self.watcher();
            self.command(Command::Unwatch { conn, watcher });
        }
    }

    fn watcher(&self) -> Watcher {
        self.link.ticket.watcher()
    }

    fn conn(&self, to: Term<'_>) -> Option<Conn> {
        match self.link.outbound.identity.named_by(to.pid()?) {
            Named::Conn(conn) => Some(conn),
            Named::Node | Named::Nothing => None,
        }
    }

    fn command(&self, command: Command) {
        self.registry.inbound().command(command, None);
    }
}
