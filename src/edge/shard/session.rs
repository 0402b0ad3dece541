//! One connection's TLS: from the bytes of its socket to plain ones and back.
//!
//! Sans-IO, and almost without buffers: an idle session keeps its keys and nothing else. It keeps
//! part of a record that has not come whole (at most 16 KiB, the size of one), and records that the
//! socket has not taken. Spec: RFC 8446 and RFC 5246, by `rustls`.

use std::fmt;
use std::io::{self, ErrorKind, Write};

use tokio_rustls::rustls::server::UnbufferedServerConnection;
use tokio_rustls::rustls::unbuffered::{
    AppDataRecord, ConnectionState, EncodeError, EncryptError, InsufficientSizeError,
    UnbufferedStatus,
};

use crate::edge::door::tls::TlsRules;

/// Plain bytes that become records at once: four full ones.
const CHUNK: usize = 64 * 1024;

/// Room for a record or a message of the handshake that does not say beforehand how long it is.
const ROOM: usize = 1024;

/// The peer does not speak TLS as we do; the reason is rustls's own text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(in crate::edge) struct Misspoken(String);

/// Whether the client will say more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Peer {
    /// As far as is known.
    Open,
    /// It has said that it will not.
    Closed,
}

/// The TLS of one connection.
pub(in crate::edge) struct Session {
    connection: UnbufferedServerConnection,
    /// The beginning of a record, or of the handshake's next message.
    incoming: Vec<u8>,
    /// Records that the socket has not taken.
    unsent: Vec<u8>,
    /// The last byte of what was written is in a record of `unsent`, and not yet told as written.
    owes: bool,
    /// The client misspoke, and has been told: nothing more is said or heard.
    is_over: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys are nobody's affair.
        f.write_str("Session(..)")
    }
}

impl Session {
    pub(in crate::edge) fn new(rules: TlsRules) -> Option<Box<Session>> {
        let connection = UnbufferedServerConnection::new(rules).ok()?;
        Some(Box::new(Session {
            connection,
            incoming: Vec::new(),
            unsent: Vec::new(),
            owes: false,
            is_over: false,
        }))
    }

    /// Takes what came from the socket. What it says goes to `plain`, what must be answered to
    /// `outgoing`, also when it is an error.
    pub(in crate::edge) fn receive(
        &mut self,
        bytes: &[u8],
        plain: &mut Vec<u8>,
        outgoing: &mut Vec<u8>,
    ) -> Result<Peer, Misspoken> {
        self.incoming.extend_from_slice(bytes);
        let received = self.advance(&[], plain, outgoing);
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
        received
    }

    /// Makes records of `plain`.
    pub(in crate::edge) fn encrypt(
        &mut self,
        plain: &[u8],
        outgoing: &mut Vec<u8>,
    ) -> Result<(), Misspoken> {
        for chunk in plain.chunks(CHUNK) {
            self.advance(chunk, &mut Vec::new(), outgoing)?;
        }
        Ok(())
    }

    /// The record that says that no more will be said.
    pub(in crate::edge) fn goodbye(&mut self, outgoing: &mut Vec<u8>) {
        if self.is_over {
            return;
        }
        let UnbufferedStatus { state, .. } =
            self.connection.process_tls_records(&mut self.incoming);
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = state {
            let _ = with_room(outgoing, |room| match traffic.queue_close_notify(room) {
                Err(EncryptError::InsufficientSize(size)) => Err(Some(size)),
                Err(_) => Err(None),
                Ok(written) => Ok(written),
            });
        }
    }

    /// Writes through to a socket that does not block, and answers how many bytes of `plain` are
    /// with it for good. Of bytes that are in a record which the socket has not taken whole, the
    /// last one is not told before it has: who is told that all is written may close.
    pub(in crate::edge) fn write(
        &mut self,
        mut plain: &[u8],
        socket: &mut impl Write,
        outgoing: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let mut told = 0;
        if !self.unsent.is_empty() {
            let taken = write_what_fits(socket, &self.unsent)?;
            self.unsent.drain(..taken);
            if !self.unsent.is_empty() {
                return Ok(0);
            }
            self.unsent = Vec::new();
        }
        if std::mem::take(&mut self.owes) {
            plain = plain.get(1..).unwrap_or_default();
            told = 1;
        }
        for chunk in plain.chunks(CHUNK) {
            outgoing.clear();
            self.encrypt(chunk, outgoing).map_err(io::Error::other)?;
            let taken = write_what_fits(socket, outgoing)?;
            told += chunk.len();
            if taken < outgoing.len() {
                self.unsent = outgoing[taken..].to_vec();
                self.owes = true;
                return Ok(told - 1);
            }
        }
        Ok(told)
    }

    /// Writes what is no part of a message: an answer of the protocol itself.
    pub(in crate::edge) fn write_aside(&mut self, outgoing: &[u8], socket: &mut impl Write) {
        let taken = match self.unsent.is_empty() {
            true => write_what_fits(socket, outgoing).unwrap_or(0),
            false => 0,
        };
        // rustls bounds what a peer can make it answer.
        self.unsent.extend_from_slice(&outgoing[taken..]);
    }

    fn advance(
        &mut self,
        to_encrypt: &[u8],
        plain: &mut Vec<u8>,
        outgoing: &mut Vec<u8>,
    ) -> Result<Peer, Misspoken> {
        if self.is_over {
            return Err(Misspoken("it is over".into()));
        }
        let advanced = self.step(to_encrypt, plain, outgoing);
        if advanced.is_err() {
            // What is left to be said is the alert that tells why. What was misspoken must not be
            // heard again: rustls asserts that it is not.
            self.incoming.clear();
            let _ = self.step(&[], plain, outgoing);
            self.is_over = true;
        }
        advanced
    }

    fn step(
        &mut self,
        mut to_encrypt: &[u8],
        plain: &mut Vec<u8>,
        outgoing: &mut Vec<u8>,
    ) -> Result<Peer, Misspoken> {
        let misspoken = |error: &dyn std::error::Error| Misspoken(error.to_string());
        loop {
            let status = self.connection.process_tls_records(&mut self.incoming);
            let UnbufferedStatus { mut discard, state } = status;
            let done = match state.map_err(|error| misspoken(&error))? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let AppDataRecord {
                            discard: read,
                            payload,
                            ..
                        } = record.map_err(|error| misspoken(&error))?;
                        discard += read;
                        plain.extend_from_slice(payload);
                    }
                    None
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    let encoded = with_room(outgoing, |room| match data.encode(room) {
                        Err(EncodeError::InsufficientSize(size)) => Err(Some(size)),
                        Err(EncodeError::AlreadyEncoded) => Err(None),
                        Ok(written) => Ok(written),
                    });
                    encoded.map_err(|()| Misspoken("it was encoded already".into()))?;
                    None
                }
                ConnectionState::TransmitTlsData(data) => {
                    // It is in `outgoing`, and what comes next will be behind it.
                    data.done();
                    None
                }
                ConnectionState::WriteTraffic(mut traffic) if !to_encrypt.is_empty() => {
                    let chunk = std::mem::take(&mut to_encrypt);
                    let sealed = with_room(outgoing, |room| match traffic.encrypt(chunk, room) {
                        Err(EncryptError::InsufficientSize(size)) => Err(Some(size)),
                        Err(EncryptError::EncryptExhausted) => Err(None),
                        Ok(written) => Ok(written),
                    });
                    sealed.map_err(|()| Misspoken("the keys are worn out".into()))?;
                    None
                }
                ConnectionState::PeerClosed | ConnectionState::Closed => Some(Peer::Closed),
                // Blocked, or idle: more has to come. Early data is never allowed.
                _ => Some(Peer::Open),
            };
            self.incoming.drain(..discard);
            if let Some(peer) = done {
                return Ok(peer);
            }
        }
    }
}

/// Has `encode` write behind `outgoing`, in as much room as it says that it needs.
fn with_room(
    outgoing: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
) -> Result<(), ()> {
    let end = outgoing.len();
    outgoing.resize(end + ROOM, 0);
    loop {
        match encode(&mut outgoing[end..]) {
            Ok(written) => {
                outgoing.truncate(end + written);
                return Ok(());
            }
            Err(Some(InsufficientSizeError { required_size, .. })) => {
                outgoing.resize(end + required_size, 0);
            }
            Err(None) => {
                outgoing.truncate(end);
                return Err(());
            }
        }
    }
}

/// How many bytes the socket takes without blocking.
fn write_what_fits(socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match socket.write(&bytes[written..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}
