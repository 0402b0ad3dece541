//! The connections that are written to: accepted, answered, and in an array.
//!
//! Who connects is our own client, so a request is read until it ends and believed.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::phase::{Clock, Cost};

/// The client opens 256 at a time.
const BACKLOG: i32 = 1024;

/// More than our client's request.
const REQUEST_BYTES: usize = 1024;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// By id: that of `sockets[i]` is `ids[i]`.
pub(super) struct Streams {
    sockets: Vec<TcpStream>,
    ids: Vec<u64>,
}

/// Who is to connect, and what it then says, is waited for so long.
pub(super) fn listen(patience: Duration) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // For accepting as well, and for the sockets that are accepted.
    socket.set_read_timeout(Some(patience))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Streams {
    /// Accepts and answers so many; the time counts from the first.
    pub(super) fn accept(listener: &TcpListener, connections: u32) -> io::Result<(Self, Cost)> {
        let mut streams = Self {
            sockets: Vec::new(),
            ids: Vec::new(),
        };
        let mut clock = None;
        for _ in 0..connections {
            let (mut socket, _) = listener.accept().map_err(in_time)?;
            clock.get_or_insert_with(Clock::start);
            streams.ids.push(read_id(&mut socket).map_err(in_time)?);
            socket.write_all(ANSWER)?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            streams.sockets.push(socket);
        }
        let clock = clock.unwrap_or_else(Clock::start);
        Ok((streams, clock.cost(u64::from(connections), 0)))
    }

    pub(super) fn len(&self) -> usize {
        self.sockets.len()
    }

    pub(super) fn id(&self, at: usize) -> u64 {
        self.ids[at]
    }

    /// One `write(2)`; false when the socket is full.
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) -> io::Result<bool> {
        match self.sockets[at].write(bytes) {
            Ok(written) if written == bytes.len() => Ok(true),
            // The rest would have to wait for room, which is a queue, which we do not have.
            Ok(_) => Err(io::Error::other("a socket took a part of a message")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Says what the kernel calls "try again".
fn in_time(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            let text = "our own client did not connect, or asked for nothing, in time";
            io::Error::new(io::ErrorKind::TimedOut, text)
        }
        _ => error,
    }
}

/// The number in `GET /7 HTTP/1.1`.
fn read_id(socket: &mut TcpStream) -> io::Result<u64> {
    let mut request = [0; REQUEST_BYTES];
    let mut read = 0;
    while !request[..read].ends_with(b"\r\n\r\n") {
        match socket.read(&mut request[read..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => read += more,
        }
    }
    let line = request[..read].strip_prefix(b"GET /").unwrap_or_default();
    let digits = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    let id = std::str::from_utf8(digits)
        .ok()
        .and_then(|id| id.parse().ok());
    id.ok_or_else(|| io::Error::other("a request without an id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_does_not_come_or_asks_for_nothing_is_not_waited_for_forever() {
        let listener = listen(Duration::from_millis(10)).unwrap();
        let accepted = || Streams::accept(&listener, 1).map(|_| ()).unwrap_err();
        assert_eq!(accepted().kind(), io::ErrorKind::TimedOut);
        let _silent = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(accepted().kind(), io::ErrorKind::TimedOut);
    }
}
