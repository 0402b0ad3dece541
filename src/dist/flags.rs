//! The capability flags of the distribution handshake: what we offer, what we demand, and why.
//!
//! No negotiation beyond the intersection of both sides' sets: what a flag changes on the wire is
//! decided where it is written or read. Values are those of OTP's `dist.hrl` ("Distribution
//! Protocol", section "Distribution Flags"); the printed value of `DFLAG_MANDATORY_25_DIGEST` in
//! the OTP 25 documentation (bit 36) is wrong, the header's (bit 26) is used.

use std::fmt;
use std::ops::BitOr;

/// A set of flags.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Flags(pub(crate) u64);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $value:expr;)+) => {
        impl Flags {
            $($(#[$doc])* pub(crate) const $name: Flags = Flags($value);)+

            /// Every flag that has a name here, for messages.
            const NAMED: &'static [(&'static str, Flags)] =
                &[$((stringify!($name), Flags::$name),)+];
        }
    };
}

flags! {
    /// Mandatory: references of several words.
    EXTENDED_REFERENCES = 0x4;
    /// `MONITOR_P` to pids: without it Erlang would watch only the link.
    DIST_MONITOR = 0x8;
    /// Mandatory: funs.
    FUN_TAGS = 0x10;
    /// `MONITOR_P` to registered names: `gen_server:call` learns `noproc` at once.
    DIST_MONITOR_NAME = 0x20;
    /// Mandatory: funs in their new shape.
    NEW_FUN_TAGS = 0x80;
    /// Mandatory: pids and ports with wide numbers.
    EXTENDED_PIDS_PORTS = 0x100;
    /// Mandatory: `fun M:F/A`.
    EXPORT_PTR_TAG = 0x200;
    /// Mandatory: bit strings.
    BIT_BINARIES = 0x400;
    /// Mandatory: floats as 8 bytes.
    NEW_FLOATS = 0x800;
    /// Text of the I/O protocol may be Unicode.
    UNICODE_IO = 0x1000;
    /// Atoms with a one-byte length: shorter control messages.
    SMALL_ATOM_TAGS = 0x4000;
    /// Mandatory: atoms as UTF-8.
    UTF8_ATOMS = 0x1_0000;
    /// Mandatory: maps.
    MAP_TAG = 0x2_0000;
    /// Mandatory: 32-bit creations.
    BIG_CREATION = 0x4_0000;
    /// Sends to pids carry the sender.
    SEND_SENDER = 0x8_0000;
    /// Sequential trace labels may be any term; they are skipped here.
    BIG_SEQTRACE_LABELS = 0x10_0000;
    /// Exit reasons travel as payload, so that a control message stays small and decodable.
    EXIT_PAYLOAD = 0x40_0000;
    /// Messages of more than 64 KiB travel in parts, so that others and ticks get in between. Every
    /// frame then begins with a distribution header.
    FRAGMENTS = 0x80_0000;
    /// Mandatory: the handshake of OTP 23.
    HANDSHAKE_23 = 0x100_0000;
    /// Mandatory since OTP 26: the unlink protocol with acknowledgements.
    UNLINK_ID = 0x200_0000;
    /// Stands for all flags that OTP 25 made mandatory; announced to become sufficient.
    MANDATORY_25_DIGEST = 0x400_0000;
    /// Spawn requests reach us and are refused by us: with it, `{badrpc, notsup}` is our answer
    /// and is counted; without it, Erlang makes the same answer up.
    SPAWN = 1 << 32;
    /// Mandatory since OTP 26: 64-bit pids, ports and references.
    V4_NC = 4 << 32;
    /// Aliases: the reply tags of `gen_server:call`.
    ALIAS = 8 << 32;
    /// `ALTACT_SIG_SEND`, OTP 28 and later: the one operation for priority messages, and for sends to
    /// aliases when OTP 30 drops `ALIAS_SEND`.
    ALTACT_SIG = 0x20 << 32;
}

impl Flags {
    /// The flags that OTP 25 demands and `MANDATORY_25_DIGEST` stands for.
    const MANDATORY_25: Flags = Flags(0x107_0f94);

    /// What a peer must have. OTP 25 sets `UNLINK_ID` and `V4_NC` already, 26 demands them.
    pub(crate) const MANDATORY: Flags =
        Flags(Self::MANDATORY_25.0 | Self::UNLINK_ID.0 | Self::V4_NC.0);

    /// What we offer. Left out on purpose: `PUBLISHED` (its absence is what hides the node),
    /// `DIST_HDR_ATOM_CACHE` (state per link, no measurable gain), `NATIVE_RECORDS` (their terms are
    /// skipped and counted; OTP 29 sends them all the same).
    pub(crate) const OFFERED: Flags = Flags(
        Self::MANDATORY.0
            | Self::DIST_MONITOR.0
            | Self::DIST_MONITOR_NAME.0
            | Self::UNICODE_IO.0
            | Self::SMALL_ATOM_TAGS.0
            | Self::SEND_SENDER.0
            | Self::BIG_SEQTRACE_LABELS.0
            | Self::EXIT_PAYLOAD.0
            | Self::MANDATORY_25_DIGEST.0
            | Self::SPAWN.0
            | Self::FRAGMENTS.0
            | Self::ALIAS.0
            | Self::ALTACT_SIG.0,
    );

    pub(crate) fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags that hold on a link: both sides set them.
    pub(crate) fn intersection(self, other: Flags) -> Flags {
        Flags(self.0 & other.0)
    }

    /// The set with `MANDATORY_25_DIGEST` written out.
    pub(crate) fn expanded(self) -> Flags {
        if self.contains(Self::MANDATORY_25_DIGEST) {
            self | Self::MANDATORY_25
        } else {
            self
        }
    }

    /// The mandatory flags that a peer with this set lacks, `None` when it has all.
    pub(crate) fn missing(self) -> Option<Flags> {
        let missing = Flags(Self::MANDATORY.0 & !self.expanded().0);
        (missing.0 != 0).then_some(missing)
    }
}

impl BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Self::NAMED
            .iter()
            .filter(|(_, flag)| self.contains(*flag))
            .map(|(name, _)| *name)
            .collect();
        f.write_str(&names.join(", "))
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "16#{:x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offered_is_the_set_that_was_tried_against_every_release() {
        assert_eq!(Flags::OFFERED, Flags(0x2d_07df_5fbc));
        assert!(!Flags::OFFERED.contains(Flags(1)), "we are hidden");
    }

    #[test]
    fn peers_seen_in_the_wild_have_what_is_mandatory() {
        for otp in [0xd_07df_7fbd, 0x6d_07df_7fbd] {
            assert_eq!(Flags(otp).missing(), None);
        }
    }

    #[test]
    fn the_digest_stands_for_the_flags_of_25() {
        let digest = Flags::MANDATORY_25_DIGEST | Flags::UNLINK_ID | Flags::V4_NC;
        assert_eq!(digest.missing(), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let peer = Flags(Flags::OFFERED.0 & !Flags::UNLINK_ID.0);
        let missing = peer.missing().map(|flags| flags.to_string());
        assert_eq!(missing.as_deref(), Some("UNLINK_ID"));
    }
}
