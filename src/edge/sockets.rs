//! The sockets of a shard's connections, by slot: the writing end that the hub is lent.
//!
//! Four bytes a connection. Nothing is buffered here and nothing is decided: a short write is the
//! hub's affair, a failed one too.

use std::io::{ErrorKind, IoSlice, Write};
use std::net::Shutdown;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::hub;

/// Sockets in their slots.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    sockets: Vec<Option<TcpStream>>,
    /// Bytes written since the shard last asked.
    written: u64,
}

impl Sockets {
    pub(super) fn put(&mut self, slot: u32, socket: TcpStream) {
        let place = slot as usize;
        if self.sockets.len() <= place {
            self.sockets.resize_with(place + 1, || None);
        }
        self.sockets[place] = Some(socket);
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut TcpStream> {
        self.sockets.get_mut(slot as usize)?.as_mut()
    }

    /// Closes the socket. The FIN goes out behind what was written, also when the client has sent
    /// bytes that nobody read (a bare close would answer those with a reset, which can destroy
    /// what the client has not read yet).
    pub(super) fn close(&mut self, slot: u32, registry: &Registry) {
        let Some(mut socket) = self.sockets.get_mut(slot as usize).and_then(Option::take) else {
            return;
        };
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
