//! Sends to several shards: those that one read brought, gathered so that each shard's queue is told once
//! and its thread woken once; and one message that goes to all of its shards, or to none.
//!
//! No policy: what fits is the queue's to say, what is refused the caller's to count.

use super::Edge;
use super::credit::Credit;
use super::shard::queue::{QueueFull, ShardCommand};
use crate::wire::{Conn, Ids, Message, Signal};

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

/// What became of a message that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Now {
    /// The caller has written it to its connections, or found none.
    Written,
    /// The shard has it.
    Queued,
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

    /// Delivers to ids that all live on `shard`, without credit, or says that too much waits already: of
    /// who is told so at once less may wait than of others. Waits for nobody, but may write a small message
    /// itself to a shard that sleeps, which takes as long as the system calls.
    pub fn send_now(&self, shard: usize, ids: Ids, message: Message) -> Result<Now, QueueFull> {
        let (credit, answer) = (None, None);
        self.carry_out_now(
            shard,
            ShardCommand::Send {
                ids,
                message,
                credit,
                answer,
            },
        )
    }

    /// The same for one connection; see [`Edge::signal`].
    pub fn signal_now(&self, conn: Conn, signal: Signal) -> Result<Now, QueueFull> {
        match self.shard_with(conn) {
            Some(shard) => self.carry_out_now(shard, ShardCommand::Signal { conn, signal }),
            None => Ok(Now::Queued),
        }
    }

    fn carry_out_now(&self, shard: usize, command: ShardCommand) -> Result<Now, QueueFull> {
        let Some(command) = self.0.directs[shard].try_carry_out(command) else {
            return Ok(Now::Written);
        };
        let queue = &self.0.queues[shard];
        let room = queue.reserve_promptly(command.bytes()).ok_or(QueueFull)?;
        queue.push_reserved(command, room);
        Ok(Now::Queued)
    }

    /// Delivers one message to ids by shard, or, when a queue has no room for its part, to none of them.
    /// As [`Edge::send_now`].
    pub fn send_all(&self, parts: Vec<(usize, Ids)>, message: &Message) -> Result<Now, QueueFull> {
        let mut taken = Vec::with_capacity(parts.len());
        let mut is_full = false;
        for (shard, ids) in parts {
            let command = ShardCommand::Send {
                ids,
                message: message.clone(),
                credit: None,
                answer: None,
            };
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
