//! What a link reads and writes: a plain socket, or TLS over one.
//!
//! The threads of a link share one TLS connection, and neither waits for the other's socket: the
//! lock is held only while bytes in memory are encrypted or decrypted (64 KiB in well below a
//! millisecond). The reader reads the socket before it takes the lock, the writer writes it after it
//! has let go; only the writer takes ciphertext out, so records go out in the order in which they
//! were made. What TLS itself has to say meanwhile goes with the writer's next bytes, at the latest
//! with the next tick.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_rustls::rustls::Connection;
use tokio_rustls::{client, server};

/// What one call of `read` may bring from the socket: as much as a link reads at once.
const READ_BYTES_MAX: usize = 64 * 1024;

/// A stream after its handshake, on its way from tokio to the threads of a link.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(TcpStream, Box<Connection>),
}

/// For the reading thread.
pub(super) enum ReadHalf {
    Plain(TcpStream),
    Tls(TlsReader),
}

/// For the writing thread.
pub(super) enum WriteHalf {
    Plain(TcpStream),
    Tls(TlsWriter),
}

/// The streams that handshakes are held on.
pub(crate) trait IntoStream {
    fn into_stream(self) -> io::Result<Stream>;
}

impl IntoStream for tokio::net::TcpStream {
    fn into_stream(self) -> io::Result<Stream> {
        self.into_std().map(Stream::Plain)
    }
}

impl IntoStream for client::TlsStream<tokio::net::TcpStream> {
    fn into_stream(self) -> io::Result<Stream> {
        let (tcp, connection) = self.into_inner();
        Ok(Stream::Tls(tcp.into_std()?, Box::new(connection.into())))
    }
}

impl IntoStream for server::TlsStream<tokio::net::TcpStream> {
    fn into_stream(self) -> io::Result<Stream> {
        let (tcp, connection) = self.into_inner();
        Ok(Stream::Tls(tcp.into_std()?, Box::new(connection.into())))
    }
}

impl Stream {
    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(socket) | Stream::Tls(socket, _) => socket,
        }
    }

    pub(super) fn split(self) -> io::Result<(ReadHalf, WriteHalf)> {
        match self {
            Stream::Plain(socket) => {
                let other = socket.try_clone()?;
                Ok((ReadHalf::Plain(socket), WriteHalf::Plain(other)))
            }
            Stream::Tls(socket, connection) => {
                let other = socket.try_clone()?;
                let shared = Arc::new(Mutex::new(*connection));
                let reader = TlsReader {
                    socket,
                    shared: Arc::clone(&shared),
                    ciphertext: vec![0; READ_BYTES_MAX],
                    rest: 0..0,
                };
                let writer = TlsWriter {
                    socket: other,
                    shared,
                    ciphertext: Vec::new(),
                };
                Ok((ReadHalf::Tls(reader), WriteHalf::Tls(writer)))
            }
        }
    }
}

impl Read for ReadHalf {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            ReadHalf::Plain(socket) => socket.read(out),
            ReadHalf::Tls(reader) => reader.read(out),
        }
    }
}

impl Write for WriteHalf {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            WriteHalf::Plain(socket) => socket.write(bytes),
            WriteHalf::Tls(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WriteHalf {
    /// Says that nothing more comes, where the stream has a way to say so.
    pub(super) fn goodbye(&mut self) {
        if let WriteHalf::Tls(writer) = self {
            lock(&writer.shared).send_close_notify();
            // The link ends anyway.
            let _ = writer.write(&[]);
        }
    }
}

pub(super) struct TlsReader {
    socket: TcpStream,
    shared: Arc<Mutex<Connection>>,
    ciphertext: Vec<u8>,
    /// Of `ciphertext`: what has been read and not yet decrypted.
    rest: std::ops::Range<usize>,
}

impl TlsReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            // First what is there: the handshake may have left some.
            if let Some(count) = self.decrypt(out)? {
                return Ok(count);
            }
            let count = self.socket.read(&mut self.ciphertext)?;
            if count == 0 {
                return Ok(0);
            }
            self.rest = 0..count;
        }
    }

    /// `None`: more ciphertext is needed.
    fn decrypt(&mut self, out: &mut [u8]) -> io::Result<Option<usize>> {
        let mut connection = lock(&self.shared);
        let mut filled = 0;
        while filled < out.len() {
            match connection.reader().read(&mut out[filled..]) {
                // The peer has said goodbye.
                Ok(0) => return Ok(Some(filled)),
                Ok(count) => {
                    filled += count;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if self.rest.is_empty() {
                return Ok((filled > 0).then_some(filled));
            }
            let taken = connection.read_tls(&mut &self.ciphertext[self.rest.clone()])?;
            self.rest.start += taken;
            connection
                .process_new_packets()
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
        Ok(Some(filled))
    }
}

pub(super) struct TlsWriter {
    socket: TcpStream,
    shared: Arc<Mutex<Connection>>,
    ciphertext: Vec<u8>,
}

impl TlsWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.ciphertext.clear();
        let mut connection = lock(&self.shared);
        // Takes at most what the connection buffers, 64 KiB; the caller brings the rest again.
        let count = connection.writer().write(bytes)?;
        while connection.wants_write() {
            connection.write_tls(&mut self.ciphertext)?;
        }
        drop(connection);
        self.socket.write_all(&self.ciphertext)?;
        Ok(count)
    }
}

fn lock(shared: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    // A panic inside would be one of rustls; the link ends with the thread that had it.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::dist::tls::Tls;

    const BUFFER_BYTES: u32 = 64 * 1024;

    /// Two ends of a TLS connection over loopback.
    fn pair() -> (Stream, Stream) {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (pem, private) = (folder.path().join("pem"), folder.path().join("key"));
        std::fs::write(&pem, certificate.pem()).unwrap();
        std::fs::write(&private, key.serialize_pem()).unwrap();
        let tls = Tls::load(&pem, &private, &pem).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let listening = socket();
            listening.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let listener = listening.listen(1).unwrap();
            let address = listener.local_addr().unwrap();
            let peer = "peer@127.0.0.1".parse().unwrap();
            let dialled = async {
                let tcp = socket().connect(address).await.unwrap();
                tls.connect(tcp, &peer).await.unwrap().into_stream()
            };
            let accepted = async {
                let (tcp, _) = listener.accept().await.unwrap();
                tls.accept(tcp).await.unwrap().into_stream()
            };
            let (dialled, accepted) = tokio::join!(dialled, accepted);
            (dialled.unwrap(), accepted.unwrap())
        })
    }

    /// With buffers that hold the same on every system. Accepted sockets have their listener's.
    fn socket() -> tokio::net::TcpSocket {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(BUFFER_BYTES).unwrap();
        socket.set_send_buffer_size(BUFFER_BYTES).unwrap();
        socket
    }

    #[test]
    fn reading_goes_on_while_writing_is_stuck() {
        // Far more than the buffers of two sockets hold.
        const BYTES: usize = 16 * 1024 * 1024;
        let (ours, theirs) = pair();
        for stream in [&ours, &theirs] {
            stream.socket().set_nonblocking(false).unwrap();
        }
        let (mut our_reader, mut our_writer) = ours.split().unwrap();
        let (mut their_reader, mut their_writer) = theirs.split().unwrap();
        let stuck = thread::spawn(move || {
            our_writer.write_all(&vec![1; BYTES]).unwrap();
            our_writer.goodbye();
        });
        let wrote = thread::spawn(move || {
            their_writer.write_all(&vec![2; BYTES]).unwrap();
            their_writer.goodbye();
        });
        // Nobody reads what we write, yet all that they write arrives.
        let mut received = Vec::new();
        our_reader.read_to_end(&mut received).unwrap();
        assert!(received.len() == BYTES && received.iter().all(|byte| *byte == 2));
        wrote.join().unwrap();
        assert!(!stuck.is_finished());
        received.clear();
        their_reader.read_to_end(&mut received).unwrap();
        assert!(received.len() == BYTES && received.iter().all(|byte| *byte == 1));
        stuck.join().unwrap();
    }
}
