//! One connection as a pure value: bytes in, events out.
//!
//! No sockets, no clock, no counting: the driver reads and the report counts. A million of these
//! may exist, so it holds no buffer, except for the moment in which a response head is cut.
//!
//! | phase | bytes | end of file |
//! |---|---|---|
//! | Request, Head | wait; 200 gives Opened -> Body, 101 Opened -> Frames, another status Refused -> Done | Closed(BeforeHead) |
//! | Body | messages; the last chunk gives Closed(Complete) -> Done | Closed -> Done |
//! | Frames | messages, and answers to be sent; a close frame gives Closed(Complete) -> Closing | Closed -> Done |
//! | Closing, with the last answer | nothing | nothing |
//! | Done | nothing | nothing |
//!
//! A WebSocket gets no 200, and nobody else a 101. Each fault gives Faulted -> Done. Bytes after the last chunk are a fault only when they come
//! with it: a stream that is complete is not waited for.

use super::chunked::{self, ChunkParser};
use super::fault::Fault;
use super::handshake;
use super::head::{self, Head};
use super::message::Message;
use super::sse::{self, EventParser};
use super::stamp::Stamp;
use super::websocket::WebSocket;

/// How the server is asked to stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// A message is a chunk
    Chunked,
    /// A message is a server-sent event
    Sse,
    /// A message is a WebSocket's; it may come compressed, if the server agrees
    WebSocket { deflate: bool },
}

/// What happened on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The stream is open.
    Opened,
    /// The answer was another status than 200 (of a WebSocket: 101), with the seconds of its Retry-After.
    Refused {
        status: u16,
        retry_after_s: Option<u32>,
    },
    /// A whole message; its stamps were told before it.
    Message { payload_bytes: u64, stamped: bool },
    /// A stamp in the message under way.
    Stamped(Stamp),
    /// A chunk of one newline, a comment, or a ping.
    Heartbeat,
    /// The stream is over.
    Closed(Ending),
    /// The answer broke its format.
    Faulted(Fault),
}

/// How a stream came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// As the format says: the last chunk, a close frame, or end of file between events of an unchunked stream.
    Complete,
    /// End of file between messages, but without the last chunk or a close frame.
    Unfinished,
    /// End of file inside a message.
    MidMessage,
    /// End of file before the response head was whole.
    BeforeHead,
    /// The socket failed.
    Reset,
}

#[derive(Debug)]
pub(super) struct Connection {
    id: u64,
    transport: Transport,
    /// What a WebSocket's key and masks are made of.
    nonce: u64,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Request {
        sent: u16,
    },
    /// The part of the head that came; nothing is allocated for a head that comes whole.
    Head(Vec<u8>),
    Body(Body),
    Frames(Box<WebSocket>),
    Closing(Box<WebSocket>),
    Done,
}

/// The body's coding, what the content says so far, and the message under way.
#[derive(Debug)]
struct Body {
    /// `None`: the body lasts until the end of file.
    chunks: Option<ChunkParser>,
    /// `None`: a message is a chunk.
    events: Option<EventParser>,
    message: Message,
}

impl Connection {
    /// `nonce` is drawn at random.
    pub(super) fn new(id: u64, transport: Transport, nonce: u64) -> Self {
        Self {
            id,
            transport,
            nonce,
            phase: Phase::Request { sent: 0 },
        }
    }

    /// The id the stream was asked for.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn nonce(&self) -> u64 {
        self.nonce
    }

    /// What is to be sent in answer to what came.
    pub(super) fn replies(&self) -> &[u8] {
        match &self.phase {
            Phase::Frames(socket) | Phase::Closing(socket) => socket.replies(),
            _ => &[],
        }
    }

    /// So much of it was sent.
    pub(super) fn handle_replied(&mut self, bytes: usize) {
        if let Phase::Frames(socket) | Phase::Closing(socket) = &mut self.phase {
            socket.handle_replied(bytes);
        }
    }

    /// How much of the request went out; `None` when all of it did.
    pub(super) fn request_sent(&self) -> Option<usize> {
        match self.phase {
            Phase::Request { sent } => Some(usize::from(sent)),
            _ => None,
        }
    }

    /// The first `sent` of the request's `total` bytes went out.
    pub(super) fn handle_sent(&mut self, sent: usize, total: usize) {
        if let Phase::Request { sent: so_far } = &mut self.phase {
            if sent == total {
                self.phase = Phase::Head(Vec::new());
            } else {
                *so_far = u16::try_from(sent).expect("a request is under 64 KiB");
            }
        }
    }

    /// Bytes came from the server.
    pub(super) fn handle_bytes(&mut self, input: &[u8], mut sink: impl FnMut(Event)) {
        // An answer before the whole request went out is a refusal sent early: read it.
        if let Phase::Request { .. } = self.phase {
            self.phase = Phase::Head(Vec::new());
        }
        let fed = match self.phase {
            Phase::Head(_) => match self.head_bytes(input, &mut sink) {
                Ok(rest) => self.body_bytes(rest, &mut sink),
                Err(fault) => Err(fault),
            },
            _ => self.body_bytes(input, &mut sink),
        };
        if let Err(fault) = fed {
            self.phase = Phase::Done;
            sink(Event::Faulted(fault));
        }
    }

    /// The server will send no more.
    pub(super) fn handle_end(&mut self) -> Option<Event> {
        match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Request { .. } | Phase::Head(_) => Some(Event::Closed(Ending::BeforeHead)),
            Phase::Body(body) => Some(Event::Closed(body.ending())),
            Phase::Frames(socket) => Some(Event::Closed(socket.ending())),
            Phase::Closing(_) | Phase::Done => None,
        }
    }

    /// The socket failed.
    pub(super) fn handle_reset(&mut self) -> Option<Event> {
        match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Closing(_) | Phase::Done => None,
            Phase::Request { .. } | Phase::Head(_) | Phase::Body(_) | Phase::Frames(_) => {
                Some(Event::Closed(Ending::Reset))
            }
        }
    }

    /// What of `input` is left for the body.
    fn head_bytes<'a>(
        &mut self,
        input: &'a [u8],
        sink: &mut impl FnMut(Event),
    ) -> Result<&'a [u8], Fault> {
        let Phase::Head(before) = &mut self.phase else {
            return Ok(input);
        };
        let came_before = before.len();
        let room = head::HEAD_BYTES_MAX - came_before;
        let parsed = if came_before == 0 {
            head::parse(input)?
        } else {
            before.extend_from_slice(&input[..input.len().min(room)]);
            head::parse(before)?
        };
        let Some(head) = parsed else {
            if came_before == 0 {
                *before = input.to_vec();
            }
            return Ok(&[]);
        };
        self.phase = match (head.status, self.transport) {
            (101, Transport::WebSocket { deflate }) => {
                let deflate = handshake::agreed(&head, self.nonce, deflate)?;
                Phase::Frames(Box::new(WebSocket::new(deflate, self.nonce)))
            }
            (200, Transport::WebSocket { .. }) => return Err(Fault::NotAWebSocket),
            (200, Transport::Chunked | Transport::Sse) => {
                Phase::Body(Body::new(&head, self.transport)?)
            }
            (status, _) => {
                self.phase = Phase::Done;
                sink(Event::Refused {
                    status,
                    retry_after_s: head.retry_after_s,
                });
                return Ok(&[]);
            }
        };
        sink(Event::Opened);
        Ok(&input[head.bytes - came_before..])
    }

    fn body_bytes(&mut self, input: &[u8], sink: &mut impl FnMut(Event)) -> Result<(), Fault> {
        let is_over = match &mut self.phase {
            Phase::Body(body) => body.feed(input, self.id, sink)?,
            Phase::Frames(socket) => socket.feed(input, self.id, sink)?,
            _ => return Ok(()),
        };
        if is_over {
            self.phase = match std::mem::replace(&mut self.phase, Phase::Done) {
                Phase::Frames(socket) => Phase::Closing(socket),
                _ => Phase::Done,
            };
            sink(Event::Closed(Ending::Complete));
        }
        Ok(())
    }
}

impl Body {
    fn new(head: &Head, transport: Transport) -> Result<Self, Fault> {
        if head.has_length {
            return Err(Fault::NotAStream);
        }
        let chunks = head.is_chunked.then(ChunkParser::new);
        let events = match transport {
            Transport::Chunked if chunks.is_none() => return Err(Fault::NotAStream),
            Transport::Chunked => None,
            Transport::Sse if !head.is_event_stream => return Err(Fault::NotEvents),
            Transport::Sse => Some(EventParser::new()),
            Transport::WebSocket { .. } => unreachable!("its body is frames"),
        };
        Ok(Self {
            chunks,
            events,
            message: Message::default(),
        })
    }

    /// Whether that was the end.
    fn feed(&mut self, input: &[u8], id: u64, sink: &mut impl FnMut(Event)) -> Result<bool, Fault> {
        let Self {
            chunks,
            events,
            message,
        } = self;
        let Some(chunks) = chunks else {
            take(message, events, input, id, sink)?;
            return Ok(false);
        };
        let mut last = false;
        chunks.feed(input, |piece| {
            match piece {
                chunked::Piece::Data(data) => take(message, events, data, id, sink)?,
                chunked::Piece::ChunkEnd if events.is_none() => message.end(sink),
                chunked::Piece::ChunkEnd => {}
                chunked::Piece::Last => last = true,
            }
            Ok(())
        })?;
        Ok(last)
    }

    fn ending(&self) -> Ending {
        let between = match (&self.chunks, &self.events) {
            (Some(chunks), None) => chunks.is_between_chunks(),
            (Some(chunks), Some(events)) => {
                chunks.is_between_chunks() && events.is_between_events()
            }
            (None, events) => events.as_ref().is_some_and(EventParser::is_between_events),
        };
        match (between, &self.chunks) {
            (false, _) => Ending::MidMessage,
            (true, Some(_)) => Ending::Unfinished,
            (true, None) => Ending::Complete,
        }
    }
}

/// Content: a part of the message itself, or of the event stream it is a part of.
fn take(
    message: &mut Message,
    events: &mut Option<EventParser>,
    content: &[u8],
    id: u64,
    sink: &mut impl FnMut(Event),
) -> Result<(), Fault> {
    let Some(events) = events else {
        message.data(content, id, sink);
        return Ok(());
    };
    events.feed(content, |piece| match piece {
        sse::Piece::Data(data) => message.data(data, id, sink),
        sse::Piece::EventEnd => message.end_whole(sink),
        sse::Piece::Comment => sink(Event::Heartbeat),
    })
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
