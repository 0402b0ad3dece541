//! One connection from its accept to where it belongs: a stream to the shard of its id, an ordinary
//! request to hyper, the rest a refusal.
//!
//! A connection is a tokio task only until its head is read, under a deadline and a size limit.
//! Nothing here is kept for a held stream, and no request is read after the first: streams never
//! end in a second request, and ordinary answers close.

use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::head::{self, Head};
use super::listener::Visitor;
use super::queue::{Adoption, ShardCommand};
use super::refusal::Refusal;
use super::route::{Route, route};
use super::{Edge, demo, greeting};

/// After a refusal, how long and how much is still read, so that the kernel does not answer
/// unread bytes with a reset that destroys the refusal on its way.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 64 * 1024;

/// Reads the request and answers it, or hands it on.
pub(super) async fn serve(edge: Edge, visitor: Visitor) {
    let Visitor {
        stream,
        head: reading_head,
        guest,
    } = visitor;
    let Ok(mut stream) = TcpStream::from_std(stream) else {
        return;
    };
    let mut buffer = BytesMut::new();
    let config = edge.config();
    let reading = read_head(&mut stream, &mut buffer, config.head_bytes_max);
    let refusal = match timeout(config.head_timeout, reading).await {
        Err(_) => Refusal::Timeout,
        Ok(Ok(None)) => return,
        Ok(Err(refusal)) => refusal,
        Ok(Ok(Some(head))) => match route(&head, config.demo) {
            Err(refusal) => refusal,
            Ok(Route::Demo) => {
                drop(reading_head);
                return demo::serve(&edge, buffer.freeze(), stream).await;
            }
            Ok(Route::Stream { id, framing }) => {
                let Some(permit) = edge.permits().acquire(guest) else {
                    return refuse(&edge, stream, Refusal::CONNECTIONS).await;
                };
                let Ok(socket) = stream.into_std() else {
                    return;
                };
                let greeting =
                    greeting::greeting(framing, config.retry, fastrand::f64(), SystemTime::now());
                let adoption = Adoption {
                    socket,
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
        buffer.reserve(1024);
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
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
