//! One connection from its accept to where it belongs: a stream to the shard of its id, an ordinary
//! request to hyper, the rest a refusal.
//!
//! A connection is a tokio task only until its head is read, under a deadline and a size limit.
//! Nothing here is kept for a held stream, and no request is read after the first: streams never
//! end in a second request, and ordinary answers close.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::head::{self, Head};
use super::listener::Visitor;
use super::proxy;
use super::queue::{Adoption, ShardCommand};
use super::refusal::Refusal;
use super::route::{Route, route};
use super::{Edge, demo, greeting};
use crate::metrics::ProxyRefused;

/// After a refusal, how long and how much is still read, so that the kernel does not answer
/// unread bytes with a reset that destroys the refusal on its way.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 64 * 1024;

/// Reads the request and answers it, or hands it on.
pub(super) async fn serve(edge: Edge, mut visitor: Visitor) {
    let stream = visitor.stream.take().map(TcpStream::from_std);
    let Some(Ok(mut stream)) = stream else {
        return;
    };
    let mut buffer = BytesMut::new();
    let config = edge.config();
    let reading = read_request(&edge, &mut visitor, &mut stream, &mut buffer);
    let Some(read) = timeout(config.head_timeout, reading)
        .await
        .unwrap_or(Some(Err(Refusal::Timeout)))
    else {
        return;
    };
    let routed = read.and_then(|head| {
        let found = route(&head, config.demo)?;
        visitor.has_forwarded(&edge, &head.forwarded_for)?;
        Ok(found)
    });
    let refusal = match routed {
        Err(refusal) => refusal,
        Ok(Route::Demo) => {
            drop(visitor);
            return demo::serve(&edge, buffer.freeze(), stream).await;
        }
        Ok(Route::Stream { id, framing }) => match edge.permits().acquire(visitor.guest.take()) {
            None => Refusal::CONNECTIONS,
            Some(permit) => {
                let Ok(socket) = stream.into_std() else {
                    return;
                };
                let retry = config.retry;
                let greeting =
                    greeting::greeting(framing, retry, fastrand::f64(), SystemTime::now());
                let adoption = Adoption {
                    socket,
                    forwarded: visitor.forwarded,
                    id,
                    framing,
                    when_full: config.when_full,
                    greeting,
                    permit,
                };
                let queue = edge.queue_of(&adoption.id);
                return queue.push(ShardCommand::Adopt(Box::new(adoption)));
            }
        },
    };
    refuse(&edge, stream, refusal).await;
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
        let trust = &edge.config().trusted_proxies;
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
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
) -> Option<Result<Head, Refusal>> {
    if visitor.has_proxy_header {
        match read_proxy_header(stream, buffer).await? {
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
    let read = read_head(stream, buffer, edge.config().head_bytes_max).await;
    read.transpose()
}

/// The client's address, if the proxy has one to tell; `None` when the proxy is gone. What comes
/// behind the header stays in `buffer`.
async fn read_proxy_header(
    stream: &mut TcpStream,
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
        buffer.reserve(1024);
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// Reads until the head is complete; `None` when the client is gone. The head stays in `buffer`.
async fn read_head(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
    bytes_max: usize,
) -> Result<Option<Head>, Refusal> {
    // Parsing begins anew each time. It is tried when the head may be complete, and else only when
    // twice as much has come: a client that sends byte by byte costs no more than one that does
    // not.
    let mut tried_bytes = 0;
    loop {
        let is_complete = memchr::memmem::find(buffer, b"\n\r\n").is_some()
            || memchr::memmem::find(buffer, b"\n\n").is_some();
        if is_complete || buffer.len() >= 2 * tried_bytes || buffer.len() > bytes_max {
            tried_bytes = buffer.len();
            match head::parse(buffer)? {
                Some(head) if head.length <= bytes_max => return Ok(Some(head)),
                Some(_) => return Err(Refusal::HeadTooLarge),
                None if buffer.len() > bytes_max => return Err(Refusal::HeadTooLarge),
                None => {}
            }
        }
        buffer.reserve(1024);
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
    }
}

async fn refuse(edge: &Edge, mut stream: TcpStream, refusal: Refusal) {
    edge.metrics().refused.of(refusal.label()).increment();
    let farewell = async {
        stream.write_all(&refusal.answer()).await?;
        stream.shutdown().await?;
        let mut rest = (&mut stream).take(LINGER_BYTES_MAX as u64);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // Whether the client reads its refusal is its own affair.
    let _ = timeout(LINGER, farewell).await;
}
