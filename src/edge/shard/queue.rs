//! The way into a shard: commands from other threads, bounded in bytes, with one wake when it sleeps.
//!
//! No lock: any number of threads push at the same time, schedulers of the VM among them, and none waits
//! for the shard, or for another but a few instructions long (where a block of the list is full, and the
//! other is putting the next one there). What one thread pushes keeps its order; all that a read brought
//! goes as one parcel, whose memory comes back to whoever fills the next. What could grow without bound
//! (messages) is bounded in bytes and refused when full; what is bounded elsewhere (a socket by the
//! connection limit, a snapshot by the number of owners, a message by its sender's credit) is always
//! taken, or an overload could lock the operator out.
//!
//! Room is taken before a parcel is pushed, and given back when the shard takes it. Then comes the one
//! moment that matters: whoever pushed looks whether the shard sleeps or is closed, and a shard that goes
//! to sleep or closes looks whether there is something. Each writes first and reads behind a fence, so
//! that at least one of them sees the other:
//!
//! | who pushes sees | and |
//! |---|---|
//! | awake | goes: the shard looks again before it sleeps |
//! | asleep | wakes it, unless another has |
//! | closed | empties the queue: the shard may have looked already |

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering, fence};

use bytes::Bytes;
use crossbeam_queue::{ArrayQueue, SegQueue};

use super::session::Session;
use super::watchers::Wish;
use crate::edge::config::OfShard;
use crate::edge::credit::Credit;
use crate::edge::door::permit::Permit;
use crate::hub::{self, Framing, Roomy, WhenFull};
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
    /// The same, of who shares nothing.
    SendOwn { ids: Ids, message: Roomy },
    /// The same to one connection.
    DeliverOwn { conn: Conn, message: Roomy },
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

/// What the shard takes at once.
pub(in crate::edge) enum Load {
    One(ShardCommand),
    /// In order. The memory is to be given back.
    Many(Vec<ShardCommand>),
}

/// What waits, and the room that it has taken.
struct Parcel {
    load: Load,
    bytes: usize,
}

/// Lists whose memory is kept for what is pushed next: more would only be colder when they are used.
const LISTS_KEPT: usize = 3;

/// A list with more room is not kept: a read of 64 KiB brings half as many small messages.
const LIST_KEPT_LEN: usize = 1024;

/// Room for so many loads stays where the shard puts them while it is busy.
const LOADS_KEPT: usize = 1024;

/// And while it is not: some 10 KB.
const LOADS_KEPT_IDLE: usize = 64;

/// Who sends without credit and is told at once has this part of a queue, 2 MiB by default: some 7,000
/// small messages. What a shard writes in a twentieth of a second need not wait for it any longer, and
/// streams that come behind are held soon. It is what `credit_bytes` is for who sends from another node.
const PROMPT_PART: usize = 32;

/// The shard takes what is pushed before it sleeps.
const AWAKE: u8 = 0;
/// The shard sleeps, or is about to.
const ASLEEP: u8 = 1;
/// Nobody takes anything any more.
const CLOSED: u8 = 2;

/// Commands waiting for one shard.
pub(in crate::edge) struct Queue {
    waiting: SegQueue<Parcel>,
    /// Of all that waits, and of what is just being pushed.
    bytes: AtomicUsize,
    state: AtomicU8,
    /// Empty lists.
    lists: ArrayQueue<Vec<ShardCommand>>,
    waker: mio::Waker,
    bytes_max: usize,
    metrics: Arc<Metrics>,
}

impl Queue {
    pub(in crate::edge) fn new(
        waker: mio::Waker,
        bytes_max: usize,
        metrics: Arc<Metrics>,
    ) -> Queue {
        Queue {
            waiting: SegQueue::new(),
            bytes: AtomicUsize::new(0),
            state: AtomicU8::new(AWAKE),
            lists: ArrayQueue::new(LISTS_KEPT),
            waker,
            bytes_max,
            metrics,
        }
    }

    /// Queues a command whose size the sender chose.
    pub(in crate::edge) fn push_bounded(&self, command: ShardCommand) -> Result<(), QueueFull> {
        let room = self.reserve(command.bytes(), command.is_covered());
        self.push_reserved(command, room.ok_or(QueueFull)?);
        Ok(())
    }

    /// Takes room for a command of so many bytes, to be pushed or given back; `None` when there is none.
    pub(in crate::edge) fn reserve(&self, bytes: usize, is_covered: bool) -> Option<Room> {
        // An empty queue takes one command of any size, or it could never be carried out.
        self.reserve_if(bytes, |taken| {
            taken == 0 || taken + bytes <= self.bytes_max || is_covered
        })
    }

    /// The same for who is told when there is none, and can try again: in a part of the queue.
    pub(in crate::edge) fn reserve_promptly(&self, bytes: usize) -> Option<Room> {
        let most = self.bytes_max / PROMPT_PART;
        self.reserve_if(bytes, |taken| taken == 0 || taken + bytes <= most)
    }

    fn reserve_if(&self, bytes: usize, fits: impl Fn(usize) -> bool) -> Option<Room> {
        if self.is_closed() {
            return None;
        }
        let taken = |before: usize| fits(before).then_some(before + bytes);
        self.bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken)
            .ok()?;
        self.metrics.shard_queue_bytes.add(bytes as u64);
        Some(Room(bytes))
    }

    /// Gives room back that nothing is pushed into.
    pub(in crate::edge) fn release(&self, room: Room) {
        self.give_back_bytes(room.0);
    }

    /// Queues a command that room was taken for.
    pub(in crate::edge) fn push_reserved(&self, command: ShardCommand, room: Room) {
        self.push_parcel(Parcel {
            load: Load::One(command),
            bytes: room.0,
        });
    }

    /// Queues a wish to hear of a connection; one that is not taken is answered here.
    pub(in crate::edge) fn push_wish(&self, wish: Wish) {
        let bytes = size_of::<ShardCommand>();
        match self.reserve_if(bytes, |taken| taken + bytes <= self.bytes_max) {
            Some(room) => self.push_reserved(ShardCommand::Watch(wish), room),
            None if self.is_closed() => wish.answer(Gone::Before),
            None => wish.answer(Gone::Overloaded),
        }
    }

    /// Queues sends in order, as far as they fit; those that do not stay in `commands`. Counts
    /// `held_bytes` once for all of them: what the slices among them keep alive. Whether they came
    /// behind others that the shard has not taken yet.
    pub(in crate::edge) fn push_all(
        &self,
        commands: &mut Vec<ShardCommand>,
        held_bytes: usize,
    ) -> bool {
        if self.is_closed() {
            return false;
        }
        let all = held_bytes + commands.iter().map(ShardCommand::bytes).sum::<usize>();
        let fits = |taken: usize| (taken + all <= self.bytes_max).then_some(taken + all);
        let taken = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        match taken {
            Ok(before) => {
                self.metrics.shard_queue_bytes.add(all as u64);
                self.push_list(commands, all);
                before > 0
            }
            Err(before) => {
                self.push_what_fits(commands, held_bytes);
                before > 0
            }
        }
    }

    /// Only a full queue does this.
    fn push_what_fits(&self, commands: &mut Vec<ShardCommand>, held_bytes: usize) {
        let mut held_bytes = held_bytes;
        let (mut fitting, mut bytes) = (Vec::new(), 0);
        let mut refused = Vec::new();
        for command in commands.drain(..) {
            match self.reserve(held_bytes + command.bytes(), command.is_covered()) {
                Some(room) => {
                    bytes += room.0;
                    held_bytes = 0;
                    fitting.push(command);
                }
                None => refused.push(command),
            }
        }
        *commands = refused;
        if !fitting.is_empty() {
            self.push_list(&mut fitting, bytes);
        }
    }

    /// What room was taken for. Leaves the list empty.
    fn push_list(&self, commands: &mut Vec<ShardCommand>, bytes: usize) {
        let load = match commands.pop() {
            None => return self.give_back_bytes(bytes),
            Some(only) if commands.is_empty() => Load::One(only),
            Some(last) => {
                commands.push(last);
                // A copy, so that who fills lists does so in memory that no other core has had.
                let mut list = self.lists.pop().unwrap_or_default();
                list.append(commands);
                Load::Many(list)
            }
        };
        self.push_parcel(Parcel { load, bytes });
    }

    /// Queues a command that is bounded elsewhere. A shard that has stopped drops it, and with it
    /// the socket or the answer.
    pub(in crate::edge) fn push(&self, command: ShardCommand) {
        self.push_parcel(Parcel {
            load: Load::One(command),
            bytes: 0,
        });
    }

    fn push_parcel(&self, parcel: Parcel) {
        self.waiting.push(parcel);
        fence(Ordering::SeqCst);
        match self.state.load(Ordering::Relaxed) {
            AWAKE => {}
            ASLEEP => self.wake(),
            _ => self.empty(),
        }
    }

    /// Whether nothing waits for the shard, and it has not ended.
    pub(in crate::edge) fn is_free(&self) -> bool {
        self.waiting.is_empty() && !self.is_closed()
    }

    /// Whether more than so many loads wait.
    pub(in crate::edge) fn is_longer_than(&self, loads: usize) -> bool {
        self.waiting.len() > loads
    }

    /// Whether the shard looks for itself before it sleeps again.
    pub(in crate::edge) fn is_awake(&self) -> bool {
        self.state.load(Ordering::Relaxed) == AWAKE
    }

    /// Of those who find the shard asleep one wakes it; awake it is left to itself.
    pub(in crate::edge) fn wake(&self) {
        let woken =
            self.state
                .compare_exchange(ASLEEP, AWAKE, Ordering::Relaxed, Ordering::Relaxed);
        if woken.is_ok() {
            // The poller exists as long as the queue; waking it fails only when the process has no
            // memory for an event, and then the poll's own timeout is the fallback.
            let _ = self.waker.wake();
        }
    }

    /// Whether the shard may wait: from now on who pushes wakes it. Only the shard's thread calls this and
    /// what follows.
    pub(in crate::edge) fn may_sleep(&self) -> bool {
        self.state.store(ASLEEP, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let is_empty = self.waiting.is_empty();
        if !is_empty {
            self.slept();
        }
        is_empty
    }

    /// The shard looks for itself again.
    pub(in crate::edge) fn slept(&self) {
        self.state.store(AWAKE, Ordering::Relaxed);
    }

    /// Moves what waits now into the empty `loads`.
    pub(in crate::edge) fn take(&self, loads: &mut Vec<Load>) {
        debug_assert!(loads.is_empty(), "the turn before has been carried out");
        // Not what is pushed meanwhile: a turn has an end.
        let count = self.waiting.len();
        if count == 0 {
            // Memory that is not needed goes, a piece each turn.
            loads.shrink_to(LOADS_KEPT_IDLE);
            drop(self.lists.pop());
            return;
        }
        loads.shrink_to(LOADS_KEPT);
        let mut bytes = 0;
        for _ in 0..count {
            let Some(parcel) = self.waiting.pop() else {
                break;
            };
            bytes += parcel.bytes;
            loads.push(parcel.load);
        }
        self.give_back_bytes(bytes);
    }

    /// Keeps the memory of a list that was carried out.
    pub(in crate::edge) fn keep(&self, list: Vec<ShardCommand>) {
        debug_assert!(list.is_empty(), "it has been carried out");
        if list.capacity() <= LIST_KEPT_LEN {
            // What is one too many goes.
            let _ = self.lists.push(list);
        }
    }

    /// Refuses everything from now on, and what waits.
    pub(in crate::edge) fn close(&self) {
        self.state.store(CLOSED, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.empty();
    }

    fn is_closed(&self) -> bool {
        self.state.load(Ordering::Relaxed) == CLOSED
    }

    /// Drops what waits, and has it answered that way: by the shard that closes, or by those who were just
    /// pushing.
    fn empty(&self) {
        while let Some(parcel) = self.waiting.pop() {
            self.give_back_bytes(parcel.bytes);
        }
    }

    fn give_back_bytes(&self, bytes: usize) {
        if bytes > 0 {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.metrics.shard_queue_bytes.sub(bytes as u64);
        }
    }
}

/// Room that was taken in a queue.
#[must_use = "it is to be pushed into, or to be given back"]
pub(in crate::edge) struct Room(usize);

impl ShardCommand {
    /// Whether somebody's credit bounds it already.
    pub(in crate::edge) fn is_covered(&self) -> bool {
        matches!(self, ShardCommand::Send { credit: Some(credit), .. } if credit.is_covered())
    }

    /// Bytes that this command keeps alive while it waits.
    pub(in crate::edge) fn bytes(&self) -> usize {
        size_of::<ShardCommand>()
            + match self {
                ShardCommand::Send {
                    ids: to, message, ..
                } => to.heap_bytes() + message.bytes(),
                ShardCommand::SendOwn { ids: to, message } => to.heap_bytes() + message.bytes(),
                ShardCommand::DeliverOwn { message, .. } => message.bytes(),
                ShardCommand::Close { ids: to, .. } => to.heap_bytes(),
                ShardCommand::Signal {
                    signal: Signal::Deliver(message),
                    ..
                } => message.bytes(),
                _ => 0,
            }
    }
}

#[cfg(test)]
#[path = "queue_test.rs"]
mod queue_test;
