//! The compression of messages: RFC 7692, section 7.2, each message on its own.
//!
//! No context is taken over from message to message, in neither direction: so a connection has no
//! compressor and no window, one of each serves a whole shard, and a message to many is compressed
//! once. No negotiation here (`extension`) and no frames.

use std::fmt;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::close::Fault;

/// What ends a flushed block and is left out of a message (section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The cheapest that finds repetitions at all.
const LEVEL: u32 = 1;

/// How far back a receiver can look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// 32 KiB: 15 bits, what is usual.
    Full,
    /// 512 bytes: 9 bits, for all who ask for less than 15. Whoever asks has little memory, and a
    /// compressor for each size would compress one message up to seven times.
    Small,
}

impl Window {
    /// As it is negotiated.
    pub fn bits(self) -> u8 {
        match self {
            Window::Full => 15,
            Window::Small => 9,
        }
    }
}

/// Compresses messages. Has some 300 KiB.
pub struct Deflater(Compress);

impl Deflater {
    /// For receivers with this window.
    pub fn new(window: Window) -> Deflater {
        let level = Compression::new(LEVEL);
        Deflater(Compress::new_with_window_bits(level, false, window.bits()))
    }

    /// Writes `message` compressed behind what `out` holds.
    pub fn deflate(&mut self, message: &[u8], out: &mut Vec<u8>) {
        self.0.reset();
        loop {
            let taken = usize::try_from(self.0.total_in()).expect("it is no more than the message");
            let left = &message[taken..];
            // What is likely to do, and room for the end of a flush.
            out.reserve(left.len() / 2 + 64);
            let done = self.0.compress_vec(left, out, FlushCompress::Sync);
            done.expect("a compressor takes any bytes");
            if out.len() < out.capacity() {
                break;
            }
        }
        if out.ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
        }
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deflater(..)")
    }
}

/// Inflates messages. Has some 50 KiB, once it was used.
#[derive(Default)]
pub struct Inflater(Option<(Decompress, Box<[u8]>)>);

impl Inflater {
    /// Bytes that are inflated at once.
    const STEP: usize = 16 * 1024;

    /// The message; more than `bytes_max` is never inflated.
    pub(super) fn inflate(
        &mut self,
        compressed: &[u8],
        bytes_max: usize,
    ) -> Result<Vec<u8>, Fault> {
        let (state, step) = self.0.get_or_insert_with(|| {
            let step = vec![0; Inflater::STEP];
            (Decompress::new(false), step.into())
        });
        state.reset(false);
        let mut message = Vec::new();
        for mut input in [compressed, &TAIL] {
            loop {
                let (read, written) = (state.total_in(), state.total_out());
                let status = state.decompress(input, step, FlushDecompress::Sync);
                let status = status.map_err(|_| Fault::Compression)?;
                let count = |now: u64, before: u64| {
                    usize::try_from(now - before).expect("it is no more than a slice")
                };
                let (read, written) = (
                    count(state.total_in(), read),
                    count(state.total_out(), written),
                );
                if message.len() + written > bytes_max {
                    return Err(Fault::TooBig);
                }
                message.extend_from_slice(&step[..written]);
                input = &input[read..];
                if status == Status::StreamEnd {
                    // A block that says it is the last ends nothing but itself (section 7.2.3.5).
                    state.reset(false);
                    if input.is_empty() {
                        break;
                    }
                } else if written < step.len() {
                    if !input.is_empty() && read == 0 && written == 0 {
                        return Err(Fault::Compression);
                    }
                    if input.is_empty() {
                        break;
                    }
                }
            }
        }
        Ok(message)
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inflater(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_section_7_2_3_are_inflated() {
        let mut inflater = Inflater::default();
        for bytes in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[
                0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
            ],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[
                0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
            ],
        ] {
            assert_eq!(inflater.inflate(bytes, 5).unwrap(), b"Hello", "{bytes:x?}");
            assert_eq!(inflater.inflate(bytes, 4), Err(Fault::TooBig));
        }
        assert_eq!(inflater.inflate(&[0x00], 0).unwrap(), b"", "an empty one");
        assert_eq!(inflater.inflate(&[0xff; 20], 99), Err(Fault::Compression));
    }

    #[test]
    fn a_bomb_goes_off_at_the_limit() {
        let mut bomb = Vec::new();
        Deflater::new(Window::Full).deflate(&vec![0; 50_000_000], &mut bomb);
        assert!(bomb.len() < 500_000);
        let mut inflater = Inflater::default();
        assert_eq!(inflater.inflate(&bomb, 65536), Err(Fault::TooBig));
        assert_eq!(
            inflater.inflate(&bomb, 50_000_000).unwrap().len(),
            50_000_000
        );
    }

    proptest! {
        #[test]
        fn what_is_deflated_inflates(
            parts in prop::collection::vec((any::<u8>(), 1_usize..3000), 0..30),
            noise in prop::collection::vec(any::<u8>(), 0..3000),
            small: bool,
        ) {
            let mut message: Vec<u8> = parts.into_iter().flat_map(|(byte, count)| vec![byte; count]).collect();
            message.extend(noise);
            let window = if small { Window::Small } else { Window::Full };
            let mut deflater = Deflater::new(window);
            let mut inflater = Inflater::default();
            for _ in 0..2 {
                let mut out = vec![7];
                deflater.deflate(&message, &mut out);
                prop_assert_eq!(&inflater.inflate(&out[1..], message.len()).unwrap(), &message);
            }
        }

        #[test]
        fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let message = Inflater::default().inflate(&bytes, 1000);
            prop_assert!(message.is_err() || message.unwrap().len() <= 1000);
        }
    }
}
