//! The bare loop of writing once more, by io_uring: 64 `send` operations for each `io_uring_enter`.
//!
//! The sockets are named by their descriptors or by places in a table that the ring was given. No
//! thread of the kernel polls the ring (SQPOLL): that would be work on another core, not less of it.
//!
//! Unsafe: pushing an operation, which tells the kernel the address of bytes that it reads later.
//! [`Ring::write`] borrows them until it returns, and returns when the last operation is complete: it
//! counts the completions. Should the kernel refuse to hand these over, the process aborts, so the
//! bytes are not freed before the kernel is done with them.
#![expect(
    unsafe_code,
    reason = "operations of io_uring have no safe name; see the header"
)]

use std::io::{Error, ErrorKind};
use std::os::fd::{AsRawFd, RawFd};

use io_uring::types::{Fd, Fixed};
use io_uring::{IoUring, opcode, squeue};
use mio::net::TcpStream;

/// Operations for each call.
const TOGETHER: u32 = 64;

pub(crate) struct Ring {
    ring: IoUring,
    /// Whether the sockets are in the ring's own table.
    table: bool,
}

impl Ring {
    /// As cheap as a ring can be for one thread (Linux 6.1); fails where the kernel has none, or
    /// refuses it.
    pub(crate) fn start() -> Result<Ring, Error> {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun();
        let ring = builder.build(TOGETHER)?;
        let table = false;
        Ok(Ring { ring, table })
    }

    /// With a table of these sockets.
    pub(crate) fn with_table(sockets: &[TcpStream]) -> Result<Ring, Error> {
        let mut ring = Ring::start()?;
        let descriptors: Vec<RawFd> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
        ring.ring.submitter().register_files(&descriptors)?;
        ring.table = true;
        Ok(ring)
    }

    /// The same bytes to these sockets, in this order.
    pub(crate) fn write(
        &mut self,
        sockets: &[TcpStream],
        to: impl Iterator<Item = usize>,
        bytes: &[u8],
    ) {
        let mut waiting = 0;
        for place in to {
            let operation = self.operation(sockets, place, bytes);
            // SAFETY: the bytes are borrowed until `complete` below has seen its completion.
            let pushed = unsafe { self.ring.submission().push(&operation) };
            pushed.expect("as many as are pushed before a call fit");
            waiting += 1;
            if waiting == TOGETHER {
                self.complete(waiting, bytes.len());
                waiting = 0;
            }
        }
        self.complete(waiting, bytes.len());
    }

    fn operation(&self, sockets: &[TcpStream], place: usize, bytes: &[u8]) -> squeue::Entry {
        let length = u32::try_from(bytes.len()).expect("messages are short");
        let socket = &sockets[place];
        if self.table {
            let place = u32::try_from(place).expect("sockets are few");
            return opcode::Send::new(Fixed(place), bytes.as_ptr(), length).build();
        }
        opcode::Send::new(Fd(socket.as_raw_fd()), bytes.as_ptr(), length).build()
    }

    /// Hands over what was pushed and takes so many completions, each of so many bytes.
    fn complete(&mut self, mut waiting: u32, length: usize) {
        let mut whole = true;
        while waiting > 0 {
            match self.ring.submit_and_wait(waiting as usize) {
                Err(error) if error.kind() != ErrorKind::Interrupted => std::process::abort(),
                _ => {}
            }
            for completion in self.ring.completion() {
                whole &= usize::try_from(completion.result()) == Ok(length);
                waiting -= 1;
            }
        }
        assert!(whole, "the sockets have room");
    }
}
