//! What a connection was opened with: how messages are laid out, and what becomes of those that find
//! its outbox full.
//!
//! Both in one byte, because a slot has one to spare. Nothing is done here.

use super::framing::Framing;

/// What happens to a connection that reads too slowly: when its outbox is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// `close`: it is closed. A client that returns knows that it has missed something.
    #[default]
    Close,
    /// `drop_oldest`: what has waited longest is dropped, for clients to whom news matter.
    DropOldest,
    /// `drop_newest`: what does not fit is dropped.
    DropNewest,
    /// `keep_latest`: one message waits at most, and each replaces the one before: for states, of which
    /// only the last counts.
    KeepLatest,
}

impl WhenFull {
    /// Every policy.
    pub const ALL: [WhenFull; 4] = [
        WhenFull::Close,
        WhenFull::DropOldest,
        WhenFull::DropNewest,
        WhenFull::KeepLatest,
    ];

    /// Its name in the config and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            WhenFull::Close => "close",
            WhenFull::DropOldest => "drop_oldest",
            WhenFull::DropNewest => "drop_newest",
            WhenFull::KeepLatest => "keep_latest",
        }
    }
}

impl std::str::FromStr for WhenFull {
    type Err = String;

    fn from_str(text: &str) -> Result<WhenFull, String> {
        let named = WhenFull::ALL
            .into_iter()
            .find(|policy| policy.as_str() == text);
        named.ok_or_else(|| {
            let names = WhenFull::ALL.map(WhenFull::as_str).join(", ");
            format!("{text:?} is no policy; accepted: {names}")
        })
    }
}

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
    fn policies_are_read_by_name() {
        for when_full in WhenFull::ALL {
            assert_eq!(when_full.as_str().parse(), Ok(when_full));
        }
        let error = "block".parse::<WhenFull>().unwrap_err();
        assert!(error.contains("keep_latest"), "{error}");
    }

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
