//! WebSockets that we have closed: their sockets linger while their clients may still be sending.
//!
//! A socket that is closed with bytes unread, or gets some afterwards, answers with a reset, and that can
//! destroy the close frame on its way. So what still comes is read and forgotten until the client closes,
//! too, for a while at most. It reads no clock, wakes nobody and tells nobody: for its owners such a
//! connection is over.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use mio::net::TcpStream;

/// How long a client has: a round trip, and some time to read.
const LINGER: Duration = Duration::from_secs(1);

/// Between two looks. Longer than most clients take to answer, and shorter than an idle shard's turn.
const LOOK: Duration = Duration::from_millis(100);

/// Sockets of one shard that wait. Each takes a descriptor that no limit of connections counts.
pub(in crate::edge) const PARTING_MAX: usize = 32;

/// Bytes of one socket that are forgotten at a look: what a socket of default size holds.
const FORGOTTEN_MAX: usize = 128 * 1024;

/// Bytes that are read at once, on the stack.
const READ_BYTES: usize = 8 * 1024;

/// The sockets of one shard, the oldest first.
#[derive(Debug, Default)]
pub(in crate::edge) struct Parting {
    waiting: VecDeque<(Instant, TcpStream)>,
    looked: Option<Instant>,
}

impl Parting {
    /// Takes a socket whose sending half is closed, and ends the oldest if there is no room.
    pub(in crate::edge) fn put(&mut self, socket: TcpStream, now: Instant) {
        if self.waiting.len() == PARTING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back((now + LINGER, socket));
    }

    /// Forgets what has come since the last look, and ends those that are at their end.
    pub(in crate::edge) fn look(&mut self, now: Instant) {
        if self.waiting.is_empty() || self.looked.is_some_and(|looked| now < looked + LOOK) {
            return;
        }
        self.looked = Some(now);
        self.waiting
            .retain_mut(|(until, socket)| *until > now && is_open(socket));
        if self.waiting.is_empty() {
            *self = Self::default();
        }
    }
}

/// Reads and forgets; whether there may be more.
fn is_open(socket: &mut TcpStream) -> bool {
    let mut buffer = [0; READ_BYTES];
    let mut forgotten = 0;
    while forgotten < FORGOTTEN_MAX {
        match socket.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => forgotten += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{self, Shutdown, TcpListener};

    use super::*;

    /// Only a failing test waits this long.
    const DEADLINE: Duration = Duration::from_secs(60);

    /// The edge's end, which has said its last word, and the client's.
    fn pair() -> (TcpStream, net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        let (mut socket, _) = listener.accept().unwrap();
        socket.write_all(b"bye").unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        socket.set_nonblocking(true).unwrap();
        (TcpStream::from_std(socket), client)
    }

    /// What the client's next read says, once there is something.
    fn read(client: &mut net::TcpStream) -> Result<Vec<u8>, ErrorKind> {
        let mut bytes = vec![0; 9];
        let count = client.read(&mut bytes).map_err(|error| error.kind())?;
        bytes.truncate(count);
        Ok(bytes)
    }

    #[test]
    fn who_still_sends_is_not_answered_with_a_reset() {
        let begun = Instant::now();
        let mut parting = Parting::default();
        let (socket, mut client) = pair();
        parting.put(socket, begun);
        let mut at = begun;
        for _ in 0..9 {
            at += LOOK;
            client.write_all(&[b'x'; 4096]).unwrap();
            parting.look(at);
        }
        assert_eq!(parting.waiting.len(), 1);
        assert_eq!(read(&mut client), Ok(b"bye".to_vec()));
        assert_eq!(read(&mut client), Ok(Vec::new()));
        // Its time is over: what it sends now is for nobody.
        parting.look(begun + LINGER);
        assert!(parting.waiting.is_empty());
    }

    #[test]
    fn who_closes_is_not_waited_for() {
        let begun = Instant::now();
        let mut parting = Parting::default();
        let (socket, client) = pair();
        parting.put(socket, begun);
        drop(client);
        // The end may take a moment to come; our clock stands well before the end of its time.
        let until = Instant::now() + DEADLINE;
        while !parting.waiting.is_empty() && Instant::now() < until {
            parting.looked = None;
            parting.look(begun + LOOK);
            std::thread::yield_now();
        }
        assert!(parting.waiting.is_empty());
    }

    #[test]
    fn the_oldest_makes_room() {
        let begun = Instant::now();
        let mut parting = Parting::default();
        let (socket, mut oldest) = pair();
        parting.put(socket, begun);
        let mut clients = Vec::new();
        for _ in 0..PARTING_MAX {
            let (socket, client) = pair();
            parting.put(socket, begun);
            clients.push(client);
        }
        assert_eq!(parting.waiting.len(), PARTING_MAX);
        assert_eq!(read(&mut oldest), Ok(b"bye".to_vec()));
        assert_eq!(read(&mut oldest), Ok(Vec::new()));
        // Nobody is there any more: the answer to this is a reset.
        oldest.write_all(b"x").unwrap();
        let until = Instant::now() + DEADLINE;
        while oldest.write_all(b"x").is_ok() && Instant::now() < until {
            std::thread::yield_now();
        }
        assert!(oldest.write_all(b"x").is_err());
    }
}
