//! What becomes of a connection, or of its messages, when it reads too slowly.
//!
//! A name for each policy, no more: the hub does what they say.

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
}
