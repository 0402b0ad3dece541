//! One connection whose request was not there at its accept, or is no plain stream: what is to be held
//! goes to the shard of its id, an ordinary request is answered, the rest is refused.
//!
//! A connection is a tokio task until it is held or over: each head is read under a deadline and a
//! size limit, and judged by `visitor`; what an ordinary request is answered is `exchange`'s affair.
//! A stream may follow ordinary requests, and ends them: nothing here is kept for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::exchange::Run;
use super::line::{Broken, Line, READ_BYTES};
use super::patience::Patience;
use super::refusal::Refusal;
use super::reply;
use super::visitor::{Inquiry, Place, Verdict, Visitor};
use crate::edge::Edge;
use crate::edge::door::proxy;
use crate::edge::shard::queue::ShardCommand;
use crate::edge::shard::session::Session;
use crate::metrics::ProxyRefused;
use crate::wire::{Answer, Ask};

/// After a refusal, how long and how much is still read, so that the kernel does not answer
/// unread bytes with a reset that destroys the refusal on its way.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 64 * 1024;

/// A connection and all that is known of it.
pub(in crate::edge) struct Visit {
    pub(in crate::edge) edge: Edge,
    pub(in crate::edge) visitor: Visitor,
    pub(in crate::edge) line: Line,
    /// What has been read and not been looked at.
    pub(in crate::edge) buffer: BytesMut,
    /// How much a read asks for.
    pub(in crate::edge) read_bytes: usize,
    /// Answers that are not written.
    pub(in crate::edge) out: Vec<u8>,
    pub(in crate::edge) run: Run,
    pub(in crate::edge) patience: Patience,
    pub(in crate::edge) stop: watch::Receiver<bool>,
}

/// Answers the request; reads it, too, unless there is a verdict on it. `buffer` is what has been read.
pub(in crate::edge) async fn serve(
    edge: Edge,
    socket: std::net::TcpStream,
    visitor: Visitor,
    buffer: BytesMut,
    verdict: Option<Verdict>,
) {
    let Ok(stream) = TcpStream::from_std(socket) else {
        return;
    };
    let deadline = Instant::now() + edge.config().head_timeout;
    let mut visit = Visit {
        stop: edge.stopping(),
        edge,
        visitor,
        line: Line::new(stream),
        buffer,
        read_bytes: READ_BYTES,
        out: Vec::new(),
        run: Run::default(),
        patience: Patience::new(deadline),
    };
    let mut next = match verdict {
        Some(verdict) => Some(verdict),
        None => visit.first_request(deadline).await,
    };
    while let Some(verdict) = next {
        next = match verdict {
            Verdict::Answer(order) => {
                // It is one of the connections from now on, and no head that is being read.
                visit.visitor.head = None;
                visit.answer(order).await
            }
            Verdict::Refuse(refusal, cors) => return visit.refuse(&refusal, &cors).await,
            Verdict::Hold(place) => return visit.hold(place),
            Verdict::Check(guarded) => {
                let cors = guarded.cors.clone();
                return match guarded.check(&visit.edge) {
                    Ok(place) => visit.hold(place),
                    Err(refusal) => visit.refuse(&refusal, &cors).await,
                };
            }
            Verdict::Ask(inquiry) => {
                // From here on it is one of those that wait for a handler, and bounded as such.
                visit.visitor.head = None;
                return visit.ask(*inquiry).await;
            }
        };
    }
}

impl Visit {
    fn hold(self, place: Place) {
        let Ok((socket, session)) = self.line.into_parts() else {
            return;
        };
        let queue = self.edge.queue_of(&place.id);
        let adoption = self.visitor.adoption(&self.edge, place, socket, session);
        queue.push(ShardCommand::Adopt(vec![adoption]));
    }

    /// Has its handler decide, and does what it says. A client that leaves meanwhile is forgotten.
    async fn ask(mut self, inquiry: Inquiry) {
        let request = Arc::clone(&inquiry.request);
        let handler = request.handler.clone();
        let answer = tokio::select! {
            biased;
            answer = self.edge.ask(Ask::Request(request)) => answer,
            () = self.line.gone() => return,
        };
        let manner = &inquiry.manner;
        match answer {
            Ok(Answer::Accept { id, options }) => {
                return self.hold(inquiry.accepted(handler, id, options));
            }
            Ok(Answer::Reply {
                status,
                headers,
                body,
            }) => reply::write_reply(&mut self.out, status, &headers, &body, manner),
            Ok(Answer::Reject { status, reason }) => {
                reply::write_reject(&mut self.out, status, &reason, manner);
            }
            Ok(Answer::Taken) => return self.refuse(&Refusal::BadAnswer, &manner.cors).await,
            Err(unasked) => return self.refuse(&unasked.into(), &manner.cors).await,
        }
        self.edge.metrics().requests.increment();
        if self.flush().await.is_ok() {
            self.finish().await;
        }
    }

    async fn refuse(mut self, refusal: &Refusal, cors: &Bytes) {
        let refused = &self.edge.metrics().refused;
        refused.of(refusal.label()).increment();
        self.out.clear();
        refusal.write(&mut self.out, cors);
        let farewell = async {
            self.line.write_all(&self.out).await?;
            self.line.finish(LINGER_BYTES_MAX).await
        };
        // Whether the client reads its refusal is its own affair.
        let _ = timeout(LINGER, farewell).await;
    }

    /// Ends the connection in order.
    pub(in crate::edge) async fn finish(&mut self) {
        let _ = timeout(LINGER, self.line.finish(LINGER_BYTES_MAX)).await;
    }

    /// Reads what comes before HTTP, if anything does, and the first head; `None` when there is nobody
    /// to answer.
    async fn first_request(&mut self, deadline: Instant) -> Option<Verdict> {
        if self.visitor.has_proxy_header {
            match self.read_proxy_header(deadline).await? {
                Ok(None) => {}
                Ok(Some(client)) => {
                    if let Err(refusal) = self.visitor.is_from(&self.edge, client) {
                        return Some(Verdict::Refuse(refusal, Bytes::new()));
                    }
                }
                Err(proxy::Malformed) => {
                    let refused = &self.edge.metrics().proxy_refused;
                    refused.of(ProxyRefused::Malformed).increment();
                    return None;
                }
            }
        }
        self.visitor.is_known();
        if let Some(rules) = self.visitor.tls.take() {
            let ahead = self.buffer.split();
            self.line.secure(Session::new(rules)?, ahead);
        }
        self.read_head(deadline).await
    }

    /// The client's address, if the proxy has one to tell; `None` when the proxy is gone or too slow.
    /// What comes behind the header stays in the buffer.
    async fn read_proxy_header(
        &mut self,
        deadline: Instant,
    ) -> Option<Result<Option<SocketAddr>, proxy::Malformed>> {
        loop {
            match proxy::parse(&self.buffer) {
                Ok(None) => {}
                Ok(Some(header)) => {
                    self.buffer.advance(header.length);
                    return Some(Ok(header.source));
                }
                Err(malformed) => return Some(Err(malformed)),
            }
            let read = self.line.read(&mut self.buffer, READ_BYTES);
            self.patience.until(deadline, read).await?.ok()?;
        }
    }

    /// Reads until a head is complete, or refused. It stays in the buffer.
    pub(in crate::edge) async fn read_head(&mut self, deadline: Instant) -> Option<Verdict> {
        // Parsing begins anew each time. It is tried when the head may be complete, and else only when
        // twice as much has come: a client that sends byte by byte costs no more than one that does
        // not.
        let mut tried_bytes = 0;
        loop {
            let buffer = &self.buffer;
            let is_complete = memchr::memmem::find(buffer, b"\n\r\n").is_some()
                || memchr::memmem::find(buffer, b"\n\n").is_some();
            let is_too_large = buffer.len() > self.edge.config().head_bytes_max;
            if is_complete || is_too_large || buffer.len() >= 2 * tried_bytes {
                tried_bytes = buffer.len();
                if let Some(verdict) = self.visitor.judge(&self.edge, buffer) {
                    return Some(verdict);
                }
            }
            let read = self.line.read(&mut self.buffer, READ_BYTES);
            match self.patience.until(deadline, read).await {
                Some(Ok(())) => {}
                Some(Err(Broken::Gone)) => return None,
                Some(Err(Broken::Tls(error))) => {
                    self.edge.metrics().tls_failed.increment();
                    tracing::debug!(%error, peer = ?self.visitor.peer, "TLS failed");
                    return None;
                }
                None => return Some(Verdict::Refuse(Refusal::Timeout, Bytes::new())),
            }
        }
    }
}
