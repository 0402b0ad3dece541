//! Sends gathered for the shards, so that each shard's queue is locked once and its thread woken once
//! for all that one read brought.
//!
//! No policy: what fits is the queue's to say, what is refused the caller's to count.

use super::Edge;
use super::credit::Credit;
use super::shard::queue::ShardCommand;
use crate::wire::{Ids, Message};

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
            all_behind &= queue.push_all(commands, batch.held_bytes, &self.0.metrics);
            for command in commands.drain(..) {
                if let ShardCommand::Send { ids, message, .. } = command {
                    refused(&ids, &message);
                }
            }
        }
        any && all_behind
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::edge::shard::queue::Queue;
    use crate::metrics::Metrics;
    use crate::wire::Id;

    fn send(payload: usize) -> ShardCommand {
        ShardCommand::Send {
            ids: Ids::One(Id::Int(1)),
            message: Message::new(vec![0; payload]),
            credit: None,
            answer: None,
        }
    }

    #[test]
    fn a_queue_counts_what_a_batch_holds_and_refuses_what_does_not_fit() {
        let metrics = Arc::new(Metrics::default());
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), crate::edge::shard::WAKE).unwrap();
        let queue = Queue::new(waker, 100_000);
        let mut batch = vec![send(10), send(10)];
        assert!(!queue.push_all(&mut batch, 60_000, &metrics));
        assert!(batch.is_empty());
        let first = metrics.shard_queue_bytes.value();
        assert!((60_000..61_000).contains(&first), "{first}");
        // Too much together: the parts that fit are taken, in order.
        batch.extend([send(10), send(50_000), send(20)]);
        assert!(queue.push_all(&mut batch, 20_000, &metrics));
        assert_eq!(batch.len(), 1);
        let mut taken = Vec::new();
        queue.take(&mut taken, &metrics);
        let payloads: Vec<usize> = taken.iter().map(payload).collect();
        assert_eq!(payloads, [10, 10, 10, 20]);
        assert_eq!(metrics.shard_queue_bytes.value(), 0);
        // An empty queue takes one command of any size.
        let mut batch = vec![send(200_000), send(10)];
        queue.push_all(&mut batch, 0, &metrics);
        assert_eq!(batch.iter().map(payload).collect::<Vec<_>>(), [10]);
        // A queue that is closed takes nothing.
        queue.close();
        queue.push_all(&mut batch, 0, &metrics);
        assert_eq!(batch.len(), 1);
    }

    fn payload(command: &ShardCommand) -> usize {
        match command {
            ShardCommand::Send { message, .. } => message.bytes(),
            _ => 0,
        }
    }
}
