//! Opening one socket, from a chosen local address, without waiting; and how many may be opened.
//!
//! It knows nothing of HTTP, and does not retry.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

use super::Error;

/// Descriptors that are no streams: the standard three, the poller, the stop sockets, files.
const OTHER_FILES: u64 = 32;

/// Below what Linux gives at least (2,304 bytes); it gives that.
const SMALL_BUFFER_BYTES: usize = 1024;

/// Why no connection could be begun.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Another port of the same address may do.
    PortTaken(io::Error),
    Other(io::Error),
}

impl Refusal {
    pub(super) fn into_error(self) -> io::Error {
        match self {
            Self::PortTaken(error) | Self::Other(error) => error,
        }
    }
}

/// Begins to connect, with as little receive buffer as possible if it shall be `small`; the socket
/// becomes writable when it did or failed.
pub(super) fn connect(
    target: SocketAddr,
    source: Option<SocketAddr>,
    small: bool,
) -> Result<mio::net::TcpStream, Refusal> {
    let socket = nonblocking(target).map_err(Refusal::Other)?;
    if small {
        // Before connecting: the window that is offered then stays small.
        let sized = socket.set_recv_buffer_size(SMALL_BUFFER_BYTES);
        sized.map_err(Refusal::Other)?;
    }
    if let Some(source) = source {
        // Ports of an earlier run may linger in TIME_WAIT; bind would not take them.
        socket.set_reuse_address(true).map_err(Refusal::Other)?;
        socket
            .bind(&source.into())
            .map_err(|error| match error.kind() {
                io::ErrorKind::AddrInUse => Refusal::PortTaken(error),
                _ => Refusal::Other(error),
            })?;
    }
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        // The pair of addresses and ports is in use, or was a moment ago.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            return Err(Refusal::PortTaken(error));
        }
        Err(error) => return Err(Refusal::Other(error)),
    }
    Ok(mio::net::TcpStream::from_std(socket.into()))
}

fn nonblocking(target: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(target);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Raises the soft limit of open files to the hard one and refuses more connections than fit.
pub(super) fn make_room(connections: u32) -> Result<(), Error> {
    let limit = rlimit::increase_nofile_limit(u64::MAX).map_err(Error::Limit)?;
    let needed = u64::from(connections) + OTHER_FILES;
    if needed > limit {
        return Err(Error::OpenFiles {
            connections,
            needed,
            limit,
            fitting: limit.saturating_sub(OTHER_FILES),
        });
    }
    Ok(())
}

/// What the user can do about a failure to connect, where it is not plain from its name.
pub(super) fn advice(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            Some("a local address has run out of ports: add --source-addresses or --sources")
        }
        io::ErrorKind::AddrNotAvailable => Some("is every one of --sources an address of ours?"),
        io::ErrorKind::ConnectionRefused => Some("is the node running and listening there?"),
        _ => None,
    }
}
