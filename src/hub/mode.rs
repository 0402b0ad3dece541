//! What a connection was opened with: how messages are laid out, and what becomes of those that find
//! its outbox full.
//!
//! Both in one byte, because a slot has one to spare. Nothing is done here.

use super::framing::Framing;
use crate::wire::WhenFull;

/// Framing and policy of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode(u8);

impl Mode {
    /// The framing has the lower half.
    const SHIFT: u32 = 4;

    pub(super) fn new(framing: Framing, when_full: WhenFull) -> Mode {
        Mode(framing as u8 | (when_full as u8) << Self::SHIFT)
    }

    pub(super) fn framing(self) -> Framing {
        let place = self.0 & ((1 << Self::SHIFT) - 1);
        Framing::ALL[usize::from(place)]
    }

    pub(super) fn when_full(self) -> WhenFull {
        WhenFull::ALL[usize::from(self.0 >> Self::SHIFT)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_come_out_as_they_went_in() {
        for framing in Framing::ALL {
            for when_full in WhenFull::ALL {
                let mode = Mode::new(framing, when_full);
                assert_eq!((mode.framing(), mode.when_full()), (framing, when_full));
            }
        }
    }
}
