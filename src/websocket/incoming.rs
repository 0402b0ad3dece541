//! What a client sends, taken apart as it comes: RFC 6455, sections 5 and 8.1.
//!
//! One value for a connection in the middle of a frame or a message; one that is in no middle is
//! worth as much as a new one, and need not be kept. It answers nothing: pongs and closing are the
//! affair of whoever feeds it. Memory grows with what has come, never with what a length promises.
//!
//! | between | what comes | what is said | then |
//! |---|---|---|---|
//! | messages | text or binary, the last of its message | the message | between messages |
//! | messages | text or binary, not the last | nothing | within a message |
//! | within a message | a continuation, not the last | nothing | within a message |
//! | within a message | the last continuation | the message | between messages |
//! | either | ping, pong, close | that | as before |
//! | either | anything else | its fault | nothing more may be fed |

use bytes::Bytes;

use super::close::{CloseCode, Fault, code_of};
use super::deflate::Inflater;
use super::frame::{HEAD_BYTES_MAX, Head, Opcode, parse};
use super::mask::{mask, turned};
use crate::wire::Said;

/// What a client may send.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Bytes of a message, inflated.
    pub message_bytes_max: usize,
    /// Frames of a message.
    pub frames_max: u32,
    /// Whether compression was agreed.
    pub may_deflate: bool,
}

/// Something whole that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A message.
    Message(Said),
    /// To be answered with a pong that has the same payload.
    Ping(Vec<u8>),
    /// Somebody lives.
    Pong,
    /// Nothing more will come; to be answered with a close frame of the same code.
    Close(Option<CloseCode>),
}

/// A connection in the middle of something.
#[derive(Debug, Default)]
pub struct Incoming {
    /// The beginning of a head.
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: usize,
    /// The frame whose payload is coming.
    frame: Option<Payload>,
    /// The message that is coming.
    message: Option<Partial>,
}

#[derive(Debug)]
struct Payload {
    opcode: Opcode,
    is_last: bool,
    left: u64,
    mask: [u8; 4],
    /// Of a control frame, which may come within a message.
    control: Vec<u8>,
}

#[derive(Debug)]
struct Partial {
    is_text: bool,
    is_compressed: bool,
    bytes: Vec<u8>,
    frames: u32,
    /// So many of the bytes are known to be UTF-8.
    text_bytes: usize,
}

impl Incoming {
    /// Whether it is in no middle.
    pub fn is_idle(&self) -> bool {
        self.head_bytes == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// Bytes of messages that it keeps.
    pub fn kept_bytes(&self) -> usize {
        self.message
            .as_ref()
            .map_or(0, |message| message.bytes.capacity())
    }

    /// Takes from `input` what makes something whole, or all of it. After a fault or a close nothing
    /// more may be fed.
    pub fn next(
        &mut self,
        input: &mut &[u8],
        rules: &Rules,
        inflater: &mut Inflater,
    ) -> Result<Option<Heard>, Fault> {
        loop {
            let Some(mut frame) = self.frame.take() else {
                match self.next_head(input)? {
                    Some(head) => self.begin(&head, rules)?,
                    None => return Ok(None),
                }
                continue;
            };
            let here = input
                .len()
                .min(usize::try_from(frame.left).unwrap_or(usize::MAX));
            let (part, rest) = input.split_at(here);
            *input = rest;
            frame.left -= here as u64;
            self.take_in(&mut frame, part)?;
            if frame.left > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
            if let Some(said) = self.end(frame, rules, inflater)? {
                return Ok(Some(said));
            }
        }
    }

    fn next_head(&mut self, input: &mut &[u8]) -> Result<Option<Head>, Fault> {
        if self.head_bytes == 0
            && let Some(head) = parse(input)?
        {
            *input = &input[head.bytes..];
            return Ok(Some(head));
        }
        let before = self.head_bytes;
        let more = input.len().min(HEAD_BYTES_MAX - before);
        self.head[before..before + more].copy_from_slice(&input[..more]);
        let Some(head) = parse(&self.head[..before + more])? else {
            self.head_bytes += more;
            *input = &input[more..];
            return Ok(None);
        };
        self.head_bytes = 0;
        *input = &input[head.bytes - before..];
        Ok(Some(head))
    }

    /// What a head promises, judged before any of it has come.
    fn begin(&mut self, head: &Head, rules: &Rules) -> Result<(), Fault> {
        let open = &mut self.message;
        match head.opcode {
            Opcode::Text | Opcode::Binary if open.is_some() => return Err(Fault::Order),
            Opcode::Continuation if open.is_none() => return Err(Fault::Order),
            Opcode::Continuation if head.is_compressed => return Err(Fault::ReservedBit),
            Opcode::Text | Opcode::Binary => {
                if head.is_compressed && !rules.may_deflate {
                    return Err(Fault::ReservedBit);
                }
                *open = Some(Partial {
                    is_text: head.opcode == Opcode::Text,
                    is_compressed: head.is_compressed,
                    bytes: Vec::new(),
                    frames: 0,
                    text_bytes: 0,
                });
            }
            _ => {}
        }
        if !head.opcode.is_control()
            && let Some(message) = open
        {
            message.frames += 1;
            if message.frames > rules.frames_max {
                return Err(Fault::TooManyFrames);
            }
            let most = message.bytes_max(rules) as u64;
            if (message.bytes.len() as u64).saturating_add(head.length) > most {
                return Err(Fault::TooBig);
            }
        }
        self.frame = Some(Payload {
            opcode: head.opcode,
            is_last: head.is_last,
            left: head.length,
            mask: head.mask,
            control: Vec::new(),
        });
        Ok(())
    }

    fn take_in(&mut self, frame: &mut Payload, part: &[u8]) -> Result<(), Fault> {
        let message = self.message.as_mut().filter(|_| !frame.opcode.is_control());
        let Some(message) = message else {
            let before = frame.control.len();
            frame.control.extend_from_slice(part);
            mask(&mut frame.control[before..], frame.mask);
            frame.mask = turned(frame.mask, part.len());
            return Ok(());
        };
        let before = message.bytes.len();
        if before == 0 && frame.left == 0 && frame.is_last {
            // All there is: no room for more.
            message.bytes.reserve_exact(part.len());
        }
        message.bytes.extend_from_slice(part);
        mask(&mut message.bytes[before..], frame.mask);
        frame.mask = turned(frame.mask, part.len());
        message.check_text()
    }

    fn end(
        &mut self,
        frame: Payload,
        rules: &Rules,
        inflater: &mut Inflater,
    ) -> Result<Option<Heard>, Fault> {
        Ok(match frame.opcode {
            Opcode::Ping => Some(Heard::Ping(frame.control)),
            Opcode::Pong => Some(Heard::Pong),
            Opcode::Close => Some(Heard::Close(code_of(&frame.control)?)),
            Opcode::Text | Opcode::Binary | Opcode::Continuation if frame.is_last => {
                let message = self.message.take().expect("its first frame has begun it");
                Some(message.whole(rules, inflater)?)
            }
            _ => None,
        })
    }
}

impl Partial {
    /// What is compressed may be larger than what it is worth: by what blocks without compression
    /// cost, 5 bytes in 64 KiB, and by less than this for the blocks of any compressor.
    fn bytes_max(&self, rules: &Rules) -> usize {
        let most = rules.message_bytes_max;
        if self.is_compressed {
            most + most / 64 + 64
        } else {
            most
        }
    }

    /// Looks at the text that is new; a character may still be cut.
    fn check_text(&mut self) -> Result<(), Fault> {
        if !self.is_text || self.is_compressed {
            return Ok(());
        }
        match std::str::from_utf8(&self.bytes[self.text_bytes..]) {
            Ok(text) => self.text_bytes += text.len(),
            Err(error) if error.error_len().is_none() => self.text_bytes += error.valid_up_to(),
            Err(_) => return Err(Fault::Text),
        }
        Ok(())
    }

    fn whole(self, rules: &Rules, inflater: &mut Inflater) -> Result<Heard, Fault> {
        let is_text = self.is_text;
        let bytes = if self.is_compressed {
            let bytes = inflater.inflate(&self.bytes, rules.message_bytes_max)?;
            if is_text && std::str::from_utf8(&bytes).is_err() {
                return Err(Fault::Text);
            }
            bytes
        } else {
            if is_text && self.text_bytes < self.bytes.len() {
                return Err(Fault::Text);
            }
            self.bytes
        };
        let bytes = Bytes::from(bytes);
        Ok(Heard::Message(match is_text {
            true => Said::Text(bytes),
            false => Said::Binary(bytes),
        }))
    }
}
