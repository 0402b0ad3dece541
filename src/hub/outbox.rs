//! Messages waiting for one connection whose socket is full.
//!
//! It holds references to shared frames and one offset, never copies, and decides nothing: the
//! hub knows the limits and what happens at them.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::wire::Reason;

/// Frames in the order they go out; the first may be partly written.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// Set once the connection is to close when this is empty.
    pub(super) ending: Option<Ending>,
}

/// A connection that closes once its outbox is empty.
#[derive(Debug)]
pub(super) struct Ending {
    /// Why it closes.
    pub(super) reason: Reason,
    /// Whether a sweep has found it waiting; the next one ends it.
    pub(super) swept: bool,
}

impl Outbox {
    /// How many frames one `writev` takes: the kernel's own limit (`UIO_MAXIOV`) is 1,024, and
    /// beyond a few dozen small frames the call's cost no longer shows.
    const GATHER_MAX: usize = 64;

    pub(super) fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Bytes waiting.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages waiting, a partly written one included.
    pub(super) fn messages(&self) -> usize {
        self.frames.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// What to write next, gathered; the number says how many slices are used.
    pub(super) fn gather(&self) -> ([IoSlice<'_>; Self::GATHER_MAX], usize) {
        let mut slices = [IoSlice::new(&[]); Self::GATHER_MAX];
        let mut count = 0;
        for (slice, frame) in slices.iter_mut().zip(&self.frames) {
            *slice = IoSlice::new(frame);
            count += 1;
        }
        (slices, count)
    }

    /// Takes away what the socket took.
    pub(super) fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while written > 0 {
            let first = self
                .frames
                .front_mut()
                .expect("the socket took no more than it was given");
            if first.len() > written {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.frames.pop_front();
        }
    }
}
