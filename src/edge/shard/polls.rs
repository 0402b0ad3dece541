//! Long polls at their shard: a connection that goes on with another socket.
//!
//! When and what a poll is answered is the hub's affair. The permit of a connection is that of its
//! first poll; those of later ones go back at once, and with them their address's place.

use std::time::{Duration, SystemTime};

use mio::{Interest, Token};

use super::Running;
use super::queue::Adoption;
use crate::hub::Polled;
use crate::metrics::Poll;
use crate::wire::Reason;

impl Running {
    /// Takes in a poll that goes on with a connection that there is. Anything else comes back, to
    /// begin one.
    pub(super) fn resume(&mut self, adoption: Adoption) -> Option<Adoption> {
        let known = adoption.poll.as_deref();
        let known = known.and_then(|ask| self.shard.hub.poll_of(&adoption.id, ask));
        let (Some(conn), Some(ask)) = (known, adoption.poll.as_deref()) else {
            return Some(adoption);
        };
        let ask = ask.clone();
        self.shard.hub.handle_poll_replaced(conn, &mut self.sockets);
        // The older socket is closed before this one takes its place.
        self.outputs();
        let mut socket = mio::net::TcpStream::from_std(adoption.socket);
        let registry = &self.shard.registry;
        let token = Token(conn.slot as usize);
        let registered = registry.register(&mut socket, token, Interest::READABLE);
        let (session, forwarded) = (adoption.session, adoption.forwarded);
        self.sockets.put(conn.slot, socket, session, forwarded);
        let hub = &mut self.shard.hub;
        hub.handle_poll(conn, ask, &mut self.sockets);
        if registered.is_err() {
            hub.handle_gone(conn.slot, Reason::Io);
        }
        None
    }

    /// Answers polls, at the end of a turn that took so long.
    pub(super) fn polls(&mut self, elapsed: Duration) {
        let hub = &mut self.shard.hub;
        hub.handle_ready_polls(&mut self.sockets);
        hub.handle_poll_time(elapsed, SystemTime::now(), &mut self.sockets);
        let Polled {
            told,
            begun,
            nothing,
            anew,
            replaced,
            left,
        } = hub.take_polled();
        for (outcome, count) in [
            (Poll::Told, told),
            (Poll::Begun, begun),
            (Poll::Nothing, nothing),
            (Poll::Anew, anew),
            (Poll::Replaced, replaced),
            (Poll::Left, left),
        ] {
            if count > 0 {
                self.shard.metrics.polls.of(outcome).add(count);
            }
        }
        self.outputs();
    }
}
