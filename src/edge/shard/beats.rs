//! Connections with a heartbeat of their own: when each is due, in a table beside the slab.
//!
//! Pure arithmetic: the shard brings the elapsed time. Most connections beat with the sweep and are
//! not here; those that are cost a row each, so their number is limited.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::wire::Heartbeat;

/// Rows of a shard: some 6 MB. More beat as the config says.
const ROWS_MAX: usize = 65_536;

/// The table.
#[derive(Debug, Default)]
pub(super) struct Beats {
    rows: HashMap<u32, Row>,
    due: BTreeSet<(Duration, u32)>,
    /// Time since this table began.
    now: Duration,
}

#[derive(Debug)]
struct Row {
    /// `None`: never.
    beat: Option<(Duration, Duration)>,
}

/// There are as many rows as may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BeatsLimit;

impl Beats {
    /// The connection in this slot has this heartbeat. The slot had none.
    pub(super) fn put(&mut self, slot: u32, heartbeat: Heartbeat) -> Result<(), BeatsLimit> {
        if self.rows.len() >= ROWS_MAX {
            return Err(BeatsLimit);
        }
        let beat = match heartbeat {
            Heartbeat::Off => None,
            Heartbeat::Every(pause) => Some((pause, self.now + pause)),
        };
        if let Some((_, at)) = beat {
            self.due.insert((at, slot));
        }
        self.rows.insert(slot, Row { beat });
        Ok(())
    }

    /// Whether the connection in this slot is here, and not the sweep's to beat.
    pub(super) fn has(&self, slot: u32) -> bool {
        !self.rows.is_empty() && self.rows.contains_key(&slot)
    }

    /// The connection in this slot is gone.
    pub(super) fn remove(&mut self, slot: u32) {
        if self.rows.is_empty() {
            return;
        }
        let row = self.rows.remove(&slot);
        if let Some((_, at)) = row.and_then(|row| row.beat) {
            self.due.remove(&(at, slot));
        }
        if self.rows.is_empty() {
            // It gives its room back.
            self.rows = HashMap::new();
        }
    }

    /// So much time has passed.
    pub(super) fn pass(&mut self, elapsed: Duration) {
        self.now += elapsed;
    }

    /// The next slot that is due; each is told once, and again after its pause.
    pub(super) fn next_due(&mut self) -> Option<u32> {
        let &(at, slot) = self.due.first()?;
        if at > self.now {
            return None;
        }
        self.due.remove(&(at, slot));
        let row = self.rows.get_mut(&slot)?;
        let (pause, next) = row.beat.as_mut()?;
        // From now, not from when it was due: after a halt nobody beats twice.
        *next = self.now + *pause;
        self.due.insert((*next, slot));
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(beats: &mut Beats, ms: u64) -> Vec<u32> {
        beats.pass(Duration::from_millis(ms));
        std::iter::from_fn(|| beats.next_due()).collect()
    }

    #[test]
    fn each_beats_at_its_own_pace() {
        let every = |ms| Heartbeat::Every(Duration::from_millis(ms));
        let mut beats = Beats::default();
        for (slot, heartbeat) in [(1, every(1000)), (2, every(3000)), (3, Heartbeat::Off)] {
            beats.put(slot, heartbeat).unwrap();
        }
        assert!(beats.has(3) && !beats.has(4));
        assert!(due(&mut beats, 999).is_empty());
        assert_eq!(due(&mut beats, 1), [1]);
        assert_eq!(due(&mut beats, 2500), [1, 2], "once after a halt");
        beats.remove(1);
        beats.remove(3);
        beats.remove(9);
        assert_eq!(due(&mut beats, 3000), [2]);
        beats.remove(2);
        assert!(beats.due.is_empty() && beats.rows.capacity() == 0);
    }

    #[test]
    fn rows_are_limited() {
        let mut beats = Beats::default();
        for slot in 0..u32::try_from(ROWS_MAX).unwrap() {
            beats.put(slot, Heartbeat::Off).unwrap();
        }
        assert_eq!(beats.put(u32::MAX, Heartbeat::Off), Err(BeatsLimit));
    }
}
