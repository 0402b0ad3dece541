//! What a message, a heartbeat and an end look like to each kind of client.
//!
//! Pure: bytes behind what a buffer holds. It knows no connection and keeps nothing; a message is
//! framed once for all who read it alike (`frames`).
//!
//! Chunks are those of RFC 9112, section 7.1; events those of WHATWG HTML, section 9.2; the frames of
//! WebSocket are `websocket`'s.

use std::borrow::Cow;

use bytes::Bytes;

use super::polls::json;
use crate::websocket::{self, CloseCode, Deflate, Deflater, Opcode, Window};
use crate::wire::{Form, Lent, Reason, Transport};

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
    /// One WebSocket message a message: text if it is UTF-8 and not said to be binary.
    WebSocket,
    /// The same, compressed where that makes it smaller, for clients that look back 32 KiB.
    WebSocketDeflated,
    /// The same for clients that look back 512 bytes.
    WebSocketDeflatedSmall,
    /// A message in the answer to a long poll: JSON.
    Poll,
}

/// What a client is told when its connection closes, beside the reason that owners hear.
#[derive(Clone, Copy, Debug, Default)]
pub struct Farewell {
    /// To an SSE client, and a WebSocket: what it is asked to wait before it comes back.
    pub retry_ms: Option<u32>,
    /// To a WebSocket: this code instead of the one that the reason has.
    pub code: Option<CloseCode>,
}

impl Framing {
    /// Every framing, in order.
    pub(super) const ALL: [Framing; 8] = [
        Framing::Chunked,
        Framing::ChunkedSse,
        Framing::Plain,
        Framing::PlainSse,
        Framing::WebSocket,
        Framing::WebSocketDeflated,
        Framing::WebSocketDeflatedSmall,
        Framing::Poll,
    ];

    /// Of a WebSocket, with what was agreed on compression.
    pub fn websocket(deflate: Option<Deflate>) -> Framing {
        match deflate.map(|deflate| deflate.window) {
            None => Framing::WebSocket,
            Some(Window::Full) => Framing::WebSocketDeflated,
            Some(Window::Small) => Framing::WebSocketDeflatedSmall,
        }
    }

    /// The transport that owners and metrics are told.
    pub fn transport(self) -> Transport {
        match self {
            Framing::Chunked | Framing::Plain => Transport::Chunked,
            Framing::ChunkedSse | Framing::PlainSse => Transport::Sse,
            Framing::WebSocket | Framing::WebSocketDeflated | Framing::WebSocketDeflatedSmall => {
                Transport::Websocket
            }
            Framing::Poll => Transport::Poll,
        }
    }

    /// Whether this is WebSocket, and compressed messages may come.
    pub fn may_deflate(self) -> bool {
        self.window().is_some()
    }

    pub(super) fn window(self) -> Option<Window> {
        match self {
            Framing::WebSocketDeflated => Some(Window::Full),
            Framing::WebSocketDeflatedSmall => Some(Window::Small),
            _ => None,
        }
    }

    /// Something that keeps proxies from closing a silent connection and that clients ignore: an
    /// SSE comment, a newline, or a ping.
    pub fn heartbeat(self) -> &'static [u8] {
        match self {
            Framing::Chunked => b"1\r\n\n\r\n",
            Framing::ChunkedSse => b"3\r\n:\n\n\r\n",
            Framing::Plain => b"\n",
            Framing::PlainSse => b":\n\n",
            Framing::WebSocket | Framing::WebSocketDeflated | Framing::WebSocketDeflatedSmall => {
                websocket::PING
            }
            // Whoever waits is answered in time.
            Framing::Poll => b"",
        }
    }

    /// What ends the connection in order, in one piece: the client must not leave in the middle.
    pub(super) fn goodbye(self, reason: &Reason, farewell: Farewell) -> Cow<'static, [u8]> {
        let end: &'static [u8] = match self {
            Framing::Chunked | Framing::ChunkedSse => b"0\r\n\r\n",
            // What a poll is told at its end, is `polls`'s.
            Framing::Plain | Framing::PlainSse | Framing::Poll => b"",
            Framing::WebSocket | Framing::WebSocketDeflated | Framing::WebSocketDeflatedSmall => {
                let code = farewell.code.unwrap_or_else(|| code_of(reason));
                let text = match (farewell.retry_ms, reason) {
                    (Some(wait_ms), _) => format!("retry: {wait_ms}").into(),
                    (None, Reason::Worded(worded)) => Cow::Borrowed(&*worded.text),
                    (None, _) => Cow::Borrowed(""),
                };
                let mut frame = Vec::new();
                websocket::close_frame(Some(code), &text, &mut frame);
                return frame.into();
            }
        };
        match farewell.retry_ms.and_then(|wait_ms| self.retry(wait_ms)) {
            Some(retry) => [retry.as_bytes(), end].concat().into(),
            None => end.into(),
        }
    }

    /// What asks an SSE client to wait so long before it comes back; a WebSocket is told in its end,
    /// others have no ear for it.
    pub fn retry(self, wait_ms: u32) -> Option<String> {
        let field = format!("retry: {wait_ms}\n\n");
        match self {
            Framing::PlainSse => Some(field),
            Framing::ChunkedSse => Some(format!("{:x}\r\n{field}\r\n", field.len())),
            _ => None,
        }
    }

    /// What tells the client that `lost` messages are missing here: an event called `gap` whose data is
    /// their number, a text `{"gap":N}`, or an empty line in a chunk whose extension is `lost`
    /// (RFC 9112, section 7.1.1). A body without chunks has no room for it.
    pub(super) fn gap(self, lost: u64) -> Option<Bytes> {
        let event = format!("event: gap\ndata: {lost}\n\n");
        Some(Bytes::from(match self {
            Framing::Chunked => format!("1;lost={lost}\r\n\n\r\n"),
            Framing::ChunkedSse => format!("{:x}\r\n{event}\r\n", event.len()),
            Framing::PlainSse => event,
            // A poll's answer says it itself.
            Framing::Plain | Framing::Poll => return None,
            Framing::WebSocket | Framing::WebSocketDeflated | Framing::WebSocketDeflatedSmall => {
                let text = format!("{{\"gap\":{lost}}}");
                let mut frame = Vec::new();
                websocket::write_head(Opcode::Text, false, text.len(), &mut frame);
                frame.extend_from_slice(text.as_bytes());
                return Some(frame.into());
            }
        }))
    }

    /// Writes the frame of `message` behind what `out` holds. An empty message on a plain stream
    /// has no frame: a chunk of no bytes would end the body. Compresses nothing.
    pub fn frame(self, message: Lent<'_>, out: &mut Vec<u8>) {
        match self {
            Framing::Chunked => chunk(message.payload, out),
            Framing::Plain => out.extend_from_slice(message.payload),
            Framing::PlainSse => event(message, out),
            Framing::Poll => json::write(message, out),
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
            Framing::WebSocket | Framing::WebSocketDeflated | Framing::WebSocketDeflatedSmall => {
                websocket::write_head(opcode_of(message), false, message.payload.len(), out);
                out.extend_from_slice(message.payload);
            }
        }
    }

    /// Writes what goes out before the payload of `message` and what goes out behind it, for those who do
    /// not copy the payload itself, and says where the one ends. `None`, and nothing is written, when
    /// the payload does not go out as it is: an event of several lines, JSON, or nothing at all.
    pub(super) fn around(self, message: Lent<'_>, out: &mut Vec<u8>) -> Option<usize> {
        let length = message.payload.len();
        if length == 0 {
            return None;
        }
        let tail: &[u8] = match self {
            Framing::Plain => b"",
            Framing::Chunked => {
                chunk_head(length, out);
                b"\r\n"
            }
            Framing::WebSocket | Framing::WebSocketDeflated | Framing::WebSocketDeflatedSmall => {
                websocket::write_head(opcode_of(message), false, length, out);
                b""
            }
            Framing::PlainSse | Framing::ChunkedSse => {
                if memchr::memchr2(b'\r', b'\n', message.payload).is_some() {
                    return None;
                }
                let is_chunked = self == Framing::ChunkedSse;
                if is_chunked {
                    let before = fields_len(message) + DATA.len();
                    chunk_head(before + length + EVENT_END.len(), out);
                }
                fields(message, out);
                out.extend_from_slice(DATA);
                if is_chunked { b"\n\n\r\n" } else { EVENT_END }
            }
            Framing::Poll => return None,
        };
        let end = out.len();
        out.extend_from_slice(tail);
        Some(end)
    }

    /// Writes the frame of `message`, compressed; unless that makes it no smaller.
    pub(super) fn frame_deflated(
        self,
        message: Lent<'_>,
        deflater: &mut Deflater,
        deflated: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) {
        deflated.clear();
        deflater.deflate(message.payload, deflated);
        if deflated.len() >= message.payload.len() {
            return self.frame(message, out);
        }
        websocket::write_head(opcode_of(message), true, deflated.len(), out);
        out.extend_from_slice(deflated);
    }
}

/// The code that tells a WebSocket why it closes.
fn code_of(reason: &Reason) -> CloseCode {
    match reason {
        Reason::Drain => CloseCode::RESTART,
        Reason::Shutdown => CloseCode::GOING_AWAY,
        Reason::Unserved => CloseCode::TRY_AGAIN,
        Reason::Protocol => CloseCode::PROTOCOL,
        Reason::OutboxFull | Reason::OutboxTotal => CloseCode::POLICY,
        Reason::Worded(worded) => CloseCode::new(worded.code).unwrap_or(CloseCode::NORMAL),
        Reason::Client | Reason::Io | Reason::Asked(_) => CloseCode::NORMAL,
    }
}

/// Text that is none would end the connection: it goes as bytes.
fn opcode_of(message: Lent<'_>) -> Opcode {
    match message.form {
        Form::Text if std::str::from_utf8(message.payload).is_ok() => Opcode::Text,
        _ => Opcode::Binary,
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

/// What an event's lines begin with.
const DATA: &[u8] = b"data: ";

/// The end of its last line, and an empty one.
const EVENT_END: &[u8] = b"\n\n";

fn fields(message: Lent<'_>, out: &mut Vec<u8>) {
    for (field, value) in named(message) {
        out.extend_from_slice(field.as_bytes());
        out.extend_from_slice(value);
        out.push(b'\n');
    }
}

/// How many bytes that makes.
fn fields_len(message: Lent<'_>) -> usize {
    named(message)
        .map(|(field, value)| field.len() + value.len() + 1)
        .sum()
}

fn named(message: Lent<'_>) -> impl Iterator<Item = (&'static str, &[u8])> {
    let meta = message.meta;
    let event = meta.and_then(|meta| meta.event.as_deref());
    let id = meta.and_then(|meta| meta.id.as_deref());
    let fields = [("event: ", event), ("id: ", id)];
    fields
        .into_iter()
        .filter_map(|(field, value)| Some((field, value?)))
}

fn event(message: Lent<'_>, out: &mut Vec<u8>) {
    fields(message, out);
    let mut rest: &[u8] = message.payload;
    loop {
        out.extend_from_slice(DATA);
        let Some(at) = memchr::memchr2(b'\r', b'\n', rest) else {
            out.extend_from_slice(rest);
            out.extend_from_slice(EVENT_END);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{EventMeta, Message, Worded};

    fn framed(framing: Framing, message: &Message) -> String {
        let mut out = Vec::new();
        framing.frame(message.into(), &mut out);
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
            form: Form::Text,
        };
        assert_eq!(
            framed(Framing::PlainSse, &message),
            "event: news\nid: 7\ndata: x\n\n"
        );
    }

    #[test]
    fn text_is_text_unless_it_is_said_or_shown_to_be_binary() {
        let framed = |payload: &'static [u8], form| {
            let mut out = Vec::new();
            let message = Message {
                form,
                ..Message::new(payload)
            };
            Framing::WebSocket.frame((&message).into(), &mut out);
            out
        };
        assert_eq!(framed(b"hi", Form::Text), b"\x81\x02hi");
        assert_eq!(framed(b"hi", Form::Binary), b"\x82\x02hi");
        assert_eq!(framed(b"\xff", Form::Text), b"\x82\x01\xff");
        assert_eq!(framed(b"", Form::Text), b"\x81\x00");
    }

    #[test]
    fn a_websocket_is_told_why_it_closes_and_when_to_return() {
        let goodbye =
            |reason: Reason, farewell| Framing::WebSocket.goodbye(&reason, farewell).into_owned();
        let drained = Farewell {
            retry_ms: Some(1234),
            code: None,
        };
        assert_eq!(
            goodbye(Reason::Drain, drained),
            b"\x88\x0d\x03\xf4retry: 1234"
        );
        let asked = Reason::Asked(Bytes::new());
        assert_eq!(goodbye(asked, Farewell::default()), b"\x88\x02\x03\xe8");
        let worded =
            Worded::new(Bytes::new(), 4001, "bye".to_owned()).expect("it is an application's");
        let worded = Reason::Worded(worded.into());
        assert_eq!(goodbye(worded, Farewell::default()), b"\x88\x05\x0f\xa1bye");
        let echoed = Farewell {
            code: CloseCode::new(4000),
            ..Farewell::default()
        };
        assert_eq!(goodbye(Reason::Client, echoed), b"\x88\x02\x0f\xa0");
    }

    proptest! {
        #[test]
        fn what_is_around_a_payload_and_the_payload_are_the_frame(payload in "[ab\n]{0,40}", text in any::<bool>()) {
            let meta = EventMeta { event: Some("news".into()), id: None };
            let message = Message {
                form: if text { Form::Text } else { Form::Binary },
                meta: text.then(|| Box::new(meta)),
                ..Message::new(payload.clone() + "x")
            };
            for framing in Framing::ALL {
                let (mut whole, mut around) = (Vec::new(), Vec::new());
                framing.frame((&message).into(), &mut whole);
                if let Some(gap) = framing.around((&message).into(), &mut around) {
                    let tail = around.split_off(gap);
                    prop_assert_eq!([&around, &message.payload[..], &tail].concat(), whole);
                } else {
                    prop_assert!(around.is_empty());
                    let is_event = matches!(framing, Framing::PlainSse | Framing::ChunkedSse);
                    prop_assert!(framing == Framing::Poll || is_event && payload.contains('\n'));
                }
            }
        }

        #[test]
        fn a_chunked_event_is_the_event_in_a_chunk(payload in prop::collection::vec(any::<u8>(), 0..600)) {
            let message = Message::new(payload);
            let (mut plain, mut chunked) = (Vec::new(), Vec::new());
            Framing::PlainSse.frame((&message).into(), &mut plain);
            Framing::ChunkedSse.frame((&message).into(), &mut chunked);
            let expected = [format!("{:x}\r\n", plain.len()).into_bytes(), plain, b"\r\n".to_vec()];
            prop_assert_eq!(chunked, expected.concat());
        }
    }
}
