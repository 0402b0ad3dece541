//! The frames of one message: each made when first asked for, once for all who read it alike.
//!
//! A large payload is not copied: what goes before and behind it is made, and all three leave with one call. Nor
//! is one with room around it (`roomy`): its frame is made there.
//!
//! Scratch space that the hub reuses for each message, so that the common case (the socket takes
//! everything) allocates nothing. It decides nothing but whether compressing is worth its while.

use bytes::Bytes;

use super::framing::Framing;
use super::pieces::{Frame, Kept};
use super::roomy::Roomy;
use crate::websocket::{Deflater, Window};
use crate::wire::Lent;

const FRAMINGS: usize = Framing::ALL.len();

/// Shorter messages are not compressed: they would hardly become smaller, and a compressor takes
/// some microseconds only to begin.
const DEFLATE_BYTES_MIN: usize = 256;

/// Nor are longer ones: a shard has others to serve, and compresses some 100 MB a second.
const DEFLATE_BYTES_MAX: usize = 1024 * 1024;

/// A payload from here on is not copied into a frame. That saves memory, not time: with 16, 32 and 64 KiB
/// a call takes as long either way, and below it three pieces save too little to be worth theirs. Tests have
/// messages of both kinds without their size.
pub(super) const LARGE_BYTES_MIN: usize = if cfg!(test) { 64 } else { 16 * 1024 };

/// And one from here on waits as it is. A payload may be a slice of what a link has read at once, 256 KiB
/// at most: so what waits keeps at most four times the bytes alive that it counts.
const KEPT_BYTES_MIN: usize = if cfg!(test) { 96 } else { 64 * 1024 };

/// Whose payload a message has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    Lent(Lent<'a>),
    /// The one that was given to [`Frames::adopt`].
    Own,
}

const ADOPTED: &str = "a message of ours was adopted";

/// The frames of one message, made when first asked for.
#[derive(Debug, Default)]
pub(super) struct Frames {
    scratch: [Vec<u8>; FRAMINGS],
    /// Where in it the payload goes that is not copied.
    gaps: [Option<usize>; FRAMINGS],
    ready: [bool; FRAMINGS],
    shared: [Option<Kept>; FRAMINGS],
    /// By window; made when first needed.
    deflaters: [Option<Box<Deflater>>; 2],
    deflated: Vec<u8>,
    /// The message itself, if it is ours.
    own: Option<Roomy>,
}

impl Frames {
    /// Scratch space above this is given back after the message that needed it: one 64 MiB
    /// message must not cost 64 MiB for ever.
    const SCRATCH_KEPT_BYTES: usize = 256 * 1024;

    /// Forgets the message before.
    pub(super) fn clear(&mut self) {
        self.ready = [false; FRAMINGS];
        self.shared = [const { None }; FRAMINGS];
        self.own = None;
        for scratch in self.scratch.iter_mut().chain([&mut self.deflated]) {
            if scratch.capacity() > Self::SCRATCH_KEPT_BYTES {
                *scratch = Vec::new();
            }
        }
    }

    /// Forgets the message before, and keeps this one until the next is there or this is forgotten, too.
    pub(super) fn adopt(&mut self, message: Roomy) {
        self.clear();
        self.own = Some(message);
    }

    /// The frame of `message`, which must be the same since [`Frames::clear`] or [`Frames::adopt`].
    pub(super) fn frame<'a>(&'a mut self, framing: Framing, message: Content<'a>) -> Frame<'a> {
        let place = framing as usize;
        if !self.ready[place] {
            self.make(framing, message);
            self.ready[place] = true;
        }
        let made = &self.scratch[place];
        let (before, behind) = made.split_at(self.gaps[place].unwrap_or(made.len()));
        match (self.gaps[place], message) {
            (None, _) => Frame::whole(made),
            (Some(_), Content::Lent(message)) => Frame {
                head: before,
                payload: message.payload,
                tail: behind,
            },
            (Some(_), Content::Own) => {
                let own = self.own.as_mut().expect(ADOPTED);
                Frame::whole(own.between(before, behind))
            }
        }
    }

    /// The same bytes, to be kept: copied once for all the outboxes that need them, a large payload not
    /// at all.
    pub(super) fn share(&mut self, framing: Framing, message: Content<'_>) -> Kept {
        let place = framing as usize;
        if self.shared[place].is_none() {
            let frame = self.frame(framing, message);
            let kept = match message {
                Content::Lent(message) if frame.payload.len() >= KEPT_BYTES_MIN => {
                    let [head, tail] = [frame.head, frame.tail].map(Bytes::copy_from_slice);
                    Kept::Parts(Box::new([head, message.keep(), tail]))
                }
                _ => frame.copy().into(),
            };
            self.shared[place] = Some(kept);
        }
        self.shared[place].clone().expect("shared was filled above")
    }

    fn make(&mut self, framing: Framing, content: Content<'_>) {
        let (message, is_own) = match content {
            Content::Lent(message) => (message, false),
            Content::Own => (self.own.as_ref().expect(ADOPTED).lend(), true),
        };
        let out = &mut self.scratch[framing as usize];
        let gap = &mut self.gaps[framing as usize];
        out.clear();
        *gap = None;
        let is_worth = (DEFLATE_BYTES_MIN..=DEFLATE_BYTES_MAX).contains(&message.payload.len());
        match framing.window() {
            Some(window) if is_worth => {
                let place = usize::from(window == Window::Small);
                let deflater =
                    self.deflaters[place].get_or_insert_with(|| Box::new(Deflater::new(window)));
                framing.frame_deflated(message, deflater, &mut self.deflated, out);
            }
            _ => {
                if is_own || message.payload.len() >= LARGE_BYTES_MIN {
                    *gap = framing.around(message, out);
                }
                if let Some(before) = *gap
                    && is_own
                    && !Roomy::has_room(before, out.len() - before)
                {
                    out.clear();
                    *gap = None;
                }
                if gap.is_none() {
                    framing.frame(message, out);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::{Heard, Incoming, Inflater, Rules};
    use crate::wire::{EventMeta, Message, Said};

    #[test]
    fn a_message_of_ours_has_the_frames_that_a_lent_one_has() {
        let meta = |name: &'static str| {
            Some(Box::new(EventMeta {
                event: Some(name.into()),
                id: Some("7".into()),
            }))
        };
        let long = "a name that has no room before the payload";
        for meta in [None, meta("short"), meta(long)] {
            for payload in ["", "Hello", "two\nlines", "\r\n", &"x".repeat(63)] {
                let message = Message {
                    meta: meta.clone(),
                    ..Message::new(payload.to_owned())
                };
                let lent = Lent {
                    whole: None,
                    ..(&message).into()
                };
                let (mut of_lent, mut of_own) = (Frames::default(), Frames::default());
                of_own.adopt(Roomy::of(lent).expect("it is small"));
                // Twice: the second one of a framing is what the first has left.
                for framing in Framing::ALL.into_iter().chain(Framing::ALL) {
                    let expected = of_lent.frame(framing, Content::Lent(lent)).copy();
                    let frame = of_own.frame(framing, Content::Own);
                    assert_eq!(frame.copy(), expected, "{framing:?} of {payload:?}");
                    assert!(frame.payload.is_empty(), "one piece");
                }
            }
        }
    }

    #[test]
    fn what_becomes_smaller_is_compressed_and_comes_out_as_it_was() {
        let mut frames = Frames::default();
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        });
        let noise: Vec<u8> = noise.take(1000).collect();
        for (payload, is_compressed) in [
            (b"Hello".to_vec(), false),
            (b"Hello".repeat(100), true),
            (noise, false),
            (vec![b'x'; 2_000_000], false),
        ] {
            for framing in [Framing::WebSocketDeflated, Framing::WebSocketDeflatedSmall] {
                let message = Message::new(payload.clone());
                frames.clear();
                let frame = frames
                    .frame(framing, Content::Lent((&message).into()))
                    .copy();
                assert_eq!(
                    frame[0] & 0x40 != 0,
                    is_compressed,
                    "{} bytes",
                    payload.len()
                );
                // As if a client had sent it, masked with nothing.
                let head = match frame[1] {
                    126 => 4,
                    127 => 10,
                    _ => 2,
                };
                let mut sent = frame[..head].to_vec();
                sent[1] |= 0x80;
                sent.extend([0; 4]);
                sent.extend(&frame[head..]);
                let rules = Rules {
                    message_bytes_max: 3_000_000,
                    frames_max: 1,
                    may_deflate: true,
                };
                let said =
                    Incoming::default().next(&mut &sent[..], &rules, &mut Inflater::default());
                let payload = Bytes::from(payload.clone());
                let expected = match std::str::from_utf8(&payload) {
                    Ok(_) => Said::Text(payload),
                    Err(_) => Said::Binary(payload),
                };
                assert_eq!(said, Ok(Some(Heard::Message(expected))));
            }
        }
    }
}
