//! What is delivered to a connection: opaque bytes, and for SSE an event name and id.
//!
//! No framing here: the same message goes out as an SSE event on one connection and as an HTTP
//! chunk on another (`hub::framing`).

use bytes::Bytes;

/// One message on its way to connections. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The bytes that Erlang sent, flattened.
    pub payload: Bytes,
    /// Present only where the sender named the event; boxed because most messages do not.
    pub meta: Option<Box<EventMeta>>,
    /// What it is to a WebSocket.
    pub form: Form,
}

/// What a message is to a WebSocket (RFC 6455, section 5.6). Other transports ignore it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// `text`. What is sent as text and is not UTF-8 goes out as binary: a client would have to close.
    #[default]
    Text,
    /// `binary`, whatever the bytes are.
    Binary,
}

/// The SSE fields beside `data` (WHATWG HTML, "Server-sent events", section 9.2.6). Transports
/// other than SSE ignore them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventMeta {
    /// The `event` field: what `addEventListener` names. Without CR and LF.
    pub event: Option<Bytes>,
    /// The `id` field: what comes back as `Last-Event-ID`. Without CR, LF and NUL.
    pub id: Option<Bytes>,
}

/// A message whose bytes belong to somebody else, for as long as it is being written.
#[derive(Clone, Copy, Debug)]
pub struct Lent<'a> {
    /// As in [`Message`].
    pub payload: &'a [u8],
    /// The same bytes as they can be kept without a copy, if they can.
    pub whole: Option<&'a Bytes>,
    /// As in [`Message`].
    pub meta: Option<&'a EventMeta>,
    /// As in [`Message`].
    pub form: Form,
}

impl<'a> From<&'a Message> for Lent<'a> {
    fn from(message: &'a Message) -> Lent<'a> {
        Lent {
            payload: &message.payload,
            whole: Some(&message.payload),
            meta: message.meta.as_deref(),
            form: message.form,
        }
    }
}

impl Lent<'_> {
    /// The payload, to be kept.
    pub fn keep(&self) -> Bytes {
        match self.whole {
            Some(whole) => whole.clone(),
            None => Bytes::copy_from_slice(self.payload),
        }
    }

    /// As [`Message::bytes`].
    pub fn bytes(&self) -> usize {
        let meta = self.meta.map_or(0, |meta| {
            meta.event.as_ref().map_or(0, Bytes::len) + meta.id.as_ref().map_or(0, Bytes::len)
        });
        self.payload.len() + meta
    }
}

impl From<Lent<'_>> for Message {
    fn from(lent: Lent<'_>) -> Message {
        Message {
            payload: lent.keep(),
            meta: lent.meta.map(|meta| Box::new(meta.clone())),
            form: lent.form,
        }
    }
}

impl Message {
    /// A message with a payload and nothing else.
    pub fn new(payload: impl Into<Bytes>) -> Message {
        Message {
            payload: payload.into(),
            meta: None,
            form: Form::Text,
        }
    }

    /// Bytes that this message holds, for the byte bounds of queues.
    pub fn bytes(&self) -> usize {
        Lent::from(self).bytes()
    }
}
