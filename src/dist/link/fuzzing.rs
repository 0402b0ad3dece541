//! What a peer that has shaken hands can do to a link, without its socket and threads.
//!
//! The bytes are those after the handshake; how they are cut into reads is part of the input. The
//! promises: cutting does not depend on the reads, whoever waits is answered, and whatever we
//! answer is a frame that Erlang can parse, or it would end the link.

use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;

use super::frames::{Deframer, Next};
use super::queue::{SendQueue, Turn};
use super::session::Session;
use super::watches::Watches;
use super::{Limits, Link, ReplyTo};
use crate::dist::Inbound;
use crate::dist::codec::{Body, Control, Outbound, Outgoing, Receiver, agreed, open, split};
use crate::dist::flags::Flags;
use crate::dist::handshake::Remote;
use crate::dist::identity::Identity;
use crate::dist::registry::Registry;
use crate::metrics::{LinkDown, Metrics};
use crate::term::{Term, gone};
use crate::wire::{Command, Conn, Gone, InfoValue, Owner, Reply};

/// Small, so that inputs reach it.
const FRAME_BYTES_MAX: usize = 4096;

/// The creation of the seeds' traffic.
const CREATION: u32 = 7;

/// The first byte says how large the reads are.
pub fn frames(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else {
        return;
    };
    let whole = cut(stream, usize::MAX);
    let pieces = cut(stream, usize::from(*size) + 1);
    assert_eq!(whole, pieces);
    for next in whole {
        if let Next::Frame(frame) = next
            && let Ok(Body::Whole(message)) = open(&frame)
        {
            agreed(message, &frame);
        }
    }
}

fn cut(stream: &[u8], size: usize) -> Vec<Next> {
    let mut deframer = Deframer::new(FRAME_BYTES_MAX);
    let mut cut = Vec::new();
    for mut piece in stream.chunks(size) {
        while !piece.is_empty() {
            fill(&mut deframer, &mut piece);
            loop {
                match deframer.next() {
                    Next::More => break,
                    too_large @ Next::TooLarge { .. } => {
                        cut.push(too_large);
                        return cut;
                    }
                    next => cut.push(next),
                }
            }
        }
    }
    cut
}

fn fill(deframer: &mut Deframer, bytes: &mut &[u8]) {
    let count = deframer.fill(bytes).expect("memory can be read");
    assert!(count > 0, "a block has room");
}

/// The first byte says which flags hold and when watched connections go, the rest is what the peer
/// sends. Some answers of the bridge come at once, others at the end and in another order, others
/// never. Whoever watches a connection has been told of its end when all are gone.
pub fn session(data: &[u8]) {
    let Some((choice, stream)) = data.split_first() else {
        return;
    };
    let flags = if choice & 1 == 0 {
        Flags::OFFERED
    } else {
        Flags::MANDATORY
    };
    let inbound = Arc::new(Bridge::default());
    let (link, mut session) = link(flags, &inbound);
    for next in cut(stream, usize::MAX) {
        match next {
            Next::Frame(frame) => {
                if session.frame(&frame, 0).is_err() {
                    break;
                }
            }
            Next::Tick => session.tick(),
            Next::More | Next::TooLarge { .. } => break,
        }
        if choice & 2 == 0 {
            let at_once = inbound.take_watched();
            end(&link, &at_once);
        }
        check_answers(&link);
    }
    end(&link, &inbound.take_watched());
    let metrics = session.metrics();
    assert_eq!(metrics.watches.value(), 0, "somebody was not told");
    let late = std::mem::take(&mut *inbound.late.lock().expect("nobody panics in here"));
    for (index, reply_to) in late.into_iter().rev().enumerate() {
        if index % 3 > 0 {
            reply_to.send(Reply::Ok);
        }
    }
    check_answers(&link);
    let _ = session.hand_over(stream.len());
    session.end(LinkDown::Peer);
}

/// What the shards do when these connections close.
fn end(link: &Link, watched: &[Conn]) {
    for conn in watched {
        link.watches.gone(link, *conn, gone(&Gone::Before));
    }
}

/// Answers some at once, some later, some by dropping.
#[derive(Default)]
struct Bridge {
    late: Mutex<Vec<ReplyTo>>,
    watched: Mutex<Vec<Conn>>,
}

impl Bridge {
    fn take_watched(&self) -> Vec<Conn> {
        std::mem::take(&mut *self.watched.lock().expect("nobody panics in here"))
    }
}

impl Inbound for Bridge {
    fn command(&self, command: Command, reply_to: Option<ReplyTo>) {
        let mut watched = self.watched.lock().expect("nobody panics in here");
        match command {
            Command::Watch { conn, .. } => watched.push(conn),
            Command::Unwatch { conn, .. } => watched.retain(|other| *other != conn),
            _ => {}
        }
        drop(watched);
        let Some(reply_to) = reply_to else { return };
        let conn = Conn {
            shard: 1,
            slot: u32::MAX,
            generation: 1,
        };
        let reply = match command {
            Command::Connections { .. } => Reply::Connections(vec![conn; 3]),
            Command::Info => Reply::Info(vec![
                ("connections", InfoValue::Int(u64::MAX)),
                ("version", InfoValue::Text("1".to_owned())),
            ]),
            Command::Attach { .. } => Reply::Attached {
                epoch: u64::MAX,
                credit: u64::MAX,
            },
            Command::CloseAll { .. } => return,
            _ => {
                let mut late = self.late.lock().expect("nobody panics in here");
                return late.push(reply_to);
            }
        };
        reply_to.send(reply);
    }

    fn owner_gone(&self, _: Owner) {}
}

fn link(flags: Flags, inbound: &Arc<Bridge>) -> (Arc<Link>, Session) {
    // Nothing is ever read from or written to it.
    static SOCKET: OnceLock<TcpStream> = OnceLock::new();
    let socket = SOCKET.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let address = listener.local_addr().expect("it is bound");
        TcpStream::connect(address).expect("somebody listens")
    });
    let identity = Identity {
        name: "lariat@127.0.0.1".parse().expect("it is a node name"),
        creation: CREATION,
    };
    let limits = Limits {
        tick_time: Duration::from_secs(60),
        frame_bytes_max: FRAME_BYTES_MAX,
        // Never full: that a full queue ends the link is not what is looked for.
        send_queue_bytes_max: usize::MAX / 2,
        watches_max: 3,
    };
    let metrics = Arc::new(Metrics::default());
    let inbound: Arc<dyn Inbound> = Arc::clone(inbound) as Arc<dyn Inbound>;
    let registry = Arc::new(Registry::new(
        identity.clone(),
        limits,
        inbound,
        Arc::clone(&metrics),
    ));
    let link = Arc::new(Link {
        ticket: crate::dist::peers::Ticket(1),
        remote: Remote {
            name: "app@127.0.0.1".parse().expect("it is a node name"),
            creation: 1,
            flags,
        },
        outbound: Outbound { identity, flags },
        watches: Watches::new(limits.watches_max, Arc::clone(&metrics)),
        queue: SendQueue::new(limits.send_queue_bytes_max, metrics),
        socket: socket.try_clone().expect("there is a file for it"),
        ended: OnceLock::new(),
    });
    let session = Session::new(Arc::clone(&link), registry, limits);
    (link, session)
}

/// Everything queued is a frame with a control message that we know ourselves and a payload that
/// is a term.
fn check_answers(link: &Link) {
    let mut deframer = Deframer::new(usize::MAX);
    let mut written = Vec::new();
    while let Turn::Write(bytes) = link.queue.take(Vec::new(), Duration::ZERO) {
        link.queue.written(bytes.len());
        written.extend(bytes);
    }
    let mut written = written.as_slice();
    loop {
        let frame = match deframer.next() {
            Next::Frame(frame) => frame,
            Next::Tick => continue,
            Next::More if written.is_empty() => return,
            Next::More => {
                fill(&mut deframer, &mut written);
                continue;
            }
            Next::TooLarge { .. } => panic!("a frame of more than 2^63 bytes"),
        };
        if let Body::Whole(message) = open(&frame).expect("it is a frame") {
            let (control, bytes) = split(message).expect("it has a control message");
            assert_ne!(control, Control::Unknown, "{frame:?}");
            if let Some(bytes) = bytes {
                let term: Term<'_> = Term::whole(bytes).expect("its payload is a term");
                assert!(!term.bytes().is_empty());
            }
        }
    }
}

/// Each byte is a step with the send queue: what goes in comes out, in order, or is refused, and
/// in the end nothing is counted that is not there.
pub fn queue(data: &[u8]) {
    const BYTES_MAX: usize = 2000;
    let metrics = Arc::new(Metrics::default());
    let queue = SendQueue::new(BYTES_MAX, Arc::clone(&metrics));
    let mut expected: Vec<u8> = Vec::new();
    let mut written: Vec<u8> = Vec::new();
    let mut is_open = true;
    let mut ticks = 0_usize;
    let drain = |written: &mut Vec<u8>| {
        while let Turn::Write(bytes) = queue.take(Vec::new(), Duration::ZERO) {
            queue.written(bytes.len());
            written.extend(bytes);
        }
    };
    for (index, step) in data.iter().enumerate() {
        let length = usize::from(step >> 3) * 16 + 1;
        let body = vec![u8::try_from(index % 251).unwrap_or_default(); length];
        let message = Outgoing {
            body,
            cut_from: None,
            to: Receiver(u64::from(step >> 5)),
        };
        let frame = |message: &Outgoing| {
            let length = u32::try_from(message.body.len()).expect("it is short");
            [&length.to_be_bytes()[..], &message.body].concat()
        };
        match step & 7 {
            0..=2 => {
                let before = queue.has_room_for_events();
                let taken = queue.push_events(&message).is_ok();
                assert!(taken || !before, "refused although there was room");
                if taken && is_open {
                    expected.extend(frame(&message));
                }
            }
            3 | 4 if queue.push_signal(&message).is_ok() && is_open => {
                expected.extend(frame(&message));
            }
            5 => {
                ticks += 1;
                queue.tick();
            }
            6 => drain(&mut written),
            _ if index % 16 == 7 => {
                queue.finish();
                is_open = false;
            }
            _ => {}
        }
        // One batch of events may pass the half, then one signal less than the limit.
        assert!(metrics.dist_queue_bytes.value() <= 2 * BYTES_MAX as u64);
    }
    drain(&mut written);
    assert_eq!(metrics.dist_queue_bytes.value(), 0);
    assert_eq!(without_ticks(&written, ticks), expected);
    queue.close();
    assert_eq!(metrics.dist_queue_bytes.value(), 0);
}

/// The frames with a body, again as bytes; there may not be more ticks than were asked for.
fn without_ticks(written: &[u8], ticks: usize) -> Vec<u8> {
    let mut deframer = Deframer::new(usize::MAX);
    let mut written = written;
    let mut frames = Vec::new();
    let mut seen = 0;
    loop {
        match deframer.next() {
            Next::Frame(frame) => {
                let body: &Bytes = &frame;
                let length = u32::try_from(body.len()).expect("it is short");
                frames.extend(length.to_be_bytes());
                frames.extend(body);
            }
            Next::Tick => seen += 1,
            Next::More if !written.is_empty() => fill(&mut deframer, &mut written),
            Next::More | Next::TooLarge { .. } => break,
        }
    }
    assert!(seen <= ticks, "ticks out of nothing");
    frames
}
