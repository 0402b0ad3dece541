//! The thread of an edge that carries out what is asked of it, in order, and takes it down in the end.
//!
//! Messages do not come this way (`nifs`), but for those that somebody waits for. Answers are sent from here,
//! from shards or from the pump, never from a scheduler: the VM wants to know there on whose behalf.
//! The queue is bounded in number and in bytes; who finds it full is told `busy`, and nothing is lost.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::time::Duration;

use bytes::Bytes;
use lariat::bridge::Uplink as _;
use lariat::edge::Drain;
use lariat::term::{self, InVm, Request, Term, VERSION, Writer};
use lariat::wire::{Command, Conn, Gone, Owner, Refusal, Reply, Watcher};
use rustler::env::SavedTerm;
use rustler::{Encoder, LocalPid, OwnedEnv};
use tokio::runtime::Runtime;

use crate::edge::Edge;
use crate::entry;

/// Commands that wait: four times the questions that an edge asks at a time, whose answers come this way.
const WAITING_MAX: usize = 16 * 1024;

/// Their bytes, as for a shard's queue.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long tasks of the runtime may take to end, once everything that they wait for has.
const RUNTIME_TIME_MAX: Duration = Duration::from_secs(5);

/// All watches of an edge are its starter's.
pub(crate) const WATCHER: Watcher = Watcher(0);

/// What the thread is to do.
pub(crate) enum Job {
    /// A command, encoded, and who waits for the answer.
    Carry(Bytes, Option<ReplyTo>),
    /// Tell this owner what happens, beginning with a snapshot.
    Attach(Owner, Bytes, ReplyTo),
    /// Tell this owner nothing more.
    Detach(Owner, ReplyTo),
    /// There is no room for another owner.
    Refuse(Refusal, ReplyTo),
    /// The starter is to be told this, which was found out on a scheduler.
    Gone(Conn, Gone),
    /// Have the connections leave.
    Drain(Drain, ReplyTo),
    /// Look at what has been noted elsewhere.
    Look,
}

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Busy,
    Closed,
}

/// The way in.
pub(crate) struct Commands {
    queue: SyncSender<Job>,
    bytes: Arc<AtomicUsize>,
}

/// The way out.
pub(crate) struct Receiver {
    queue: mpsc::Receiver<Job>,
    bytes: Arc<AtomicUsize>,
}

pub(crate) fn queue() -> (Commands, Receiver) {
    let (sender, receiver) = mpsc::sync_channel(WAITING_MAX);
    let bytes = Arc::new(AtomicUsize::new(0));
    let commands = Commands {
        queue: sender,
        bytes: Arc::clone(&bytes),
    };
    let queue = receiver;
    (commands, Receiver { queue, bytes })
}

impl Commands {
    /// Never blocks.
    pub(crate) fn push(&self, job: Job) -> Result<(), Refused> {
        let bytes = job.bytes();
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // One of any size goes alone, or it never could.
        let pushed = if before > 0 && before + bytes > BYTES_MAX {
            Err((job, Refused::Busy))
        } else {
            self.queue.try_send(job).map_err(|error| match error {
                TrySendError::Full(job) => (job, Refused::Busy),
                TrySendError::Disconnected(job) => (job, Refused::Closed),
            })
        };
        pushed.map_err(|(job, refused)| {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            job.withdraw();
            refused
        })
    }

    /// Wakes the thread if it sleeps. A full queue keeps it awake: it looks before each job.
    pub(crate) fn nudge(&self) {
        let _ = self.queue.try_send(Job::Look);
    }
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Job::Carry(bytes, _) | Job::Attach(_, bytes, _) => bytes.len(),
            _ => 0,
        }
    }

    /// Nobody is told anything: who asked is told so by the function it called.
    fn withdraw(self) {
        match self {
            Job::Carry(_, Some(reply_to))
            | Job::Attach(_, _, reply_to)
            | Job::Detach(_, reply_to)
            | Job::Refuse(_, reply_to)
            | Job::Drain(_, reply_to) => reply_to.withdraw(),
            _ => {}
        }
    }
}

/// Starts the thread, which owns the runtime from now on.
pub(crate) fn spawn(edge: Arc<Edge>, receiver: Receiver, runtime: Runtime) -> Result<(), String> {
    let other = Arc::clone(&edge);
    let thread = std::thread::Builder::new().name("commands".into());
    let spawned = thread.spawn(move || run(&edge, receiver, runtime));
    spawned.map(drop).map_err(|error| {
        other.bridge.stop();
        format!("cannot start a thread: {error}; look at the limit on threads (ulimit -u)")
    })
}

fn run(edge: &Edge, receiver: Receiver, runtime: Runtime) {
    edge.keeps_log();
    while !edge.is_stopping() {
        for owner in edge.take_gone() {
            edge.bridge.owner_gone(owner);
        }
        let Ok(job) = receiver.queue.recv() else {
            break;
        };
        let bytes = job.bytes();
        // What a bug makes of one command is not to be the end of all.
        let carried = catch_unwind(AssertUnwindSafe(|| carry(edge, &runtime, job)));
        if carried.is_err() {
            tracing::error!("a command was given up: this is a bug in Lariat, please report it");
        }
        receiver.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
    edge.bridge.stop();
    runtime.shutdown_timeout(RUNTIME_TIME_MAX);
    // Whoever waits for a command is told that there will be no answer.
    drop(receiver);
    edge.ended();
}

fn carry(edge: &Edge, runtime: &Runtime, job: Job) {
    let bridge = &edge.bridge;
    match job {
        Job::Carry(bytes, reply_to) => command(edge, &bytes, reply_to),
        Job::Attach(owner, bytes, reply_to) => {
            let attach = Term::whole(&bytes).map(|term| term::request(term, &bytes));
            if let Ok(Request::Attach { options, .. }) = attach {
                let handlers = options.handlers;
                let command = Command::Attach { owner, handlers };
                bridge.handle(command, Some(Box::new(|reply| reply_to.send(&reply))));
            } else {
                reply_to.bad_request(&bytes);
            }
        }
        Job::Detach(owner, reply_to) => {
            let command = Command::Detach { owner };
            bridge.handle(command, Some(Box::new(|reply| reply_to.send(&reply))));
        }
        Job::Refuse(refusal, reply_to) => reply_to.send(&Reply::Refused(refusal)),
        Job::Gone(conn, gone) => edge.uplink.gone(WATCHER, conn, gone),
        Job::Drain(how, reply_to) => {
            let held = edge.held.clone();
            runtime.spawn(async move {
                held.drain(how).await;
                reply_to.send(&Reply::Ok);
            });
        }
        Job::Look => {}
    }
}

fn command(edge: &Edge, bytes: &Bytes, reply_to: Option<ReplyTo>) {
    let request = Term::whole(bytes).map(|term| term::request(term, bytes));
    match (request, reply_to) {
        (Ok(Request::Command(command)), Some(reply_to)) => {
            let answer = Box::new(|reply| reply_to.send(&reply));
            edge.bridge.handle(command, Some(answer));
        }
        (Ok(Request::Command(command)), None) => edge.bridge.handle(command, None),
        (Ok(Request::Detach), Some(reply_to)) => reply_to.send(&Reply::Ok),
        (_, Some(reply_to)) => reply_to.bad_request(bytes),
        (_, None) => tracing::warn!("a command was dropped: it is none that Lariat knows"),
    }
}

/// What the answer to a request begins with: any term of the caller's.
pub(crate) struct Tag {
    environment: OwnedEnv,
    term: SavedTerm,
}

impl Tag {
    pub(crate) fn new(term: rustler::Term<'_>) -> Tag {
        let environment = OwnedEnv::new();
        let term = environment.run(|env| environment.save(term.in_env(env)));
        Tag { environment, term }
    }

    /// `{Tag, ok}`
    pub(crate) fn answer_ok(self, to: LocalPid) {
        self.answer(to, |writer| {
            writer.atom("ok");
        });
    }

    /// `{Tag, Answer}`. A process that has ended needs none.
    fn answer(self, to: LocalPid, write: impl FnOnce(&mut Writer)) {
        let mut writer = Writer::new();
        write(writer.version());
        let bytes = writer.into_bytes();
        let Tag {
            mut environment,
            term,
        } = self;
        let _ = environment.send_and_clear(&to, |env| {
            let answer = entry::term(env, &bytes);
            (term.load(env), answer.expect("our writer writes terms")).encode(env)
        });
    }
}

/// Answers one request, once. Dropped without an answer it says `{error, stopping}`.
pub(crate) struct ReplyTo {
    to: LocalPid,
    names: InVm,
    /// `None` once it has been answered.
    tag: Option<Tag>,
}

impl ReplyTo {
    pub(crate) fn new(to: LocalPid, tag: Tag, names: InVm) -> ReplyTo {
        let tag = Some(tag);
        ReplyTo { to, names, tag }
    }

    fn send(mut self, reply: &Reply) {
        self.answer(reply);
    }

    /// `{error, {bad_request, Request}}`, as a node says it.
    fn bad_request(mut self, request: &[u8]) {
        /// A longer one is `unknown`, so that an answer is never larger than a screen.
        const ECHO_BYTES_MAX: usize = 256;
        if let Some(tag) = self.tag.take() {
            tag.answer(self.to, |w| {
                w.tuple(2).atom("error").tuple(2).atom("bad_request");
                if request.len() <= ECHO_BYTES_MAX {
                    w.raw(request);
                } else {
                    w.atom("unknown");
                }
            });
        }
    }

    /// Nobody waits any more.
    fn withdraw(mut self) {
        self.tag = None;
    }

    fn answer(&mut self, reply: &Reply) {
        if let Some(tag) = self.tag.take() {
            tag.answer(self.to, |writer| term::reply(writer, &self.names, reply));
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        self.answer(&Reply::Refused(Refusal::Stopping));
    }
}

/// A term that stands alone.
pub(crate) fn standalone(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    write(writer.version());
    let bytes = writer.into_bytes();
    debug_assert_eq!(bytes.first(), Some(&VERSION));
    bytes
}
