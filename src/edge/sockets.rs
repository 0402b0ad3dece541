//! The sockets of a shard's connections, by slot: the writing end that the hub is lent.
//!
//! Four bytes a connection, in blocks that go when their last socket goes, and a row in a table
//! beside for those that came through a proxy. Nothing is buffered here and nothing is decided: a
//! short write is the hub's affair, a failed one too.

use std::collections::HashMap;
use std::io::{ErrorKind, IoSlice, Write};
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::hub;

/// Sockets of a block: 4 KiB, a page.
const BLOCK: usize = 1024;

// mio keeps more where it checks itself.
const _: () = assert!(cfg!(debug_assertions) || size_of::<Option<TcpStream>>() == 4);

/// Sockets in their slots.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    blocks: Vec<Block>,
    /// Addresses of clients that came through a proxy; the others' are asked of their sockets.
    forwarded: HashMap<u32, SocketAddr>,
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
    /// The slot has no socket; `forwarded` is the client's address by a proxy's word.
    pub(super) fn put(&mut self, slot: u32, socket: TcpStream, forwarded: Option<SocketAddr>) {
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
    }

    /// The client's address; `None` when the socket is gone, or is a Unix socket.
    pub(super) fn peer(&mut self, slot: u32) -> Option<SocketAddr> {
        let socket = self.get_mut(slot)?.peer_addr().ok();
        self.forwarded.get(&slot).copied().or(socket)
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut TcpStream> {
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

    /// Closes the socket. The FIN goes out behind what was written, also when the client has sent
    /// bytes that nobody read (a bare close would answer those with a reset, which can destroy
    /// what the client has not read yet).
    pub(super) fn close(&mut self, slot: u32, registry: &Registry) {
        let Some(mut socket) = self.take(slot) else {
            return;
        };
        if !self.forwarded.is_empty() {
            self.forwarded.remove(&slot);
            if self.forwarded.is_empty() {
                self.forwarded = HashMap::new();
            }
        }
        let _ = registry.deregister(&mut socket);
        let _ = socket.shutdown(Shutdown::Write);
    }

    pub(super) fn interest(&mut self, slot: u32, interest: Interest, registry: &Registry) -> bool {
        let Some(socket) = self.get_mut(slot) else {
            return true;
        };
        registry
            .reregister(socket, Token(slot as usize), interest)
            .is_ok()
    }

    /// Bytes written since the last call.
    pub(super) fn take_written(&mut self) -> u64 {
        std::mem::take(&mut self.written)
    }

    fn outcome(&mut self, result: std::io::Result<usize>) -> Option<usize> {
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

/// The block of a slot, and the place in it.
fn place_of(slot: u32) -> (usize, usize) {
    (slot as usize / BLOCK, slot as usize % BLOCK)
}

impl hub::Sockets for Sockets {
    fn write(&mut self, slot: u32, bytes: &[u8]) -> Option<usize> {
        if bytes.is_empty() {
            return Some(0);
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
        let result = loop {
            match self.get_mut(slot)?.write_vectored(pieces) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.outcome(result)
    }
}
