//! A WebSocket behind its handshake: frames in, events and the answers that it owes out.
//!
//! Text and binary messages count alike. Pings are answered, and a close frame is, as its client has to;
//! nothing else is sent. What comes compressed counts as a message without a stamp.

use super::connection::{Ending, Event};
use super::fault::Fault;
use super::frames::{self, FrameParser, Piece};
use super::message::Message;

/// Answers that wait for room in the socket: some thirty of the largest. Who reads none of them gets no
/// more, which RFC 6455 leaves to the client (section 5.5.3).
const REPLIES_BYTES_MAX: usize = 4096;

/// From SplitMix64: it visits every number once.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Debug)]
pub(super) struct WebSocket {
    frames: FrameParser,
    message: Message,
    replies: Vec<u8>,
    /// What masks are drawn from. They are no secret here: nobody chooses what they hide.
    random: u64,
}

impl WebSocket {
    pub(super) fn new(deflate: bool, random: u64) -> Self {
        Self {
            frames: FrameParser::new(deflate),
            message: Message::default(),
            replies: Vec::new(),
            random,
        }
    }

    /// Whether that was the end.
    pub(super) fn feed(
        &mut self,
        input: &[u8],
        id: u64,
        sink: &mut impl FnMut(Event),
    ) -> Result<bool, Fault> {
        let Self {
            frames,
            message,
            replies,
            random,
        } = self;
        let mut is_over = false;
        frames.feed(input, |piece| match piece {
            Piece::Data(data) => message.data(data, id, sink),
            Piece::Compressed(data) => message.opaque(data.len()),
            Piece::MessageEnd => message.end_whole(sink),
            Piece::Ping(payload) => {
                if replies.len() < REPLIES_BYTES_MAX {
                    frames::write_pong(payload, mask(random), replies);
                }
                sink(Event::Heartbeat);
            }
            Piece::Pong => {}
            Piece::Close(payload) => {
                frames::write_close(payload, mask(random), replies);
                is_over = true;
            }
        })?;
        Ok(is_over)
    }

    /// How it ends when the server closes its socket without a close frame.
    pub(super) fn ending(&self) -> Ending {
        match self.frames.is_between_messages() {
            true => Ending::Unfinished,
            false => Ending::MidMessage,
        }
    }

    /// What is to be sent.
    pub(super) fn replies(&self) -> &[u8] {
        &self.replies
    }

    /// So much of it was sent.
    pub(super) fn handle_replied(&mut self, bytes: usize) {
        self.replies.drain(..bytes);
        if self.replies.is_empty() {
            self.replies = Vec::new();
        }
    }
}

fn mask(random: &mut u64) -> [u8; 4] {
    *random = random.wrapping_add(STEP);
    let mixed = (*random ^ (*random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let [.., a, b, c, d] = (mixed ^ (mixed >> 27)).to_be_bytes();
    [a, b, c, d]
}
