//! The sockets of a shard's connections, by slot: the writing end that the hub is lent.
//!
//! Four bytes a connection, in blocks that go when their last socket goes, and a row in a table
//! beside for those that came through a proxy. Nothing is buffered here and nothing is decided: a
//! short write is the hub's affair, a failed one too.

use std::collections::HashMap;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::session::{Peer, Session};
use crate::hub;

/// Sockets of a block: 4 KiB, a page.
const BLOCK: usize = 1024;

/// Bytes that are read of a socket at once: as much as a TLS record holds.
const READ_BYTES: usize = 16 * 1024;

// mio keeps more where it checks itself.
const _: () = assert!(cfg!(debug_assertions) || size_of::<Option<TcpStream>>() == 4);

/// Sockets in their slots.
#[derive(Debug, Default)]
pub(in crate::edge) struct Sockets {
    blocks: Vec<Block>,
    /// Addresses of clients that came through a proxy; the others' are asked of their sockets.
    forwarded: HashMap<u32, SocketAddr>,
    /// The TLS of those that have any.
    sessions: HashMap<u32, Box<Session>>,
    /// Where records are made, for all of them.
    records: Vec<u8>,
    /// Where pieces that become records are put together.
    plain: Vec<u8>,
    /// Bytes written since the shard last asked.
    written: u64,
}

/// [`BLOCK`] places, or none while no socket is in it.
#[derive(Debug, Default)]
struct Block {
    sockets: Box<[Option<TcpStream>]>,
    held: usize,
}

impl Sockets {
    /// The slot has no socket; `session` is its TLS if it has any, `forwarded` is the client's address by a proxy's word.
    pub(in crate::edge) fn put(
        &mut self,
        slot: u32,
        socket: TcpStream,
        session: Option<Box<Session>>,
        forwarded: Option<SocketAddr>,
    ) {
        let (block, place) = place_of(slot);
        if self.blocks.len() <= block {
            self.blocks.resize_with(block + 1, Block::default);
        }
        let block = &mut self.blocks[block];
        if block.held == 0 {
            block.sockets = (0..BLOCK).map(|_| None).collect();
        }
        block.held += 1;
        block.sockets[place] = Some(socket);
        if let Some(client) = forwarded {
            self.forwarded.insert(slot, client);
        }
        if let Some(session) = session {
            self.sessions.insert(slot, session);
        }
    }

    /// The client's address; `None` when the socket is gone, or is a Unix socket.
    pub(in crate::edge) fn peer(&mut self, slot: u32) -> Option<SocketAddr> {
        let socket = self.get_mut(slot)?.peer_addr().ok();
        self.forwarded.get(&slot).copied().or(socket)
    }

    pub(in crate::edge) fn get_mut(&mut self, slot: u32) -> Option<&mut TcpStream> {
        let (block, place) = place_of(slot);
        let block = self.blocks.get_mut(block)?;
        block.sockets.get_mut(place)?.as_mut()
    }

    fn take(&mut self, slot: u32) -> Option<TcpStream> {
        let (block, place) = place_of(slot);
        let block = self.blocks.get_mut(block)?;
        let socket = block.sockets.get_mut(place)?.take()?;
        block.held -= 1;
        if block.held == 0 {
            *block = Block::default();
        }
        Some(socket)
    }

    /// Closes the sending half: the FIN goes out behind what was written. Answers the socket, which closes
    /// when it is dropped; if there are bytes then that nobody has read, or some come later, the client
    /// gets a reset, which can destroy what it has not read yet.
    pub(in crate::edge) fn close(&mut self, slot: u32, registry: &Registry) -> Option<TcpStream> {
        let mut socket = self.take(slot)?;
        remove(&mut self.forwarded, slot);
        if let Some(mut session) = remove(&mut self.sessions, slot) {
            self.records.clear();
            session.goodbye(&mut self.records);
            session.write_aside(&self.records, &mut socket);
        }
        let _ = registry.deregister(&mut socket);
        let _ = socket.shutdown(Shutdown::Write);
        Some(socket)
    }

    /// What the client says, without its TLS, at the beginning of `buffer`, which grows where that is
    /// needed; 0 at its end, `Interrupted` when it has said nothing yet, `InvalidData` when that is no
    /// TLS. `None` when the socket is gone.
    pub(in crate::edge) fn read(
        &mut self,
        slot: u32,
        buffer: &mut Vec<u8>,
    ) -> Option<io::Result<usize>> {
        if buffer.len() < READ_BYTES {
            buffer.resize(READ_BYTES, 0);
        }
        let socket = self.get_mut(slot)?;
        let read = match socket.read(buffer) {
            Ok(read @ 1..) if !self.sessions.is_empty() => read,
            other => return Some(other),
        };
        let Some(mut session) = self.sessions.remove(&slot) else {
            return Some(Ok(read));
        };
        let mut plain = std::mem::take(&mut self.plain);
        let mut outgoing = std::mem::take(&mut self.records);
        plain.clear();
        outgoing.clear();
        let received = session.receive(&buffer[..read], &mut plain, &mut outgoing);
        session.write_aside(&outgoing, self.get_mut(slot)?);
        self.sessions.insert(slot, session);
        if buffer.len() < plain.len() {
            buffer.resize(plain.len(), 0);
        }
        buffer[..plain.len()].copy_from_slice(&plain);
        let count = plain.len();
        self.plain = plain;
        self.records = outgoing;
        Some(match (received, count) {
            (Err(misspoken), _) => Err(io::Error::new(ErrorKind::InvalidData, misspoken)),
            (Ok(Peer::Open), 0) => Err(ErrorKind::Interrupted.into()),
            (Ok(_), count) => Ok(count),
        })
    }

    pub(in crate::edge) fn interest(
        &mut self,
        slot: u32,
        interest: Interest,
        registry: &Registry,
    ) -> bool {
        let Some(socket) = self.get_mut(slot) else {
            return true;
        };
        registry
            .reregister(socket, Token(slot as usize), interest)
            .is_ok()
    }

    /// Bytes written since the last call.
    pub(in crate::edge) fn take_written(&mut self) -> u64 {
        std::mem::take(&mut self.written)
    }

    /// Through its TLS.
    fn write_sealed(&mut self, slot: u32, bytes: &[u8]) -> Option<usize> {
        let (block, place) = place_of(slot);
        let socket = self.blocks.get_mut(block)?.sockets.get_mut(place)?;
        let session = self.sessions.get_mut(&slot)?;
        let result = session.write(bytes, socket.as_mut()?, &mut self.records);
        self.outcome(result)
    }

    fn outcome(&mut self, result: io::Result<usize>) -> Option<usize> {
        match result {
            Ok(written) => {
                self.written += written as u64;
                Some(written)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some(0),
            Err(_) => None,
        }
    }
}

/// Takes a row out of a table that gives its room back when it is empty.
fn remove<T>(table: &mut HashMap<u32, T>, slot: u32) -> Option<T> {
    let removed = table.remove(&slot)?;
    if table.is_empty() {
        *table = HashMap::new();
    }
    Some(removed)
}

/// Says why a connection is not held. The socket is fresh: what does not fit is given up.
pub(in crate::edge) fn refuse(mut socket: TcpStream, session: Option<Box<Session>>, answer: &[u8]) {
    let mut records = Vec::new();
    let _ = match session {
        None => socket.write(answer).map(drop),
        Some(mut session) => {
            let sealed = session.encrypt(answer, &mut records);
            session.goodbye(&mut records);
            session.write_aside(&records, &mut socket);
            sealed.map_err(io::Error::other)
        }
    };
    let _ = socket.shutdown(Shutdown::Write);
}

/// The block of a slot, and the place in it.
fn place_of(slot: u32) -> (usize, usize) {
    (slot as usize / BLOCK, slot as usize % BLOCK)
}

impl hub::Sockets for Sockets {
    fn write(&mut self, slot: u32, bytes: &[u8]) -> Option<usize> {
        if bytes.is_empty() {
            return Some(0);
        }
        if !self.sessions.is_empty() && self.sessions.contains_key(&slot) {
            return self.write_sealed(slot, bytes);
        }
        let result = loop {
            match self.get_mut(slot)?.write(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.outcome(result)
    }

    fn write_vectored(&mut self, slot: u32, pieces: &[IoSlice<'_>]) -> Option<usize> {
        if !self.sessions.is_empty() && self.sessions.contains_key(&slot) {
            // Records are made of what lies together: one, not one for each piece.
            let mut plain = std::mem::take(&mut self.plain);
            plain.clear();
            for piece in pieces {
                plain.extend_from_slice(piece);
            }
            let written = self.write_sealed(slot, &plain);
            self.plain = plain;
            return written;
        }
        let result = loop {
            match self.get_mut(slot)?.write_vectored(pieces) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.outcome(result)
    }
}
