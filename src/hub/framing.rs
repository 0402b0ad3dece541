//! Turns a message into the bytes that go out, once for each framing.
//!
//! It knows no connection and keeps no message: [`Frames`] is scratch space that the hub reuses
//! for each message, so that the common case (the socket takes everything) allocates nothing and
//! a message to many connections is framed once.
//!
//! Chunks are those of RFC 9112, section 7.1; events those of WHATWG HTML, section 9.2.

use bytes::Bytes;

use crate::wire::{Message, Transport};

/// How the bytes of one connection are laid out: its transport, and whether the client speaks
/// HTTP/1.1 (chunks) or HTTP/1.0 (the body ends when the connection does).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One chunk a message.
    Chunked,
    /// One chunk an event.
    ChunkedSse,
    /// The message as it is.
    Plain,
    /// The event as it is.
    PlainSse,
}

impl Framing {
    /// Every framing, in order.
    pub(super) const ALL: [Framing; 4] = [
        Framing::Chunked,
        Framing::ChunkedSse,
        Framing::Plain,
        Framing::PlainSse,
    ];

    /// The transport that owners and metrics are told.
    pub fn transport(self) -> Transport {
        match self {
            Framing::Chunked | Framing::Plain => Transport::Chunked,
            Framing::ChunkedSse | Framing::PlainSse => Transport::Sse,
        }
    }

    /// Something that keeps proxies from closing a silent connection and that clients ignore: an
    /// SSE comment, or a newline.
    pub fn heartbeat(self) -> &'static [u8] {
        match self {
            Framing::Chunked => b"1\r\n\n\r\n",
            Framing::ChunkedSse => b"3\r\n:\n\n\r\n",
            Framing::Plain => b"\n",
            Framing::PlainSse => b":\n\n",
        }
    }

    /// What ends the body in order; nothing where closing the connection does.
    pub fn goodbye(self) -> &'static [u8] {
        match self {
            Framing::Chunked | Framing::ChunkedSse => b"0\r\n\r\n",
            Framing::Plain | Framing::PlainSse => b"",
        }
    }

    /// What asks an SSE client to wait so long before it comes back; other clients have no ear for it.
    pub fn retry(self, wait_ms: u32) -> Option<String> {
        let field = format!("retry: {wait_ms}\n\n");
        match self {
            Framing::Chunked | Framing::Plain => None,
            Framing::PlainSse => Some(field),
            Framing::ChunkedSse => Some(format!("{:x}\r\n{field}\r\n", field.len())),
        }
    }

    /// What tells the client that `lost` messages are missing here: an event called `gap` whose data is
    /// their number, or an empty line in a chunk whose extension is `lost` (RFC 9112, section 7.1.1).
    /// A body without chunks has no room for it.
    pub(super) fn gap(self, lost: u64) -> Option<Bytes> {
        let event = format!("event: gap\ndata: {lost}\n\n");
        Some(Bytes::from(match self {
            Framing::Chunked => format!("1;lost={lost}\r\n\n\r\n"),
            Framing::ChunkedSse => format!("{:x}\r\n{event}\r\n", event.len()),
            Framing::PlainSse => event,
            Framing::Plain => return None,
        }))
    }

    /// Writes the frame of `message` behind what `out` holds. An empty message on a plain stream
    /// has no frame: a chunk of no bytes would end the body.
    pub fn frame(self, message: &Message, out: &mut Vec<u8>) {
        match self {
            Framing::Chunked => chunk(&message.payload, out),
            Framing::Plain => out.extend_from_slice(&message.payload),
            Framing::PlainSse => event(message, out),
            Framing::ChunkedSse => {
                // The size in front has as many digits as it has; room for the most is taken
                // first and what is not needed is closed up.
                let start = out.len();
                out.extend_from_slice(&[0; CHUNK_HEAD_MAX]);
                event(message, out);
                let size = out.len() - start - CHUNK_HEAD_MAX;
                let mut head = Vec::with_capacity(CHUNK_HEAD_MAX);
                chunk_head(size, &mut head);
                let unused = CHUNK_HEAD_MAX - head.len();
                out[start + unused..start + CHUNK_HEAD_MAX].copy_from_slice(&head);
                out.drain(start..start + unused);
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

/// Sixteen hexadecimal digits and a line end: the head of the largest chunk.
const CHUNK_HEAD_MAX: usize = 18;

fn chunk(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    chunk_head(bytes.len(), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn chunk_head(size: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let digit = (size >> (place * 4)) & 0xf;
        out.push(b"0123456789abcdef"[digit]);
    }
    out.extend_from_slice(b"\r\n");
}

fn event(message: &Message, out: &mut Vec<u8>) {
    if let Some(meta) = message.meta.as_deref() {
        for (field, value) in [("event: ", &meta.event), ("id: ", &meta.id)] {
            if let Some(value) = value {
                out.extend_from_slice(field.as_bytes());
                out.extend_from_slice(value);
                out.push(b'\n');
            }
        }
    }
    let mut rest: &[u8] = &message.payload;
    loop {
        out.extend_from_slice(b"data: ");
        let Some(at) = memchr::memchr2(b'\r', b'\n', rest) else {
            out.extend_from_slice(rest);
            out.extend_from_slice(b"\n\n");
            return;
        };
        out.extend_from_slice(&rest[..at]);
        out.push(b'\n');
        let line_end = if rest[at..].starts_with(b"\r\n") {
            2
        } else {
            1
        };
        rest = &rest[at + line_end..];
    }
}

const FRAMINGS: usize = Framing::ALL.len();

/// The frames of one message, made when first asked for.
#[derive(Debug, Default)]
pub(super) struct Frames {
    scratch: [Vec<u8>; FRAMINGS],
    ready: [bool; FRAMINGS],
    shared: [Option<Bytes>; FRAMINGS],
}

impl Frames {
    /// Scratch space above this is given back after the message that needed it: one 64 MiB
    /// message must not cost 64 MiB for ever.
    const SCRATCH_KEPT_BYTES: usize = 256 * 1024;

    /// Forgets the message before.
    pub(super) fn clear(&mut self) {
        self.ready = [false; FRAMINGS];
        self.shared = [const { None }; FRAMINGS];
        for scratch in &mut self.scratch {
            if scratch.capacity() > Self::SCRATCH_KEPT_BYTES {
                *scratch = Vec::new();
            }
        }
    }

    /// The frame of `message`, which must be the same since [`Frames::clear`].
    pub(super) fn frame(&mut self, framing: Framing, message: &Message) -> &[u8] {
        let place = framing as usize;
        if !self.ready[place] {
            self.scratch[place].clear();
            framing.frame(message, &mut self.scratch[place]);
            self.ready[place] = true;
        }
        &self.scratch[place]
    }

    /// The same bytes, to be kept: copied once for all the outboxes that need them.
    pub(super) fn share(&mut self, framing: Framing, message: &Message) -> Bytes {
        let place = framing as usize;
        if self.shared[place].is_none() {
            let copied = Bytes::copy_from_slice(self.frame(framing, message));
            self.shared[place] = Some(copied);
        }
        self.shared[place].clone().expect("shared was filled above")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::EventMeta;

    fn framed(framing: Framing, message: &Message) -> String {
        let mut out = Vec::new();
        framing.frame(message, &mut out);
        String::from_utf8(out).expect("test messages are text")
    }

    #[test]
    fn a_message_is_one_chunk() {
        assert_eq!(
            framed(Framing::Chunked, &Message::new("Hello")),
            "5\r\nHello\r\n"
        );
        let long = "x".repeat(300);
        assert_eq!(
            framed(Framing::Chunked, &Message::new(long.clone())),
            format!("12c\r\n{long}\r\n")
        );
    }

    #[test]
    fn an_empty_message_does_not_end_the_body() {
        assert_eq!(framed(Framing::Chunked, &Message::new("")), "");
        assert_eq!(
            framed(Framing::ChunkedSse, &Message::new("")),
            "8\r\ndata: \n\n\r\n"
        );
    }

    #[test]
    fn events_alone_have_a_retry() {
        assert_eq!(Framing::Chunked.retry(1000), None);
        assert_eq!(Framing::Plain.retry(1000), None);
        let plain = Framing::PlainSse.retry(1000);
        assert_eq!(plain.as_deref(), Some("retry: 1000\n\n"));
        let chunked = Framing::ChunkedSse.retry(1000);
        assert_eq!(chunked.as_deref(), Some("d\r\nretry: 1000\n\n\r\n"));
    }

    #[test]
    fn every_line_end_starts_a_data_line() {
        let message = Message::new("a\nb\r\nc\rd\n");
        let expected = "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n";
        assert_eq!(framed(Framing::PlainSse, &message), expected);
    }

    #[test]
    fn event_and_id_come_first() {
        let meta = EventMeta {
            event: Some("news".into()),
            id: Some("7".into()),
        };
        let message = Message {
            payload: "x".into(),
            meta: Some(Box::new(meta)),
        };
        assert_eq!(
            framed(Framing::PlainSse, &message),
            "event: news\nid: 7\ndata: x\n\n"
        );
    }

    proptest! {
        #[test]
        fn a_chunked_event_is_the_event_in_a_chunk(payload in prop::collection::vec(any::<u8>(), 0..600)) {
            let message = Message::new(payload);
            let (mut plain, mut chunked) = (Vec::new(), Vec::new());
            Framing::PlainSse.frame(&message, &mut plain);
            Framing::ChunkedSse.frame(&message, &mut chunked);
            let expected = [format!("{:x}\r\n", plain.len()).into_bytes(), plain, b"\r\n".to_vec()];
            prop_assert_eq!(chunked, expected.concat());
        }
    }
}
