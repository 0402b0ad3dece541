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
        let meta = self.meta.as_deref().map_or(0, |meta| {
            meta.event.as_ref().map_or(0, Bytes::len) + meta.id.as_ref().map_or(0, Bytes::len)
        });
        self.payload.len() + meta
    }
}
