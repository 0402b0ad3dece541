//! A connection while its request is read: a socket on tokio, plain or TLS.
//!
//! Whoever reads or writes here does not see which. The handshake happens within the first read,
//! and so under the deadline of the head.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::edge::shard::session::{Misspoken, Peer, Session};

/// Bytes that are read from a socket at once: a request has about a thousand, a TLS greeting two.
pub(in crate::edge) const READ_BYTES: usize = 2048;

/// The connection.
pub(in crate::edge) struct Line {
    stream: TcpStream,
    session: Option<Box<Session>>,
    /// Bytes of TLS that were read with a proxy's header.
    ahead: BytesMut,
}

/// Why nothing can be read.
pub(in crate::edge) enum Broken {
    /// The client is gone.
    Gone,
    /// The client does not speak TLS as we do.
    Tls(Misspoken),
}

impl Line {
    pub(in crate::edge) fn new(stream: TcpStream) -> Line {
        Line {
            stream,
            session: None,
            ahead: BytesMut::new(),
        }
    }

    /// From here on it is TLS; `ahead` has been read already.
    pub(in crate::edge) fn secure(&mut self, session: Box<Session>, ahead: BytesMut) {
        self.session = Some(session);
        self.ahead = ahead;
    }

    /// Reads more into `buffer`: at least a byte, and about `room` at most. While nothing comes no room
    /// is kept for it. Dropped before its end it has read nothing.
    pub(in crate::edge) async fn read(
        &mut self,
        buffer: &mut BytesMut,
        room: usize,
    ) -> Result<(), Broken> {
        let Some(session) = &mut self.session else {
            return read(&self.stream, buffer, room).await;
        };
        let (mut plain, mut outgoing) = (Vec::new(), Vec::new());
        while plain.is_empty() {
            if self.ahead.is_empty() {
                read(&self.stream, &mut self.ahead, room).await?;
            }
            let received = session.receive(&self.ahead.split(), &mut plain, &mut outgoing);
            let written = self.stream.write_all(&outgoing).await;
            outgoing.clear();
            let peer = received.map_err(Broken::Tls)?;
            if written.is_err() || plain.is_empty() && peer == Peer::Closed {
                return Err(Broken::Gone);
            }
        }
        buffer.extend_from_slice(&plain);
        Ok(())
    }

    /// Waits until the client has left, without taking anything of what it says: one that says more
    /// before it leaves is not seen to leave.
    pub(in crate::edge) async fn gone(&self) {
        if let Ok(1..) = self.stream.peek(&mut [0]).await {
            std::future::pending().await
        }
    }

    pub(in crate::edge) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(session) = &mut self.session else {
            return self.stream.write_all(bytes).await;
        };
        let mut outgoing = Vec::new();
        session
            .encrypt(bytes, &mut outgoing)
            .map_err(io::Error::other)?;
        self.stream.write_all(&outgoing).await
    }

    /// Says that nothing more will be said, and reads at most `bytes_max` of what the client still
    /// says, without looking at it.
    pub(in crate::edge) async fn finish(&mut self, bytes_max: usize) -> io::Result<()> {
        if let Some(session) = &mut self.session {
            let mut outgoing = Vec::new();
            session.goodbye(&mut outgoing);
            self.stream.write_all(&outgoing).await?;
        }
        self.stream.shutdown().await?;
        let mut rest = (&mut self.stream).take(bytes_max as u64);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
        Ok(())
    }

    /// Leaves tokio.
    pub(in crate::edge) fn into_parts(
        self,
    ) -> io::Result<(std::net::TcpStream, Option<Box<Session>>)> {
        Ok((self.stream.into_std()?, self.session))
    }
}

async fn read(stream: &TcpStream, buffer: &mut BytesMut, room: usize) -> Result<(), Broken> {
    loop {
        stream.readable().await.map_err(|_| Broken::Gone)?;
        buffer.reserve(room);
        match stream.try_read_buf(buffer) {
            Ok(1..) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => return Err(Broken::Gone),
        }
    }
}
