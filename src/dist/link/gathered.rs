//! What one read has brought so far: sends that nobody waits for, on their way to the shards together.
//!
//! Decides nothing; the session says what goes in and when it must go out before something else.

use crate::dist::Inbound;
use crate::wire::Command;

/// The sends of one read, in order.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    sends: Vec<Command>,
    brought: Brought,
}

/// What a read consisted of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Brought {
    /// All frames, ticks included.
    pub(super) frames: usize,
    /// Those of them that were sends that nobody waits for.
    pub(super) sends: usize,
    /// The last of these wait behind others.
    pub(super) is_behind: bool,
}

impl Gathered {
    /// Sends kept room for between reads: those of a read of the largest usual size. What a burst of
    /// tiny messages needs beyond is given back.
    const KEPT_MAX: usize = 4096;

    /// Another frame, or a tick.
    pub(super) fn frame(&mut self) {
        self.brought.frames += 1;
    }

    /// The frame was this send.
    pub(super) fn send(&mut self, send: Command) {
        self.brought.sends += 1;
        self.sends.push(send);
    }

    /// Hands over what there is; `held_bytes` as in [`Inbound::sends`].
    pub(super) fn hand_over(&mut self, inbound: &dyn Inbound, held_bytes: usize) {
        if !self.sends.is_empty() {
            self.brought.is_behind = inbound.sends(&mut self.sends, held_bytes);
            self.sends.clear();
            self.sends.shrink_to(Self::KEPT_MAX);
        }
    }

    /// The read is over: what it consisted of.
    pub(super) fn finish(&mut self) -> Brought {
        std::mem::take(&mut self.brought)
    }
}
