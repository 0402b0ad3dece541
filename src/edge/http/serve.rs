//! One connection whose request was not there at its accept, or is no plain stream: a stream goes to
//! the shard of its id, an ordinary request to hyper, the rest is refused.
//!
//! A connection is a tokio task only until its head is read, under a deadline and a size limit.
//! What is read is judged by `visitor`.
//! Nothing here is kept for a held stream, and no request is read after the first: streams never
//! end in a second request, and ordinary answers close.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::line::{Broken, Line};
use super::refusal::Refusal;
use super::visitor::{Inquiry, Place, Verdict, Visitor};
use super::{asking, demo};
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

/// Answers the request; reads it, too, unless there is a verdict on it. `buffer` is what has been read.
pub(in crate::edge) async fn serve(
    edge: Edge,
    socket: std::net::TcpStream,
    mut visitor: Visitor,
    mut buffer: BytesMut,
    verdict: Option<Verdict>,
) {
    let Ok(stream) = TcpStream::from_std(socket) else {
        return;
    };
    let mut line = Line::new(stream);
    let verdict = match verdict {
        Some(verdict) => verdict,
        None => {
            let reading = read_request(&edge, &mut visitor, &mut line, &mut buffer);
            let read = timeout(edge.config().head_timeout, reading).await;
            match read.unwrap_or(Some(Verdict::Refuse(Refusal::Timeout))) {
                Some(verdict) => verdict,
                None => return,
            }
        }
    };
    match verdict {
        Verdict::Refuse(refusal) => refuse(&edge, line, refusal).await,
        Verdict::Demo => {
            drop(visitor);
            demo::serve(&edge, &buffer, line).await;
        }
        Verdict::Hold(place) => hold(&edge, &visitor, place, line),
        Verdict::Check(guarded) => match guarded.check(&edge) {
            Ok(place) => hold(&edge, &visitor, place, line),
            Err(refusal) => refuse(&edge, line, refusal).await,
        },
        Verdict::Ask(inquiry) => {
            // From here on it is one of those that wait for a handler, and bounded as such.
            visitor.head = None;
            ask(&edge, &visitor, *inquiry, line).await;
        }
    }
}

fn hold(edge: &Edge, visitor: &Visitor, place: Place, line: Line) {
    let Ok((socket, session)) = line.into_parts() else {
        return;
    };
    let queue = edge.queue_of(&place.id);
    let adoption = visitor.adoption(edge, place, socket, session);
    queue.push(ShardCommand::Adopt(vec![adoption]));
}

/// Has its handler decide, and does what it says. A client that leaves meanwhile is forgotten.
async fn ask(edge: &Edge, visitor: &Visitor, inquiry: Inquiry, line: Line) {
    let request = Arc::clone(&inquiry.request);
    let handler = request.handler.clone();
    let answer = tokio::select! {
        biased;
        answer = edge.ask(Ask::Request(request)) => answer,
        () = line.gone() => return,
    };
    match answer {
        Ok(Answer::Accept { id, options }) => {
            let place = inquiry.accepted(handler, id, options);
            hold(edge, visitor, place, line);
        }
        Ok(Answer::Reply {
            status,
            headers,
            body,
        }) => farewell(edge, line, &asking::reply(status, &headers, &body)).await,
        Ok(Answer::Reject { status, reason }) => {
            farewell(edge, line, &asking::reject(status, &reason)).await;
        }
        Ok(Answer::Taken) => refuse(edge, line, Refusal::BadAnswer).await,
        Err(unasked) => refuse(edge, line, unasked.into()).await,
    }
}

/// Reads until there is a verdict; `None` when there is nobody to answer.
async fn read_request(
    edge: &Edge,
    visitor: &mut Visitor,
    line: &mut Line,
    buffer: &mut BytesMut,
) -> Option<Verdict> {
    if visitor.has_proxy_header {
        match read_proxy_header(line, buffer).await? {
            Ok(None) => {}
            Ok(Some(client)) => {
                if let Err(refusal) = visitor.is_from(edge, client) {
                    return Some(Verdict::Refuse(refusal));
                }
            }
            Err(proxy::Malformed) => {
                let refused = &edge.metrics().proxy_refused;
                refused.of(ProxyRefused::Malformed).increment();
                return None;
            }
        }
    }
    if let Some(rules) = visitor.tls.take() {
        line.secure(Session::new(rules)?, buffer.split());
    }
    match read_head(edge, visitor, line, buffer).await {
        Ok(verdict) => Some(verdict),
        Err(Broken::Gone) => None,
        Err(Broken::Tls(error)) => {
            edge.metrics().tls_failed.increment();
            tracing::debug!(%error, peer = ?visitor.peer, "TLS failed");
            None
        }
    }
}

/// The client's address, if the proxy has one to tell; `None` when the proxy is gone. What comes
/// behind the header stays in `buffer`.
async fn read_proxy_header(
    line: &mut Line,
    buffer: &mut BytesMut,
) -> Option<Result<Option<SocketAddr>, proxy::Malformed>> {
    loop {
        match proxy::parse(buffer) {
            Ok(None) => {}
            Ok(Some(header)) => {
                buffer.advance(header.length);
                return Some(Ok(header.source));
            }
            Err(malformed) => return Some(Err(malformed)),
        }
        line.read(buffer).await.ok()?;
    }
}

/// Reads until the head is complete, or refused. It stays in `buffer`.
async fn read_head(
    edge: &Edge,
    visitor: &mut Visitor,
    line: &mut Line,
    buffer: &mut BytesMut,
) -> Result<Verdict, Broken> {
    // Parsing begins anew each time. It is tried when the head may be complete, and else only when
    // twice as much has come: a client that sends byte by byte costs no more than one that does
    // not.
    let mut tried_bytes = 0;
    loop {
        let is_complete = memchr::memmem::find(buffer, b"\n\r\n").is_some()
            || memchr::memmem::find(buffer, b"\n\n").is_some();
        let is_too_large = buffer.len() > edge.config().head_bytes_max;
        if is_complete || is_too_large || buffer.len() >= 2 * tried_bytes {
            tried_bytes = buffer.len();
            if let Some(verdict) = visitor.judge(edge, buffer) {
                return Ok(verdict);
            }
        }
        line.read(buffer).await?;
    }
}

async fn refuse(edge: &Edge, line: Line, refusal: Refusal) {
    edge.metrics().refused.of(refusal.label()).increment();
    say(line, &refusal.answer(), LINGER).await;
}

/// An answer of any length, after which the connection closes.
async fn farewell(edge: &Edge, line: Line, answer: &[u8]) {
    edge.metrics().requests.increment();
    say(line, answer, edge.config().head_timeout).await;
}

async fn say(mut line: Line, answer: &[u8], patience: Duration) {
    let farewell = async {
        line.write_all(answer).await?;
        line.finish(LINGER_BYTES_MAX).await
    };
    // Whether the client reads it is its own affair.
    let _ = timeout(patience, farewell).await;
}
