//! Accepts HTTP connections, reads each request's head under a deadline, and sends it where it
//! belongs: a stream to the shard of its id, an ordinary request to hyper, the rest a refusal.
//!
//! A connection is a tokio task only until its head is read. Nothing here is kept for a held
//! stream, and no request is read after the first: streams never end in a second request, and
//! ordinary answers close.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::head::{self, Head};
use super::queue::{Adoption, ShardCommand};
use super::refusal::Refusal;
use super::route::{Route, route};
use super::{Edge, Error, demo, greeting};

/// How long a listener waits when the process is out of open files: long enough not to spin,
/// short enough that a freed descriptor is used before a client's patience ends.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections the kernel may complete ahead of us; it caps this at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// After a refusal, how long and how much is still read, so that the kernel does not answer
/// unread bytes with a reset that destroys the refusal on its way.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 64 * 1024;

/// Binds one address.
pub(super) fn bind(
    address: SocketAddr,
    client_timeout: Option<Duration>,
) -> Result<TcpListener, Error> {
    let bind = || {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM.nonblocking(),
            Some(socket2::Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        // Accepted sockets inherit these on Linux: some calls a listener, not a connection.
        socket.set_tcp_nodelay(true)?;
        find_vanished(&socket, client_timeout)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    bind().map_err(|source| Error::Bind { address, source })
}

/// Has the kernel end connections whose client has vanished without a word. What was sent and is not
/// acknowledged in time ends them; keepalive probes are for those to whom nothing is sent, because
/// heartbeats are off or rare. They wait twice as long, so that frequent heartbeats leave them
/// nothing to do.
fn find_vanished(socket: &socket2::Socket, after: Option<Duration>) -> std::io::Result<()> {
    let Some(after) = after else {
        return socket.set_keepalive(true);
    };
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(after))?;
    let second = Duration::from_secs(1);
    let keepalive = socket2::TcpKeepalive::new()
        .with_time((2 * after).max(second))
        .with_interval((after / 3).max(second));
    socket.set_tcp_keepalive(&keepalive)
}

/// Accepts until told to stop.
pub(super) async fn run(edge: Edge, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let heads = Arc::new(Semaphore::new(edge.config().heads_max));
    let mut is_paused = false;
    loop {
        let permit = match Arc::clone(&heads).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                edge.metrics().accept_pauses.increment();
                tokio::select! {
                    permit = Arc::clone(&heads).acquire_owned() => {
                        permit.expect("the semaphore is never closed")
                    }
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            // Of two that are ready either is taken, and whoever comes after the stop is too late.
            Ok(_) if *stop.borrow() => return,
            Ok((stream, _)) => {
                is_paused = false;
                edge.metrics().accepted.increment();
                tokio::spawn(serve(edge.clone(), stream, permit));
            }
            Err(error) if is_exhaustion(&error) => {
                edge.metrics().accept_pauses.increment();
                if !std::mem::replace(&mut is_paused, true) {
                    tracing::warn!(%error, "cannot accept: raise the limit (ulimit -n) or lower \
                        http.connections_max; accepting goes on when something is freed");
                }
                tokio::time::sleep(PAUSE).await;
            }
            // The client gave up before it was accepted: nothing to do.
            Err(_) => {}
        }
    }
}

fn is_exhaustion(error: &std::io::Error) -> bool {
    // EMFILE, ENFILE, ENOBUFS, ENOMEM (Linux numbers; elsewhere they retry at once).
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12))
}

async fn serve(edge: Edge, mut stream: TcpStream, heads: OwnedSemaphorePermit) {
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
                drop(heads);
                return demo::serve(&edge, buffer.freeze(), stream).await;
            }
            Ok(Route::Stream { id, framing }) => {
                let Some(permit) = edge.permits().acquire() else {
                    return refuse(&edge, stream, Refusal::Unavailable("too many connections"))
                        .await;
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
