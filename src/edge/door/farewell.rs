//! Refuses at the door: an answer to a connection whose request nobody will read.
//!
//! In a storm this is what most connections get, so it has no task, no timer and no poller of its
//! own: the answer is written into the empty socket, and the socket waits in a ring for its end, so
//! that the client's request finds somebody and is not answered with a reset, which can destroy
//! the refusal on its way. A client that is slower than the ring turns may see that reset.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::edge::http::refusal::Refusal;

/// How long a refused client has for its request.
const LINGER: Duration = Duration::from_secs(1);

/// Refused connections of one listener that wait. Each takes a descriptor, so they have to fit what is
/// kept free of connections; in a storm they still have some milliseconds.
pub(in crate::edge) const WAITING_MAX: usize = 128;

/// What is read of a request before its end, without looking at it: a head has at most that much.
const READ_BYTES: usize = 8 * 1024;

/// The refused ones of one listener.
#[derive(Debug, Default)]
pub(in crate::edge) struct Farewells {
    waiting: VecDeque<(Instant, TcpStream)>,
    answer: Vec<u8>,
}

impl Farewells {
    /// Says why, and lets the connection wait for its end.
    pub(in crate::edge) fn refuse(
        &mut self,
        mut socket: TcpStream,
        refusal: &Refusal,
        now: Instant,
    ) {
        self.answer.clear();
        refusal.write(&mut self.answer, b"");
        // The socket is fresh: what does not fit is given up.
        let _ = socket.write(&self.answer);
        let _ = socket.shutdown(Shutdown::Write);
        if self.waiting.len() == WAITING_MAX
            && let Some((_, oldest)) = self.waiting.pop_front()
        {
            end(oldest);
        }
        self.waiting.push_back((now + LINGER, socket));
    }

    /// When the next one ends.
    pub(in crate::edge) fn next_end(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, _)| *at)
    }

    /// Ends those whose time has come.
    pub(in crate::edge) fn end_due(&mut self, now: Instant) {
        while self.next_end().is_some_and(|at| at <= now) {
            let (_, socket) = self.waiting.pop_front().expect("it has an end");
            end(socket);
        }
    }
}

fn end(mut socket: TcpStream) {
    let _ = socket.read(&mut [0; READ_BYTES]);
}
