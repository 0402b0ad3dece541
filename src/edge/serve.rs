//! One connection from its accept to where it belongs: a stream to the shard of its id, an ordinary
//! request to hyper, the rest a refusal.
//!
//! A connection is a tokio task only until its head is read, under a deadline and a size limit.
//! Nothing here is kept for a held stream, and no request is read after the first: streams never
//! end in a second request, and ordinary answers close.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use bytes::{Buf, BytesMut};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::head::{self, Head};
use super::line::{Broken, Line};
use super::listener::Visitor;
use super::proxy;
use super::queue::{Adoption, ShardCommand};
use super::refusal::Refusal;
use super::route::{Route, route};
use super::session::Session;
use super::{Edge, demo, greeting};
use crate::metrics::ProxyRefused;

/// After a refusal, how long and how much is still read, so that the kernel does not answer
/// unread bytes with a reset that destroys the refusal on its way.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 64 * 1024;

/// Reads the request and answers it, or hands it on.
pub(super) async fn serve(edge: Edge, mut visitor: Visitor) {
    let stream = visitor.stream.take().map(TcpStream::from_std);
    let Some(Ok(stream)) = stream else {
        return;
    };
    let mut line = Line::new(stream);
    let mut buffer = BytesMut::new();
    let config = edge.config();
    let reading = read_request(&edge, &mut visitor, &mut line, &mut buffer);
    let Some(read) = timeout(config.head_timeout, reading)
        .await
        .unwrap_or(Some(Err(Refusal::Timeout)))
    else {
        return;
    };
    let routed = read.and_then(|head| {
        let found = route(&head, &config.routes, config.demo)?;
        visitor.has_forwarded(&edge, &head.forwarded_for)?;
        Ok(found)
    });
    let refusal = match routed {
        Err(refusal) => refusal,
        Ok(Route::Demo) => {
            drop(visitor);
            return demo::serve(&edge, &buffer, line).await;
        }
        Ok(Route::Stream {
            id,
            framing,
            when_full,
        }) => match edge.permits().acquire(visitor.guest.take()) {
            None => Refusal::CONNECTIONS,
            Some(permit) => {
                let Ok((socket, session)) = line.into_parts() else {
                    return;
                };
                let retry = config.retry;
                let greeting =
                    greeting::greeting(framing, retry, fastrand::f64(), SystemTime::now());
                let adoption = Adoption {
                    socket,
                    session,
                    forwarded: visitor.forwarded,
                    id,
                    framing,
                    when_full: when_full.unwrap_or(config.when_full),
                    greeting,
                    permit,
                };
                let queue = edge.queue_of(&adoption.id);
                return queue.push(ShardCommand::Adopt(Box::new(adoption)));
            }
        },
    };
    refuse(&edge, line, refusal).await;
}

impl Visitor {
    /// Whose connection it is by the word of a proxy that we trust. An error is the limit of that
    /// address.
    fn is_from(&mut self, edge: &Edge, client: SocketAddr) -> Result<(), Refusal> {
        self.forwarded = Some(client);
        self.is_proxied = edge.config().trusted_proxies.has(client.ip());
        if !self.is_proxied {
            let entered = edge.permits().addresses().enter(client.ip());
            self.guest = entered.map_err(|_full| {
                edge.metrics().address_limit.increment();
                Refusal::ADDRESS
            })?;
        }
        Ok(())
    }

    /// The same from what fields of the request say, if whoever sent it is such a proxy.
    fn has_forwarded(&mut self, edge: &Edge, forwarded_for: &[u8]) -> Result<(), Refusal> {
        let config = edge.config();
        let trust = &config.trusted_proxies;
        let proxy = self.forwarded.or(self.peer);
        match trust.client_behind(proxy, std::iter::once(forwarded_for)) {
            Some(client) if self.is_proxied => self.is_from(edge, client),
            _ => Ok(()),
        }
    }
}

/// All that comes before the answer; `None` when there is nobody to answer.
async fn read_request(
    edge: &Edge,
    visitor: &mut Visitor,
    line: &mut Line,
    buffer: &mut BytesMut,
) -> Option<Result<Head, Refusal>> {
    if visitor.has_proxy_header {
        match read_proxy_header(line, buffer).await? {
            Ok(None) => {}
            Ok(Some(client)) => {
                if let Err(refusal) = visitor.is_from(edge, client) {
                    return Some(Err(refusal));
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
    match read_head(line, buffer, edge.config().head_bytes_max).await {
        Ok(read) => Some(read),
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
    line: &mut Line,
    buffer: &mut BytesMut,
    bytes_max: usize,
) -> Result<Result<Head, Refusal>, Broken> {
    // Parsing begins anew each time. It is tried when the head may be complete, and else only when
    // twice as much has come: a client that sends byte by byte costs no more than one that does
    // not.
    let mut tried_bytes = 0;
    loop {
        let is_complete = memchr::memmem::find(buffer, b"\n\r\n").is_some()
            || memchr::memmem::find(buffer, b"\n\n").is_some();
        if is_complete || buffer.len() >= 2 * tried_bytes || buffer.len() > bytes_max {
            tried_bytes = buffer.len();
            match head::parse(buffer) {
                Ok(Some(head)) if head.length <= bytes_max => return Ok(Ok(head)),
                Ok(None) if buffer.len() <= bytes_max => {}
                Ok(_) => return Ok(Err(Refusal::HeadTooLarge)),
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        line.read(buffer).await?;
    }
}

async fn refuse(edge: &Edge, mut line: Line, refusal: Refusal) {
    edge.metrics().refused.of(refusal.label()).increment();
    let farewell = async {
        line.write_all(&refusal.answer()).await?;
        line.finish(LINGER_BYTES_MAX).await
    };
    // Whether the client reads its refusal is its own affair.
    let _ = timeout(LINGER, farewell).await;
}
