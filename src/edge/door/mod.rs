//! The listening socket: bound, with the options that accepted sockets inherit, and accepting.
//!
//! It decides nothing about who may come in. Accepted sockets are not known to any poller yet, so
//! that one which is refused costs neither a registration nor a task. A Unix socket travels on as a
//! `TcpStream`, too: all that is asked of it (read, write, shut down, poll) is the same call on
//! either, asking for its peer is an error, and a slot stays four bytes.

pub(in crate::edge) mod addresses;
pub(in crate::edge) mod farewell;
pub(in crate::edge) mod listen;
pub(in crate::edge) mod listener;
pub(in crate::edge) mod origin;
mod pace;
pub(in crate::edge) mod permit;
pub(in crate::edge) mod proxy;
mod socket_file;
pub(in crate::edge) mod tls;

use std::fs::Permissions;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::unix::AsyncFd;

use self::listen::{Address, Listen};
use self::socket_file::SocketFile;
use self::tls::{Tls, TlsRules};
use super::Error;

/// Connections the kernel may complete ahead of us; it caps this at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A bound listener.
#[derive(Debug)]
pub(in crate::edge) struct Door {
    listener: AsyncFd<Listener>,
    address: Address,
    has_proxy_protocol: bool,
    tls: Option<Tls>,
}

#[derive(Debug)]
enum Listener {
    Tcp(mio::net::TcpListener),
    Unix {
        listener: mio::net::UnixListener,
        /// Removed with the listener.
        _file: SocketFile,
    },
}

impl Door {
    /// Call it inside a tokio runtime.
    pub(in crate::edge) fn open(
        listen: &Listen,
        client_timeout: Option<Duration>,
    ) -> Result<Door, Error> {
        let opened = match &listen.address {
            Address::Tcp(address) => bind_tcp(*address, client_timeout),
            Address::Unix(path) => bind_unix(path, listen.unix_mode),
        };
        let opened = opened.and_then(|(listener, address)| {
            #[expect(
                deprecated,
                reason = "its successor is unsafe for types whose descriptor may change; mio's does not"
            )]
            let listener = AsyncFd::new(listener)?;
            Ok(Door {
                listener,
                address,
                has_proxy_protocol: listen.proxy_protocol,
                tls: listen.tls.clone(),
            })
        });
        opened.map_err(|source| Error::Bind {
            address: listen.address.clone(),
            source,
        })
    }

    /// Where it is, with the port that was chosen.
    pub(in crate::edge) fn address(&self) -> &Address {
        &self.address
    }

    /// Whether connections begin with a header of the PROXY protocol.
    pub(in crate::edge) fn has_proxy_protocol(&self) -> bool {
        self.has_proxy_protocol
    }

    /// What TLS needs, where it is spoken.
    pub(in crate::edge) fn tls(&self) -> Option<TlsRules> {
        self.tls.as_ref().map(Tls::config)
    }

    /// The next connection, not blocking, and its address; a Unix socket has none.
    pub(in crate::edge) async fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        loop {
            let mut ready = self.listener.readable().await?;
            if let Ok(accepted) = ready.try_io(|listener| listener.get_ref().accept()) {
                return accepted;
            }
        }
    }

    /// The same if one is there; an error of the kind `WouldBlock` when none is.
    pub(in crate::edge) fn try_accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        self.listener
            .try_io(tokio::io::Interest::READABLE, Listener::accept)
    }
}

impl Listener {
    fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        match self {
            Listener::Tcp(listener) => {
                let (socket, peer) = listener.accept()?;
                Ok((socket.into(), Some(peer)))
            }
            Listener::Unix { listener, .. } => {
                let (socket, _) = listener.accept()?;
                Ok((OwnedFd::from(socket).into(), None))
            }
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Listener::Tcp(listener) => listener.as_raw_fd(),
            Listener::Unix { listener, .. } => listener.as_raw_fd(),
        }
    }
}

fn bind_tcp(
    address: SocketAddr,
    client_timeout: Option<Duration>,
) -> io::Result<(Listener, Address)> {
    let kind = Type::STREAM.nonblocking();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit these on Linux: some calls a listener, not a connection.
    socket.set_tcp_nodelay(true)?;
    find_vanished(&socket, client_timeout)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = mio::net::TcpListener::from_std(socket.into());
    let address = Address::Tcp(listener.local_addr()?);
    Ok((Listener::Tcp(listener), address))
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<(Listener, Address)> {
    let file = SocketFile::make_room(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = file.made()?;
    // Nobody can connect before it listens, so nobody comes in by another mode.
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    let listener = Listener::Unix {
        listener: mio::net::UnixListener::from_std(socket.into()),
        _file: file,
    };
    Ok((listener, Address::Unix(path.to_owned())))
}

/// Has the kernel end connections whose client has vanished without a word. What was sent and is not
/// acknowledged in time ends them; keepalive probes are for those to whom nothing is sent, because
/// heartbeats are off or rare. They wait twice as long, so that frequent heartbeats leave them
/// nothing to do.
fn find_vanished(socket: &Socket, after: Option<Duration>) -> io::Result<()> {
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
