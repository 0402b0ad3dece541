//! One link to an Erlang node, from the byte after the handshake to its end.
//!
//! Two threads a link. The reader never stops draining: Erlang suspends every process that sends to
//! a node which does not read. It parses, answers what the protocol wants answered and hands commands
//! on, nothing else. The writer alone writes; whoever sends puts frames into its bounded queue. What
//! outlives a link (owners, the table of peers) is the registry's. Messages of more than 64 KiB go in
//! parts, in both directions: `assembly` for what comes, `parts` for what goes. TLS is `stream`'s.

mod assembly;
mod blocks;
mod frames;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod gathered;
mod pace;
mod parts;
mod queue;
mod reader;
mod reply;
mod session;
mod signals;
mod stream;
mod watches;
mod writer;

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use queue::SendQueue;
pub use reply::ReplyTo;
use session::Session;
pub(crate) use stream::{IntoStream, Stream};
use watches::Watches;

use super::codec::{Outbound, Outgoing};
use super::handshake::Remote;
use super::name::NodeName;
use super::peers::Ticket;
use super::registry::Registry;
use crate::metrics::{LinkDown, Metrics};

/// The bounds of one link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) tick_time: Duration,
    pub(crate) frame_bytes_max: usize,
    pub(crate) send_queue_bytes_max: usize,
    pub(crate) watches_max: usize,
}

impl Limits {
    /// How often the clock of a link is looked at, and how long we may be silent.
    fn quarter(&self) -> Duration {
        self.tick_time / 4
    }

    /// Silence that means the peer is gone: one quarter more than what it promised.
    fn silence_max(&self) -> Duration {
        self.tick_time + self.quarter()
    }
}

/// One link, as those see it who send on it or end it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) ticket: Ticket,
    pub(crate) remote: Remote,
    pub(crate) outbound: Outbound,
    pub(crate) watches: Watches,
    queue: SendQueue,
    socket: TcpStream,
    /// Why it ends; the first reason stays.
    ended: OnceLock<LinkDown>,
}

impl Link {
    /// Takes the stream over; the link serves until it ends by itself or by [`Link::close`].
    pub(crate) fn start(
        stream: Stream,
        ticket: Ticket,
        remote: Remote,
        limits: Limits,
        registry: &Arc<Registry>,
    ) -> io::Result<Arc<Link>> {
        let socket = stream.socket().try_clone()?;
        socket.set_nonblocking(false)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(limits.quarter()))?;
        let (read_half, write_half) = stream.split()?;
        let link = Link::new(socket, ticket, remote, limits, registry);
        let session = Link::session(&link, limits, registry);
        let writing = Arc::clone(&link);
        thread::Builder::new()
            .name("dist-write".to_owned())
            .spawn(move || writer::run(&writing, write_half, limits))?;
        let reading = thread::Builder::new()
            .name("dist-read".to_owned())
            .spawn(move || reader::run(session, read_half, limits));
        if let Err(error) = reading {
            link.close(LinkDown::Io);
            return Err(error);
        }
        Ok(link)
    }

    /// A link that nobody serves yet.
    pub(crate) fn new(
        socket: TcpStream,
        ticket: Ticket,
        remote: Remote,
        limits: Limits,
        registry: &Arc<Registry>,
    ) -> Arc<Link> {
        let outbound = Outbound {
            identity: registry.identity().clone(),
            flags: remote.flags,
        };
        Arc::new(Link {
            ticket,
            remote,
            outbound,
            watches: Watches::new(limits.watches_max, Arc::clone(registry.metrics())),
            queue: SendQueue::new(limits.send_queue_bytes_max, Arc::clone(registry.metrics())),
            socket,
            ended: OnceLock::new(),
        })
    }

    /// Reads frames from `source` to its end, on the calling thread, in place of the socket.
    pub(crate) fn read(
        link: &Arc<Link>,
        source: impl Read,
        limits: Limits,
        registry: &Arc<Registry>,
    ) {
        reader::run(Link::session(link, limits, registry), source, limits);
    }

    fn session(link: &Arc<Link>, limits: Limits, registry: &Arc<Registry>) -> Session {
        Session::new(Arc::clone(link), Arc::clone(registry), limits)
    }

    pub(crate) fn peer(&self) -> &NodeName {
        &self.remote.name
    }

    /// Queues an answer or a signal; a peer that does not read loses its link.
    pub(crate) fn send(&self, message: &Outgoing) {
        if self.queue.push_signal(message).is_err() {
            self.close(LinkDown::SendQueueFull);
        }
    }

    /// Queues events made by `encode`, unless the queue is half full. True when they were taken.
    pub(crate) fn send_events(&self, metrics: &Metrics, encode: impl FnOnce() -> Outgoing) -> bool {
        let taken = self.queue.has_room_for_events() && self.queue.push_events(&encode()).is_ok();
        if !taken {
            metrics.dist_busy.increment();
        }
        taken
    }

    /// Ends the link now. The reader notices, and tells the registry when it is done.
    pub(crate) fn close(&self, reason: LinkDown) {
        let _ = self.ended.set(reason);
        self.queue.close();
        // Fails only when the peer has ended it already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Ends the link once what is queued has been written.
    pub(crate) fn finish(&self) {
        let _ = self.ended.set(LinkDown::Shutdown);
        self.queue.finish();
    }

    fn down_reason(&self) -> LinkDown {
        self.ended.get().copied().unwrap_or(LinkDown::Peer)
    }
}

/// Why a socket that fails ends the link.
fn reason_of(error: &io::Error) -> LinkDown {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => LinkDown::Peer,
        _ => LinkDown::Io,
    }
}
