//! Sends to several shards: those that one read brought, gathered so that each shard's queue is told once
//! and its thread woken once; and one message that goes to all of its shards, or to none.
//!
//! Who does nothing but send is noticed here (`shard/relief` says who that is). No other policy: what fits is the
//! queue's to say, what is refused the caller's to count.

use super::Edge;
use super::credit::Credit;
use super::shard::direct::Direct;
use super::shard::queue::{QueueFull, ShardCommand};
use super::shard::relief::{self, Sender};
use crate::hub::Roomy;
use crate::wire::{Conn, Id, Ids, Lent, Message, Signal};

/// Sends by shard, in order. The memory serves again after [`Edge::hand_over`].
pub struct Batch {
    by_shard: Vec<Vec<ShardCommand>>,
    held_bytes: usize,
}

impl Batch {
    /// What the messages of this batch keep alive beside their own size: parts of one piece of memory
    /// are as heavy as the whole, in each queue that has one of them.
    pub fn holds(&mut self, bytes: usize) {
        self.held_bytes = bytes;
    }

    /// Adds a message for ids that all live on `shard`.
    pub fn send(&mut self, shard: usize, ids: Ids, message: Message, credit: Option<Credit>) {
        self.by_shard[shard].push(ShardCommand::Send {
            ids,
            message,
            credit,
            answer: None,
        });
    }
}

/// A lent message that is to wait. What is not copied for each shard is copied once for all of them: `shared`.
fn send_lent(ids: Ids, message: Lent<'_>, shared: &mut Option<Message>) -> ShardCommand {
    match Roomy::of(message) {
        Some(message) => ShardCommand::SendOwn { ids, message },
        None => ShardCommand::Send {
            ids,
            message: shared.get_or_insert_with(|| message.into()).clone(),
            credit: None,
            answer: None,
        },
    }
}

/// What became of a message that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Now {
    /// The caller has written it to its connections, or found none.
    Written,
    /// The shard has it.
    Queued,
    /// The same, and because the shard is behind the caller, which does nothing but send, was kept for a while.
    Delayed,
}

impl Edge {
    /// An empty batch for this edge.
    pub fn batch(&self) -> Batch {
        Batch {
            by_shard: (0..self.shards()).map(|_| Vec::new()).collect(),
            held_bytes: 0,
        }
    }

    /// Queues what is gathered, and leaves the batch empty. Tells `refused` what full queues drop.
    /// Whether all of it waits behind what was there before: then its shards are busy anyway.
    pub fn hand_over(&self, batch: &mut Batch, mut refused: impl FnMut(&Ids, &Message)) -> bool {
        let (mut any, mut all_behind) = (false, true);
        for (queue, commands) in self.0.queues.iter().zip(&mut batch.by_shard) {
            if commands.is_empty() {
                continue;
            }
            any = true;
            all_behind &= queue.push_all(commands, batch.held_bytes);
            for command in commands.drain(..) {
                if let ShardCommand::Send { ids, message, .. } = command {
                    refused(&ids, &message);
                }
            }
        }
        any && all_behind
    }

    /// Delivers to an id, without credit, or says that too much waits already: of who is told so at once
    /// less may wait than of others. Waits for nobody, but writes a small message itself where the shard is
    /// free, which takes as long as the system calls.
    pub fn send_now(&self, id: Id, message: Lent<'_>) -> Result<Now, QueueFull> {
        let shard = self.shard_of(&id);
        let sender = relief::sender();
        if self.is_written(sender, shard, |direct| direct.try_send(&id, message)) {
            return Ok(Now::Written);
        }
        let command = send_lent(Ids::One(id), message, &mut None);
        self.push_for(sender, shard, command)
    }

    /// The same for one connection. One of a shard that does not exist is gone.
    pub fn deliver_now(&self, conn: Conn, message: Lent<'_>) -> Result<Now, QueueFull> {
        let Some(shard) = self.shard_with(conn) else {
            return Ok(Now::Queued);
        };
        let sender = relief::sender();
        if self.is_written(sender, shard, |direct| direct.try_deliver(conn, message)) {
            return Ok(Now::Written);
        }
        let command = match Roomy::of(message) {
            Some(message) => ShardCommand::DeliverOwn { conn, message },
            None => ShardCommand::Signal {
                conn,
                signal: Signal::Deliver(message.into()),
            },
        };
        self.push_for(sender, shard, command)
    }

    /// Tells one connection something, in the same way, but for the writing; see [`Edge::signal`].
    pub fn signal_now(&self, conn: Conn, signal: Signal) -> Result<Now, QueueFull> {
        match self.shard_with(conn) {
            Some(shard) => self.push_promptly(shard, ShardCommand::Signal { conn, signal }),
            None => Ok(Now::Queued),
        }
    }

    fn is_written(
        &self,
        sender: Sender,
        shard: usize,
        write: impl FnOnce(&Direct) -> bool,
    ) -> bool {
        let direct = &self.0.directs[shard];
        let is_written = write(direct);
        if is_written && sender.may_be_relieved {
            self.relieve(direct);
        }
        is_written
    }

    fn push_for(
        &self,
        sender: Sender,
        shard: usize,
        command: ShardCommand,
    ) -> Result<Now, QueueFull> {
        let is_delayed = sender.is_flood && self.0.queues[shard].is_longer_than(relief::BEHIND);
        if is_delayed {
            self.0.metrics.delayed_sends.increment();
            std::thread::sleep(relief::REST);
        }
        let now = self.push_promptly(shard, command)?;
        Ok(if is_delayed { Now::Delayed } else { now })
    }

    /// Has the shard's thread take its messages over, if there is a core on which nobody works for a shard.
    fn relieve(&self, direct: &Direct) {
        let others = self.0.directs.iter().filter(|other| other.is_at_work());
        if others.count() + 1 < self.0.cores && direct.relieve() {
            self.0.metrics.reliefs.increment();
        }
    }

    fn push_promptly(&self, shard: usize, command: ShardCommand) -> Result<Now, QueueFull> {
        let queue = &self.0.queues[shard];
        let room = queue.reserve_promptly(command.bytes()).ok_or(QueueFull)?;
        queue.push_reserved(command, room);
        Ok(Now::Queued)
    }

    /// Delivers one message to ids by shard, or, when a queue has no room for its part, to none of them.
    /// As [`Edge::send_now`].
    pub fn send_all(&self, parts: Vec<(usize, Ids)>, message: Lent<'_>) -> Result<Now, QueueFull> {
        let mut taken = Vec::with_capacity(parts.len());
        let mut is_full = false;
        let mut shared = None;
        for (shard, ids) in parts {
            let command = send_lent(ids, message, &mut shared);
            let queue = &self.0.queues[shard];
            match queue.reserve_promptly(command.bytes()) {
                Some(room) => taken.push((queue, command, room)),
                None => {
                    is_full = true;
                    break;
                }
            }
        }
        // Room that is given back has looked taken to others for this moment, no longer.
        for (queue, command, room) in taken {
            if is_full {
                queue.release(room);
            } else {
                queue.push_reserved(command, room);
            }
        }
        if is_full {
            Err(QueueFull)
        } else {
            Ok(Now::Queued)
        }
    }
}
