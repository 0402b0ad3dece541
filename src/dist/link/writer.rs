//! The writing thread of a link.
//!
//! Decides nothing but when to tick: it ticks when nothing was queued for a quarter of the tick time.
//! While a large buffer goes out no tick is needed, every byte of it says the same; while the
//! socket is full the peer does not read, and no tick would reach it.

use std::io::Write;

use super::queue::Turn;
use super::stream::WriteHalf;
use super::{Limits, Link, reason_of};

/// What one call of `write` is given: as much as OTP's own driver coalesces.
const WRITE_BYTES_MAX: usize = 64 * 1024;

pub(crate) fn run(link: &Link, mut socket: WriteHalf, limits: Limits) {
    let mut spent = Vec::new();
    loop {
        match link.queue.take(spent, limits.quarter()) {
            Turn::Write(bytes) => {
                for piece in bytes.chunks(WRITE_BYTES_MAX) {
                    if let Err(error) = socket.write_all(piece) {
                        link.close(reason_of(&error));
                        return;
                    }
                    link.queue.written(piece.len());
                }
                link.watches.flush(link);
                spent = bytes;
            }
            Turn::Idle => {
                link.queue.tick();
                spent = Vec::new();
            }
            Turn::Done => {
                socket.goodbye();
                link.close(link.down_reason());
                return;
            }
        }
    }
}
