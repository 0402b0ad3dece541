//! What each command does to its shard.
//!
//! Nothing here blocks, and nothing polls: a turn of the shard hands the commands over one by one, and a
//! sender that found it asleep its own (`direct`).

use mio::{Interest, Token};

use super::drain::Drain;
use super::queue::{Adoption, ShardAnswer, ShardCommand};
use super::sockets;
use super::{Running, label};
use crate::edge::http::refusal::Refusal;
use crate::edge::newsfeed::News;
use crate::hub::Sent;
use crate::metrics::{self, Dropped};
use crate::wire::{Conn, Event, Gone, Lent, OpenedInfo, Reason, Signal, Transport};

/// Connections told in one part of a snapshot: a part takes about a millisecond.
const SNAPSHOT_STEP: usize = 1000;

impl Running {
    pub(super) fn carry_out(&mut self, command: ShardCommand) {
        self.do_as_told(command);
        self.outputs();
    }

    /// Leaves what follows from it to [`Running::outputs`].
    pub(super) fn do_as_told(&mut self, command: ShardCommand) {
        let (hub, sockets) = (&mut self.shard.hub, &mut self.sockets);
        match command {
            ShardCommand::Adopt(adoptions) => {
                for adoption in adoptions {
                    self.adopt(adoption);
                    // A slot that one gave back at once is nobody's before the next may have it.
                    self.outputs();
                }
            }
            ShardCommand::Send {
                ids,
                message,
                credit,
                answer,
            } => {
                let sent = hub.handle_message(&ids, &message, sockets);
                self.count(sent);
                // Counted first: whoever hears of the credit or of the answer finds it counted.
                drop(credit);
                if let Some(answer) = answer {
                    let Sent {
                        connections,
                        queued_bytes,
                        ..
                    } = sent;
                    answer(ShardAnswer::Sent {
                        connections,
                        queued_bytes,
                    });
                }
            }
            ShardCommand::SendOwn { ids, message } => {
                let sent = hub.handle_own_message(&ids, message, sockets);
                self.count(sent);
            }
            ShardCommand::DeliverOwn { conn, message } => {
                let sent = hub.handle_own_signal(conn, message, sockets);
                self.count_delivered(sent);
            }
            ShardCommand::Close {
                ids,
                reason,
                answer,
            } => {
                let mut closed = 0;
                ids.for_each(|id| closed += hub.handle_close(id, &reason, sockets));
                if let Some(answer) = answer {
                    answer(ShardAnswer::Closed(closed));
                }
            }
            ShardCommand::CloseAll { per_second, answer } => {
                let held = hub.held();
                self.end_drain();
                if per_second > 0 && held > 0 {
                    self.drain = Some(Drain::begin(per_second, held, &self.shard.metrics));
                }
                if let Some(answer) = answer {
                    answer(ShardAnswer::Closed(held as u64));
                }
            }
            ShardCommand::Connections { id, answer } => {
                answer(ShardAnswer::Connections(hub.connections(&id)));
            }
            ShardCommand::Sample { most, answer } => {
                let mut sample = Vec::new();
                let mut from = 0;
                while let Some((conn, id, transport)) = hub.next_held(from)
                    && sample.len() < most
                {
                    sample.push((id.clone(), transport));
                    from = conn.slot + 1;
                }
                answer(ShardAnswer::Sample(sample));
            }
            ShardCommand::Signal {
                conn,
                signal: Signal::Deliver(message),
            } => self.deliver(conn, (&message).into()),
            ShardCommand::Signal {
                conn,
                signal: Signal::Close(reason),
            } => {
                hub.handle_close_conn(conn, reason, sockets);
            }
            ShardCommand::Signal {
                conn,
                signal: Signal::Abort(reason),
            } => {
                hub.handle_abort_conn(conn, reason);
            }
            ShardCommand::Watch(wish) => {
                if hub.is_held(wish.conn) {
                    self.shard.watchers.add(wish);
                } else {
                    wish.answer(Gone::Before);
                }
            }
            ShardCommand::Unwatch { conn, watcher } => self.shard.watchers.remove(conn, watcher),
            ShardCommand::Forget { watcher } => self.shard.watchers.forget(watcher),
            ShardCommand::Snapshot { attachment, from } => self.snapshot(attachment, from),
            ShardCommand::ReadOn => self.read_on(),
            ShardCommand::Reload(config) => {
                hub.set_limits(config.limits);
                hub.set_poll_linger(config.poll_linger);
                self.inbox.allow(config.allowed);
                self.shard
                    .sweep
                    .set_heartbeat(config.heartbeat, fastrand::f64());
                self.shard.comeback = config.comeback;
            }
            ShardCommand::Stop => self.stopping = true,
            #[cfg(test)]
            ShardCommand::Panic => panic!("as the test wants it"),
        }
    }

    pub(super) fn deliver(&mut self, conn: Conn, message: Lent<'_>) {
        let sent = self
            .shard
            .hub
            .handle_signal(conn, message, &mut self.sockets);
        self.count_delivered(sent);
    }

    fn count_delivered(&self, sent: Option<Sent>) {
        match sent {
            Some(sent) => self.count(sent),
            None => self.shard.metrics.dropped.of(Dropped::Gone).increment(),
        }
    }

    fn adopt(&mut self, adoption: Adoption) {
        let Some(adoption) = self.resume(adoption) else {
            return;
        };
        let Adoption {
            socket,
            session,
            peer,
            forwarded,
            id,
            framing,
            when_full,
            handler,
            heartbeat,
            greeting,
            poll,
            ahead,
            permit,
        } = adoption;
        let mut socket = mio::net::TcpStream::from_std(socket);
        let Ok(conn) = self.shard.hub.insert(id.clone(), framing, when_full) else {
            self.shard
                .metrics
                .refused
                .of(metrics::Refused::Unavailable)
                .increment();
            sockets::refuse(socket, session, &Refusal::ID.answer());
            return;
        };
        // One name too many is not held: its owners could not tell whose it is.
        let named = handler.as_ref().map(|name| self.named.put(conn.slot, name));
        let is_named = named.is_none_or(|named| named.is_ok());
        if let Some(heartbeat) = heartbeat
            && self.beats.put(conn.slot, heartbeat).is_err()
        {
            self.shard.metrics.own_heartbeats_refused.increment();
        }
        let token = Token(conn.slot as usize);
        let registered = self
            .shard
            .registry
            .register(&mut socket, token, Interest::READABLE);
        self.sockets.put(conn.slot, socket, session, forwarded);
        self.shard.permits.keep(conn.slot, permit);
        let transport = framing.transport();
        self.held[transport as usize] += 1;
        self.shard.metrics.connections.of(label(transport)).add(1);
        self.shard.metrics.opened.of(label(transport)).increment();
        let peer = forwarded.or(peer);
        let info = OpenedInfo {
            transport,
            peer,
            handler,
        };
        self.tell(Event::Opened { conn, id, info });
        let hub = &mut self.shard.hub;
        match (registered, poll) {
            (Ok(()), Some(ask)) if is_named => hub.handle_poll(conn, *ask, &mut self.sockets),
            (Ok(()), None) if is_named => hub.handle_opened(conn, &greeting, &mut self.sockets),
            _ => self.shard.hub.handle_gone(conn.slot, Reason::Io),
        }
        if !ahead.is_empty() && framing.transport() == Transport::Websocket {
            self.hear(conn.slot, &ahead);
        }
    }

    /// A part at a time, when asked for it: a shard is never busy with a snapshot for longer than
    /// its other connections can wait, and never ahead of whom it is for.
    fn snapshot(&mut self, attachment: u64, from: u32) {
        let shard = self.shard.number;
        if from == 0 {
            self.news.push(News::SnapshotBegin { shard, attachment });
        }
        let mut events = Vec::new();
        let mut next = Some(from);
        while let Some(at) = next
            && events.len() < SNAPSHOT_STEP
        {
            let Some((conn, id, transport)) = self.shard.hub.next_held(at) else {
                next = None;
                break;
            };
            let peer = self.sockets.peer(conn.slot);
            let info = OpenedInfo {
                transport,
                peer,
                handler: self.named.get(conn.slot).cloned(),
            };
            events.push(Event::Opened {
                conn,
                id: id.clone(),
                info,
            });
            next = Some(conn.slot + 1);
        }
        self.news.push(News::Snapshot {
            shard,
            attachment,
            events,
            next,
        });
    }

    pub(super) fn count(&self, sent: Sent) {
        let metrics = &self.shard.metrics;
        metrics.delivered.add(sent.connections);
        for (reason, count) in [
            (Dropped::NoConnection, sent.nobody),
            (Dropped::Gone, sent.ending),
            (Dropped::OutboxFull, sent.outbox_full),
            (Dropped::OutboxTotal, sent.outbox_total),
        ] {
            if count > 0 {
                metrics.dropped.of(reason).add(count);
            }
        }
    }
}
