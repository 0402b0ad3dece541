//! The way into a shard: commands from other threads, bounded in bytes, with one wake per batch.
//!
//! A lock is held for one push or one swap, never while a command is carried out. What could grow
//! without bound (messages) is bounded in bytes and refused when full; what is bounded elsewhere
//! (a socket by the connection limit, a snapshot by the number of owners, a message by its sender's
//! credit) is always taken, or an overload could lock the operator out.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;

use super::session::Session;
use super::watchers::Wish;
use crate::edge::config::OfShard;
use crate::edge::credit::Credit;
use crate::edge::door::permit::Permit;
use crate::hub::{self, Framing, WhenFull};
use crate::metrics::Metrics;
use crate::wire::{
    Conn, Gone, Handler, Heartbeat, Id, Ids, Message, Reason, Signal, Transport, Watcher,
};

/// What a shard is told to do.
pub(in crate::edge) enum ShardCommand {
    /// Hold these connections from now on.
    Adopt(Vec<Adoption>),
    /// Deliver a message to ids of this shard.
    Send {
        ids: Ids,
        message: Message,
        /// Given back when this command is dropped.
        credit: Option<Credit>,
        answer: Option<Answer>,
    },
    /// Close the connections of ids of this shard.
    Close {
        ids: Ids,
        reason: Reason,
        answer: Option<Answer>,
    },
    /// Close those who are connected now, at this rate; 0 stops doing so.
    CloseAll {
        per_second: u32,
        answer: Option<Answer>,
    },
    /// Say which connections an id has.
    Connections { id: Id, answer: Answer },
    /// Say who is connected, up to `most`.
    Sample { most: usize, answer: Answer },
    /// Tell one connection something.
    Signal { conn: Conn, signal: Signal },
    /// Say when this connection is gone.
    Watch(Wish),
    /// Do not say it any more.
    Unwatch { conn: Conn, watcher: Watcher },
    /// Say nothing more to this watcher.
    Forget { watcher: Watcher },
    /// Publish a part of the connections for this attachment, beginning with slot `from`.
    Snapshot { attachment: u64, from: u32 },
    /// Read those on who were not read because too much was untold.
    ReadOn,
    /// These limits and times from now on.
    Reload(Box<OfShard>),
    /// Close everything and end the thread.
    Stop,
    /// For the test of what a bug costs.
    #[cfg(test)]
    Panic,
}

/// A socket on its way from the listener to the shard of its id.
pub(in crate::edge) struct Adoption {
    pub(in crate::edge) socket: TcpStream,
    /// Its TLS, if it has any.
    pub(in crate::edge) session: Option<Box<Session>>,
    /// The address that the socket has; a Unix socket has none.
    pub(in crate::edge) peer: Option<SocketAddr>,
    /// The client's address by a proxy's word.
    pub(in crate::edge) forwarded: Option<SocketAddr>,
    pub(in crate::edge) id: Id,
    pub(in crate::edge) framing: Framing,
    pub(in crate::edge) when_full: WhenFull,
    /// What its route names.
    pub(in crate::edge) handler: Option<Handler>,
    /// Its own, if it has one.
    pub(in crate::edge) heartbeat: Option<Heartbeat>,
    /// The head of the answer and what the transport begins with.
    pub(in crate::edge) greeting: Bytes,
    /// What it asks for, if it is a poll.
    pub(in crate::edge) poll: Option<Box<hub::Ask>>,
    /// What a WebSocket has sent behind its request.
    pub(in crate::edge) ahead: Bytes,
    /// One of the edge's connections; given back when the connection closes.
    pub(in crate::edge) permit: Permit,
}

/// Receives what one shard answers. Called on the shard's thread: it must not block.
pub type Answer = Box<dyn FnOnce(ShardAnswer) + Send>;

/// What one shard answers.
#[derive(Debug)]
pub enum ShardAnswer {
    /// To a send.
    Sent {
        /// Connections reached.
        connections: u64,
        /// Bytes waiting for them.
        queued_bytes: u64,
    },
    /// To a close: connections that are closed, or will be.
    Closed(u64),
    /// To the question for an id's connections.
    Connections(Vec<Conn>),
    /// Who is connected.
    Sample(Vec<(Id, Transport)>),
}

/// A message was refused: the queue holds as many bytes as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

/// Room for so many commands is kept while there are none: some reads of a busy link.
const COMMANDS_KEPT: usize = 4096;

/// Commands waiting for one shard.
pub(in crate::edge) struct Queue {
    waiting: Mutex<Waiting>,
    waker: mio::Waker,
    bytes_max: usize,
}

#[derive(Default)]
struct Waiting {
    commands: Vec<ShardCommand>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(in crate::edge) fn new(waker: mio::Waker, bytes_max: usize) -> Queue {
        Queue {
            waiting: Mutex::default(),
            waker,
            bytes_max,
        }
    }

    /// Queues a command whose size the sender chose.
    pub(in crate::edge) fn push_bounded(
        &self,
        command: ShardCommand,
        metrics: &Metrics,
    ) -> Result<(), QueueFull> {
        let bytes = command.bytes();
        let mut waiting = self.lock();
        // An empty queue takes one command of any size, or it could never be carried out.
        let has_room = waiting.bytes == 0 || waiting.bytes + bytes <= self.bytes_max;
        if waiting.closed || !has_room && !command.is_covered() {
            return Err(QueueFull);
        }
        waiting.bytes += bytes;
        metrics.shard_queue_bytes.add(bytes as u64);
        self.push_locked(waiting, command);
        Ok(())
    }

    /// Queues a wish to hear of a connection; one that is not taken is answered here.
    pub(in crate::edge) fn push_wish(&self, wish: Wish, metrics: &Metrics) {
        let bytes = size_of::<ShardCommand>();
        let mut waiting = self.lock();
        if waiting.closed || waiting.bytes + bytes > self.bytes_max {
            let gone = if waiting.closed {
                Gone::Before
            } else {
                Gone::Overloaded
            };
            drop(waiting);
            return wish.answer(gone);
        }
        waiting.bytes += bytes;
        metrics.shard_queue_bytes.add(bytes as u64);
        self.push_locked(waiting, ShardCommand::Watch(wish));
    }

    /// Queues sends in order, as far as they fit; those that do not stay in `commands`. Counts
    /// `held_bytes` once for all of them: what the slices among them keep alive. Whether they came
    /// behind others that the shard has not taken yet.
    pub(in crate::edge) fn push_all(
        &self,
        commands: &mut Vec<ShardCommand>,
        held_bytes: usize,
        metrics: &Metrics,
    ) -> bool {
        let all = held_bytes + commands.iter().map(ShardCommand::bytes).sum::<usize>();
        let mut waiting = self.lock();
        if waiting.closed {
            return false;
        }
        let was_empty = waiting.commands.is_empty();
        let before = waiting.bytes;
        if before + all <= self.bytes_max {
            waiting.bytes += all;
            waiting.commands.append(commands);
        } else {
            let mut held_bytes = held_bytes;
            let mut place = 0;
            while let Some(command) = commands.get(place) {
                let bytes = held_bytes + command.bytes();
                let has_room = waiting.bytes == 0 || waiting.bytes + bytes <= self.bytes_max;
                if !has_room && !command.is_covered() {
                    place += 1;
                    continue;
                }
                // Moving the rest up each time: only a full queue does this.
                waiting.commands.push(commands.remove(place));
                waiting.bytes += bytes;
                held_bytes = 0;
            }
        }
        metrics
            .shard_queue_bytes
            .add((waiting.bytes - before) as u64);
        let is_filled = was_empty && !waiting.commands.is_empty();
        drop(waiting);
        if is_filled {
            self.wake();
        }
        !was_empty
    }

    /// Queues a command that is bounded elsewhere. A shard that has stopped drops it, and with it
    /// the socket or the answer.
    pub(in crate::edge) fn push(&self, command: ShardCommand) {
        let waiting = self.lock();
        if !waiting.closed {
            self.push_locked(waiting, command);
        }
    }

    fn push_locked(&self, mut waiting: MutexGuard<'_, Waiting>, command: ShardCommand) {
        let was_empty = waiting.commands.is_empty();
        waiting.commands.push(command);
        drop(waiting);
        if was_empty {
            self.wake();
        }
    }

    fn wake(&self) {
        // The poller exists as long as the queue; waking it fails only when the process has no
        // memory for an event, and then the poll's own timeout is the fallback.
        let _ = self.waker.wake();
    }

    /// Swaps what waits with the empty `commands`.
    pub(in crate::edge) fn take(&self, commands: &mut Vec<ShardCommand>, metrics: &Metrics) {
        debug_assert!(commands.is_empty(), "the batch before has been carried out");
        commands.shrink_to(COMMANDS_KEPT);
        let mut waiting = self.lock();
        std::mem::swap(&mut waiting.commands, commands);
        metrics.shard_queue_bytes.sub(waiting.bytes as u64);
        waiting.bytes = 0;
    }

    /// Refuses everything from now on, and what waits.
    pub(in crate::edge) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        let refused = std::mem::take(&mut waiting.commands);
        // What is dropped may answer, which must not happen under the lock.
        drop(waiting);
        drop(refused);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that can panic runs under the lock.
        self.waiting
            .lock()
            .expect("the queue's lock is never poisoned")
    }
}

impl ShardCommand {
    /// Whether somebody's credit bounds it already.
    fn is_covered(&self) -> bool {
        matches!(self, ShardCommand::Send { credit: Some(credit), .. } if credit.is_covered())
    }

    /// Bytes that this command keeps alive while it waits.
    fn bytes(&self) -> usize {
        size_of::<ShardCommand>()
            + match self {
                ShardCommand::Send {
                    ids: to, message, ..
                } => to.heap_bytes() + message.bytes(),
                ShardCommand::Close { ids: to, .. } => to.heap_bytes(),
                ShardCommand::Signal {
                    signal: Signal::Deliver(message),
                    ..
                } => message.bytes(),
                _ => 0,
            }
    }
}
