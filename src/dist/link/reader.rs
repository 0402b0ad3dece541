//! The reading thread of a link.
//!
//! Never waits for anything but the socket: neither for shards nor for the writer. It parses what one
//! read brought, hands it over together, and at a high rate of small reads rests for a moment
//! (`pace`), always after handing over, never before.

use std::io::{ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Instant;

use tracing::warn;

use super::frames::{Deframer, Next};
use super::pace::Pace;
use super::session::Session;
use super::{Limits, reason_of};
use crate::metrics::LinkDown;

pub(crate) fn run(mut session: Session, mut source: impl Read, limits: Limits) {
    // A bug of ours that some bytes find costs their link alone, and leaves nothing half open.
    let reading = AssertUnwindSafe(|| read_until_the_end(&mut session, &mut source, limits));
    let reason = catch_unwind(reading).unwrap_or(LinkDown::Panic);
    session.end(reason);
}

fn read_until_the_end(session: &mut Session, source: &mut impl Read, limits: Limits) -> LinkDown {
    let mut deframer = Deframer::new(limits.frame_bytes_max);
    let mut pace = Pace::default();
    let start = Instant::now();
    let mut heard_at = start;
    loop {
        let count = match deframer.fill(source) {
            Ok(0) => return LinkDown::Peer,
            Ok(count) => count,
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => continue,
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    if heard_at.elapsed() < limits.silence_max() {
                        continue;
                    }
                    return LinkDown::TickTimeout;
                }
                _ => return reason_of(&error),
            },
        };
        heard_at = Instant::now();
        let taken = take_frames(session, &mut deframer);
        let brought = session.hand_over(count);
        if let Err(reason) = taken {
            return reason;
        }
        let now = heard_at.duration_since(start);
        if let Some(pause) = pace.after_read(now, count, brought) {
            thread::sleep(pause);
        }
    }
}

fn take_frames(session: &mut Session, deframer: &mut Deframer) -> Result<(), LinkDown> {
    loop {
        match deframer.next() {
            Next::More => return Ok(()),
            Next::Tick => session.tick(),
            Next::Frame(frame) => {
                if let Err(malformed) = session.frame(&frame, deframer.held_bytes()) {
                    let peer = session.peer();
                    warn!(%peer, "{malformed}: the link is closed, Erlang will dial again");
                    return Err(LinkDown::Malformed);
                }
            }
            Next::TooLarge { bytes } => {
                let peer = session.peer();
                warn!(%peer, bytes, "a frame above the limit is announced: the link is closed");
                return Err(LinkDown::FrameTooLarge);
            }
        }
    }
}
