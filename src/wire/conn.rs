//! The name of one held connection, as it travels in an Erlang pid.
//!
//! A pid has 32 bits of id and 32 bits of serial (`NEW_PID_EXT`, OTP "External Term Format").
//! The slot fills the id; shard and generation fill the serial. The generation of a slot grows
//! each time the slot is reused, so a stale pid never names a newer connection (until the same
//! slot has been reused 2^24 times).

use std::fmt;

/// Most shards an edge can have: the last shard number is [`NODE_SHARD`].
pub const SHARDS_MAX: usize = 255;

/// The shard number that no shard has: pids with it name the node itself, not a connection.
pub const NODE_SHARD: u8 = u8::MAX;

/// One held connection: shard, slot in that shard's slab, generation of that slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Conn {
    /// Which shard holds it; below [`NODE_SHARD`].
    pub shard: u8,
    /// Its place in the shard's slab.
    pub slot: u32,
    /// How often the slot has been used, modulo 2^24.
    pub generation: u32,
}

impl Conn {
    /// Generations count modulo this.
    pub const GENERATIONS: u32 = 1 << 24;

    /// The id and serial of the pid that stands for this connection.
    pub fn to_pid_parts(self) -> (u32, u32) {
        debug_assert!(
            self.generation < Self::GENERATIONS,
            "a generation has 24 bits"
        );
        (self.slot, u32::from(self.shard) << 24 | self.generation)
    }

    /// The connection that a pid of ours stands for, `None` for the node's own pids.
    pub fn from_pid_parts(id: u32, serial: u32) -> Option<Conn> {
        let [shard, ..] = serial.to_be_bytes();
        let generation = serial & (Self::GENERATIONS - 1);
        (shard != NODE_SHARD).then_some(Conn {
            shard,
            slot: id,
            generation,
        })
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn {}.{}.{}", self.shard, self.slot, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pid_parts_round_trip(shard in 0..NODE_SHARD, slot: u32, generation in 0..Conn::GENERATIONS) {
            let conn = Conn { shard, slot, generation };
            let (id, serial) = conn.to_pid_parts();
            prop_assert_eq!(Conn::from_pid_parts(id, serial), Some(conn));
        }

        #[test]
        fn node_pids_are_no_connections(id: u32, low in 0..Conn::GENERATIONS) {
            prop_assert_eq!(Conn::from_pid_parts(id, u32::from(NODE_SHARD) << 24 | low), None);
        }
    }
}
