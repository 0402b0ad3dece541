//! Who works for a shard: its own thread, or for one small message a sender that finds the shard free.
//!
//! To wake a thread and wait until it runs takes several times as long as to write to a socket. A sender that
//! may be kept for a write (a process in the VM; not a link, which has others to read for) therefore does
//! here what the thread would do. It is no second way to do it: the same code runs with the same state, and
//! what follows from a write (news, watchers, a poll's answer) is left to the thread, which is woken for it.
//!
//! The state has one lock. The thread holds it for a turn, senders for one message each; a sender only tries
//! it, and who does not get it at once queues, as does whoever finds something waiting. So no sender ever
//! waits for another or for the shard, and what one sender sends stays in order: what it has queued before
//! is either still there, or being carried out under the lock, or done. A thread that has woken and waits for the lock is
//! overtaken by some messages only; then all others queue. Where both share a core it would wait for the end of
//! the sender's time slice, and find the lock taken again; so the sender offers it the core: else it would
//! reach that bound, fill the queue, outrun the shard for good, and never write again. Who does nothing but send is
//! relieved by the thread where a core is to spare (`relief`).

use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mio::{Events, Poll};

use super::queue::Queue;
use super::relief::{self, Relief};
use super::{Running, Shard};
use crate::metrics;
#[cfg(test)]
use crate::wire::Message;
use crate::wire::{Conn, Id, Lent};

/// Readiness events taken from the kernel at once; a busy turn takes the rest in the next call.
const EVENTS_MAX: usize = 1024;

/// Connections that a sender writes to itself: with a write of some 10 us each, a fifth of the millisecond
/// that a scheduler of the VM may be kept.
const RECEIVERS_MAX: usize = 16;

/// And bytes of a message: compressed for a WebSocket they take 0.2 ms, and sealed for TLS less.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// Messages that overtake a thread which waits for its turn: some 10 ms.
const OVERTAKEN_MAX: u32 = 1_000;

/// A shard as its thread and its senders share it.
pub(in crate::edge) struct Direct {
    number: u8,
    queue: Arc<Queue>,
    /// `None` when it has stopped.
    running: Mutex<Option<Running>>,
    relief: Relief,
}

impl Direct {
    pub(in crate::edge) fn new(shard: Shard) -> Direct {
        Direct {
            number: shard.number,
            queue: Arc::clone(&shard.queue),
            running: Mutex::new(Some(Running::new(shard))),
            relief: Relief::default(),
        }
    }

    /// The shard's thread: runs until told to stop.
    pub(in crate::edge) fn run(&self, mut poll: Poll) {
        metrics::count_in_lane(self.number);
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut patience = Duration::ZERO;
        loop {
            if self.relief.is_on() && self.queue.is_free() {
                // Awake, so that nobody has to wake it: it looks for itself.
                self.queue.slept();
                std::thread::sleep(relief::REST);
                patience = Duration::ZERO;
            }
            let polled = poll.poll(&mut events, Some(patience));
            self.queue.slept();
            let mut held = self.lock();
            let Some(running) = held.as_mut() else {
                return;
            };
            if let Err(error) = polled
                && error.kind() != ErrorKind::Interrupted
            {
                running.end_without_poller(&error);
            }
            let taken = if running.is_broken {
                None
            } else {
                catch_unwind(AssertUnwindSafe(|| running.turn(&events))).ok()
            };
            if taken.is_none() {
                running.recover();
            }
            let relieves = self.relief.is_on();
            if relieves && !running.given.is_enough(taken.unwrap_or(0), running.before) {
                self.relief.end();
            }
            if running.stopping {
                running.stop();
                // What it holds goes now, not with the last handle on the edge.
                *held = None;
                return;
            }
            patience = running.patience();
        }
    }

    /// Delivers a small message to a few connections of an id here and now, if the shard neither works nor
    /// has anything waiting. `false`: it did not, and the message is to be queued.
    pub(in crate::edge) fn try_send(&self, id: &Id, message: Lent<'_>) -> bool {
        self.try_write(message, |running| running.send_to_few(id, message))
    }

    /// The same for one connection.
    pub(in crate::edge) fn try_deliver(&self, conn: Conn, message: Lent<'_>) -> bool {
        self.try_write(message, |running| {
            running.deliver(conn, message);
            true
        })
    }

    fn try_write(&self, message: Lent<'_>, write: impl FnOnce(&mut Running) -> bool) -> bool {
        let is_fit = message.bytes() <= MESSAGE_BYTES_MAX && !self.relief.is_on();
        if !is_fit || !self.queue.is_free() {
            return false;
        }
        let Ok(mut held) = self.running.try_lock() else {
            return false;
        };
        // Looked at again: since then the shard may have had a turn, or stopped.
        let may = |running: &&mut Running| {
            !running.is_broken && running.overtaken < OVERTAKEN_MAX && self.queue.is_free()
        };
        let Some(running) = held.as_mut().filter(may) else {
            return false;
        };
        let written = metrics::in_lane(self.number, || {
            catch_unwind(AssertUnwindSafe(|| {
                let is_written = write(running);
                if is_written {
                    running.shard.metrics.direct_sends.increment();
                }
                running.count_turn();
                is_written
            }))
        });
        let is_written = match written {
            Ok(is_written) => is_written,
            Err(_) => {
                // The thread is to clear up: it can tell watchers, which a scheduler of the VM cannot.
                running.is_broken = true;
                true
            }
        };
        let is_wanted = self.queue.is_awake();
        running.overtaken += u32::from(is_wanted);
        let leaves_something = running.is_broken || running.shard.hub.has_more();
        drop(held);
        if leaves_something {
            self.queue.wake();
        }
        if is_wanted {
            std::thread::yield_now();
        }
        is_written
    }

    /// Whether somebody works for the shard just now: its thread, or a sender.
    pub(in crate::edge) fn is_at_work(&self) -> bool {
        self.relief.is_on() || self.running.try_lock().is_err()
    }

    /// Has the thread take over what is for this shard; whether it has not before.
    pub(in crate::edge) fn relieve(&self) -> bool {
        self.relief.begin()
    }

    #[cfg(test)]
    pub(super) fn try_panic(&self) -> bool {
        let message = Message::new("");
        self.try_write((&message).into(), |_| panic!("as the test wants it"))
    }

    /// Nobody works for the shard as long as this is held.
    #[cfg(test)]
    pub(super) fn keep_from_work(&self) -> impl Drop + use<'_> {
        self.lock()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_none()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        // Panics are caught under the lock.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn send_to_few(&mut self, id: &Id, message: Lent<'_>) -> bool {
        let (hub, sockets) = (&mut self.shard.hub, &mut self.sockets);
        let sent = hub.handle_message_to_few(id, message, RECEIVERS_MAX, sockets);
        if let Some(sent) = sent {
            self.count(sent);
        }
        sent.is_some()
    }

    fn end_without_poller(&mut self, error: &io::Error) {
        tracing::error!(%error, shard = self.shard.number, "the poller failed");
        self.stopping = true;
    }
}
