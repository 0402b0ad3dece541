//! The memory that a link reads into: blocks that go round between reader and shards.
//!
//! Knows no frames. A block is filled by the reader, sealed as [`Bytes`] whose slices go to the
//! shards, and comes back when the last slice is dropped, on whichever thread that is: so nothing is
//! allocated, zeroed or page-faulted again while a link is busy.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// The usual size of a block: more than a second's worth of a quiet link, and small enough that a
/// read at full rate (10 to 30 KiB with pauses) fills a good part of it.
pub(super) const BLOCK_BYTES_MIN: usize = 64 * 1024;

/// The size of blocks while reads fill them: fewer calls for large messages. Beyond it the copy out of
/// the kernel costs more than the calls.
pub(super) const BLOCK_BYTES_MAX: usize = 256 * 1024;

/// Blocks kept for the next read; more are only out while the shards lag. 1 MiB a link at most.
const SPARE_MAX: usize = 4;

/// After so many blocks, those are let go that nobody has needed meanwhile: what a moment of lag has
/// cost does not stay.
const TAKES: u32 = 32;

/// The spare blocks of one link.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks(Arc<Mutex<Spare>>);

#[derive(Debug, Default)]
struct Spare {
    blocks: Vec<Vec<u8>>,
    /// The fewest that there were since it was last looked at, and how many were taken since.
    fewest: usize,
    takes: u32,
}

impl Spare {
    fn take(&mut self) -> Option<Vec<u8>> {
        let taken = self.blocks.pop();
        self.fewest = self.fewest.min(self.blocks.len());
        self.takes += 1;
        if self.takes == TAKES {
            // The lowest have waited longest.
            self.blocks.drain(..self.fewest);
            (self.fewest, self.takes) = (self.blocks.len(), 0);
        }
        taken
    }
}

impl Blocks {
    /// A block of at least `bytes` bytes, with anything in it.
    pub(super) fn take(&self, bytes: usize) -> Vec<u8> {
        let spare = self.lock().take();
        match spare {
            Some(block) if block.len() >= bytes => block,
            _ => vec![0; bytes],
        }
    }

    /// The bytes of a block, which comes back when nobody holds a part of them any more.
    pub(super) fn seal(&self, block: Vec<u8>) -> Bytes {
        Bytes::from_owner(Sealed {
            block,
            blocks: self.clone(),
        })
    }

    pub(super) fn give_back(&self, block: Vec<u8>) {
        if block.len() <= BLOCK_BYTES_MAX {
            let mut spare = self.lock();
            if spare.blocks.len() < SPARE_MAX {
                spare.blocks.push(block);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Spare> {
        // Whatever happens elsewhere, these are still blocks.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Sealed {
    block: Vec<u8>,
    blocks: Blocks,
}

impl AsRef<[u8]> for Sealed {
    fn as_ref(&self) -> &[u8] {
        &self.block
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        self.blocks.give_back(std::mem::take(&mut self.block));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back_with_its_last_slice() {
        let blocks = Blocks::default();
        let block = blocks.take(BLOCK_BYTES_MIN);
        let place = block.as_ptr();
        let sealed = blocks.seal(block);
        let slice = sealed.slice(10..20);
        drop(sealed);
        assert!(blocks.lock().blocks.is_empty(), "a slice is out");
        drop(slice);
        let again = blocks.take(BLOCK_BYTES_MIN);
        assert_eq!(again.as_ptr(), place);
    }

    #[test]
    fn what_a_moment_of_lag_has_cost_does_not_stay() {
        let blocks = Blocks::default();
        for _ in 0..SPARE_MAX {
            blocks.give_back(vec![0; BLOCK_BYTES_MAX]);
        }
        let spare = || blocks.lock().blocks.len();
        for _ in 0..2 * TAKES {
            let (one, two) = (blocks.take(1), blocks.take(1));
            blocks.give_back(one);
            blocks.give_back(two);
        }
        assert_eq!(spare(), 2, "as many as were needed at once");
        for _ in 0..2 * TAKES {
            let one = blocks.take(1);
            blocks.give_back(one);
        }
        assert_eq!(spare(), 1);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let blocks = Blocks::default();
        for _ in 0..2 * SPARE_MAX {
            blocks.give_back(vec![0; BLOCK_BYTES_MAX]);
        }
        blocks.give_back(vec![0; BLOCK_BYTES_MAX + 1]);
        let spare: usize = blocks.lock().blocks.iter().map(Vec::len).sum();
        assert_eq!(spare, SPARE_MAX * BLOCK_BYTES_MAX);
    }
}
