//! Bytes from the socket, cut into frames.
//!
//! The reader lets it [fill](Deframer::fill) from the socket and takes frames out, each a slice that
//! shares memory with the others of its read. Nothing grows by the length that a frame announces.
//! Spec: OTP "Distribution Protocol": 4 bytes of length, then the body; length 0 is a tick.
//!
//! What a frame keeps alive: whoever keeps a slice of a frame keeps the memory of its whole read. A
//! read that brought much (a quarter of the block at least) is handed out as it lies, without a
//! copy; the bytes of a smaller one are copied together into memory of their own size, and the
//! block is read into again. So a read never holds more than four times the bytes it brought.
//! [`Deframer::held_bytes`] says how much it is; the shards' queues count that, not the slices.

use std::io::{self, Read};

use bytes::{Buf, Bytes};

use super::blocks::{BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, Blocks};

/// A read that fills less than this part of its block is copied out of it.
const SHARE_PART: usize = 4;

/// What the buffer holds next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Frame(Bytes),
    Tick,
    /// Not yet a whole frame.
    More,
    /// A frame above the limit is announced.
    TooLarge {
        bytes: usize,
    },
}

/// The bytes that have arrived and are not yet taken.
#[derive(Debug)]
pub(crate) struct Deframer {
    blocks: Blocks,
    /// What is read into: `filled` bytes of it have arrived, and they begin with a frame.
    block: Vec<u8>,
    filled: usize,
    /// Whole frames, and perhaps the beginning of another; taken from the front.
    sealed: Bytes,
    held_bytes: usize,
    /// How large the next block is: grows while reads fill blocks, shrinks when they bring little.
    block_bytes: usize,
    frame_bytes_max: usize,
}

impl Deframer {
    pub(crate) fn new(frame_bytes_max: usize) -> Deframer {
        let blocks = Blocks::default();
        Deframer {
            block: blocks.take(BLOCK_BYTES_MIN),
            blocks,
            filled: 0,
            sealed: Bytes::new(),
            held_bytes: 0,
            block_bytes: BLOCK_BYTES_MIN,
            frame_bytes_max,
        }
    }

    /// Reads once; how many bytes came, 0 at the end. To be called when [`Deframer::next`] has said
    /// [`Next::More`].
    pub(crate) fn fill(&mut self, source: &mut impl Read) -> io::Result<usize> {
        debug_assert!(self.sealed.is_empty(), "all frames before have been taken");
        if self.filled == self.block.len() {
            // A frame larger than the block: twice the block, of which the half has arrived.
            self.block.resize(2 * self.filled, 0);
        }
        let count = source.read(&mut self.block[self.filled..])?;
        self.filled += count;
        if self.filled == self.block.len() {
            self.block_bytes = BLOCK_BYTES_MAX.min(2 * self.block_bytes);
        }
        Ok(count)
    }

    /// Bytes that the frames taken since the last [`Deframer::fill`] keep alive, whichever of them
    /// is kept.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(crate) fn next(&mut self) -> Next {
        if self.sealed.is_empty() {
            match peek(&self.block[..self.filled], self.frame_bytes_max) {
                Peek::Whole { .. } => self.seal(),
                Peek::Part => return Next::More,
                Peek::TooLarge { bytes } => return Next::TooLarge { bytes },
            }
        }
        match peek(&self.sealed, self.frame_bytes_max) {
            Peek::Whole { length: 0 } => {
                self.sealed.advance(4);
                Next::Tick
            }
            Peek::Whole { length } => {
                self.sealed.advance(4);
                Next::Frame(self.sealed.split_to(length))
            }
            Peek::TooLarge { bytes } => Next::TooLarge { bytes },
            Peek::Part => {
                // It goes to the front of the next block, and stays there until it is whole.
                let rest = std::mem::take(&mut self.sealed);
                self.filled = rest.len();
                if self.block.len() < rest.len() {
                    self.block.resize(rest.len(), 0);
                }
                self.block[..rest.len()].copy_from_slice(&rest);
                Next::More
            }
        }
    }

    /// Makes what has arrived ready to be sliced, and has a block to read into afterwards.
    fn seal(&mut self) {
        let filled = std::mem::replace(&mut self.filled, 0);
        if filled < self.block_bytes / 8 {
            self.block_bytes = BLOCK_BYTES_MIN.max(self.block_bytes / 2);
        }
        if filled < self.block.len() / SHARE_PART {
            self.sealed = Bytes::copy_from_slice(&self.block[..filled]);
            self.held_bytes = filled;
        } else {
            let next = self.blocks.take(self.block_bytes);
            let block = std::mem::replace(&mut self.block, next);
            self.held_bytes = block.len();
            self.sealed = self.blocks.seal(block);
            self.sealed.truncate(filled);
        }
    }
}

/// What bytes begin with.
enum Peek {
    Whole { length: usize },
    Part,
    TooLarge { bytes: usize },
}

fn peek(bytes: &[u8], frame_bytes_max: usize) -> Peek {
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Peek::Part;
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > frame_bytes_max {
        Peek::TooLarge { bytes: length }
    } else if rest.len() < length {
        Peek::Part
    } else {
        Peek::Whole { length }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything that comes out while `stream` goes in, `piece` bytes at a time at most.
    fn deframe(deframer: &mut Deframer, stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let mut taken = Vec::new();
        for mut bytes in stream.chunks(piece) {
            while !bytes.is_empty() {
                assert!(deframer.fill(&mut bytes).unwrap() > 0);
                loop {
                    match deframer.next() {
                        Next::Frame(frame) => taken.push(frame.to_vec()),
                        Next::Tick => taken.push(Vec::new()),
                        Next::More => break,
                        Next::TooLarge { .. } => panic!("all are within the limit"),
                    }
                }
            }
        }
        taken
    }

    fn stream(bodies: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = Vec::new();
        for body in bodies {
            stream.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
            stream.extend(body);
        }
        stream
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..10),
            piece in 1..40_usize
        ) {
            let mut deframer = Deframer::new(50);
            prop_assert_eq!(deframe(&mut deframer, &stream(&bodies), piece), bodies);
        }

        #[test]
        fn large_frames_among_small_ones_too(
            sizes in proptest::collection::vec(
                prop_oneof![0..200_usize, 60_000..70_000_usize, 0..900_000_usize], 1..12),
            piece in 1_000..1_000_000_usize
        ) {
            let bodies: Vec<Vec<u8>> = (0..).zip(&sizes).map(|(n, &size)| vec![n; size]).collect();
            let mut deframer = Deframer::new(1_000_000);
            let taken = deframe(&mut deframer, &stream(&bodies), piece);
            prop_assert!(taken == bodies);
        }
    }

    #[test]
    fn an_announced_length_reserves_nothing() {
        let mut deframer = Deframer::new(64 * 1024 * 1024);
        let announced = (64_u32 * 1024 * 1024).to_be_bytes();
        deframer.fill(&mut &announced[..]).unwrap();
        assert_eq!(deframer.next(), Next::More);
        assert_eq!(deframer.block.capacity(), BLOCK_BYTES_MIN);
        deframer = Deframer::new(10);
        deframer.fill(&mut &[0, 0, 0, 11][..]).unwrap();
        assert_eq!(deframer.next(), Next::TooLarge { bytes: 11 });
    }

    #[test]
    fn a_read_holds_at_most_four_times_what_it_brought() {
        for length in [0, 10, 1000, 16_000, 16_384, 30_000, 65_532, 300_000] {
            let mut deframer = Deframer::new(1_000_000);
            let stream = stream(&[vec![7; length]]);
            let mut rest = &stream[..];
            while !rest.is_empty() {
                deframer.fill(&mut rest).unwrap();
            }
            assert!(!matches!(deframer.next(), Next::More));
            let held = deframer.held_bytes();
            assert!(held <= SHARE_PART * stream.len(), "{held} for {length}");
        }
    }

    #[test]
    fn blocks_grow_while_they_are_filled_and_shrink_again() {
        let mut deframer = Deframer::new(1000);
        let busy = stream(&vec![vec![7; 996]; 3000]);
        deframe(&mut deframer, &busy, usize::MAX);
        assert_eq!(deframer.block_bytes, BLOCK_BYTES_MAX);
        deframe(&mut deframer, &stream(&vec![vec![7; 10]; 10]), 14);
        assert_eq!(deframer.block_bytes, BLOCK_BYTES_MIN);
    }
}
