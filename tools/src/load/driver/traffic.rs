//! What goes over the sockets that the driver holds: requests and answers out, bytes in.
//!
//! It opens and cuts nothing: that is the driver's own affair.

use std::cmp::Reverse;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Driver, READ_BYTES, Return, State};
use crate::load::connection::Event;

/// Reads from one socket in a turn, so that a server that never stops cannot hold up the clock.
const READS_PER_TURN: u32 = 8;

impl Driver {
    /// The socket is connected, or failed to, or has room for the rest of the request.
    pub(super) fn write(&mut self, number: usize) {
        let State::Held(held) = &mut self.states[number] else {
            return;
        };
        let Some(sent) = held.connection.request_sent() else {
            return self.reply(number);
        };
        let (id, nonce) = (held.connection.id(), held.connection.nonce());
        self.plan
            .target
            .write_request(id, self.plan.transport, nonce, &mut self.request);
        let failed = match held.socket.take_error() {
            Ok(None) => match held.socket.write(&self.request[sent..]) {
                Ok(more) => {
                    held.connection.handle_sent(sent + more, self.request.len());
                    return;
                }
                Err(error) => error,
            },
            Ok(Some(error)) | Err(error) => error,
        };
        match failed.kind() {
            io::ErrorKind::WouldBlock
            | io::ErrorKind::NotConnected
            | io::ErrorKind::Interrupted => {}
            _ => {
                let returning = held.returning;
                self.opening -= 1;
                self.connect_failed(number, returning, &failed);
            }
        }
    }

    /// Sends what the connection has to answer, as far as the socket has room.
    fn reply(&mut self, number: usize) {
        let State::Held(held) = &mut self.states[number] else {
            return;
        };
        while !held.connection.replies().is_empty() {
            match held.socket.write(held.connection.replies()) {
                Ok(bytes) => held.connection.handle_replied(bytes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Full: there is room later. Broken: reading says so.
                Err(_) => return,
            }
        }
    }

    /// Reads the socket dry, or puts it in `unread`; a slow one when its time comes.
    ///
    /// A read that does not fill the buffer took all there was (epoll(7), question 9), which
    /// saves the read that would say so; but not the end of file, when that has come (`to_end`).
    pub(super) fn read(&mut self, number: usize, to_end: bool) {
        for _ in 0..READS_PER_TURN {
            let State::Held(held) = &mut self.states[number] else {
                return;
            };
            let mut room = READ_BYTES;
            if let Some(pace) = &held.pace {
                if held.is_paced {
                    return;
                }
                if pace.next() > Instant::now() {
                    held.is_paced = true;
                    self.slow.push(Reverse((pace.next(), number)));
                    return;
                }
                room = pace.bytes();
            }
            let ending = match held.socket.read(&mut self.buffer[..room]) {
                Ok(0) => held.connection.handle_end(),
                Ok(bytes) => {
                    if let Some(pace) = &mut held.pace {
                        pace.handle_read(Instant::now(), bytes);
                    }
                    self.take(number, bytes);
                    if bytes < room && !to_end {
                        return;
                    }
                    continue;
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected => return,
                    io::ErrorKind::Interrupted => continue,
                    _ => held.connection.handle_reset(),
                },
            };
            if let Some(event) = ending {
                self.end(number, event);
            }
            return;
        }
        self.unread.push(number);
    }

    /// `bytes` of the buffer came from the connection.
    fn take(&mut self, number: usize, bytes: usize) {
        let State::Held(held) = &mut self.states[number] else {
            return;
        };
        let now_ns = realtime_ns();
        let is_slow = held.pace.is_some();
        let tally = &mut self.tally;
        tally.class(is_slow).counts.read_bytes += bytes as u64;
        let id = held.connection.id();
        let mut last = None;
        let mut has_opened = false;
        held.connection
            .handle_bytes(&self.buffer[..bytes], |event| match event {
                Event::Refused { .. } | Event::Closed(_) | Event::Faulted(_) => last = Some(event),
                _ => {
                    has_opened |= event == Event::Opened;
                    tally.handle(event, id, is_slow, now_ns);
                }
            });
        if has_opened {
            held.was_open = true;
            self.opening -= 1;
            self.open += 1;
            if let Some(why) = held.returning.take() {
                tally.class(is_slow).counts.returned += 1;
                if let Some(cut) = why.cut {
                    tally.storm.handle(Event::Opened, cut.elapsed());
                }
            }
        }
        self.reply(number);
        if let Some(event) = last {
            self.end(number, event);
        }
    }

    /// The connection's last event: the server ended it, or never opened it.
    fn end(&mut self, number: usize, event: Event) {
        let State::Held(held) = &mut self.states[number] else {
            return;
        };
        let is_slow = held.pace.is_some();
        self.tally
            .handle(event, held.connection.id(), is_slow, realtime_ns());
        if held.was_open {
            self.open -= 1;
            if self.plan.come_back {
                self.leave(number, Return { cut: None }, Duration::ZERO);
            } else {
                self.states[number] = State::Over;
            }
            return;
        }
        let returning = held.returning;
        self.opening -= 1;
        if let Some(cut) = returning.and_then(|why| why.cut) {
            self.tally.storm.handle(event, cut.elapsed());
        }
        let retry_after_s = match event {
            Event::Refused { retry_after_s, .. } => retry_after_s,
            _ => None,
        };
        self.retire(number, returning, retry_after_s);
    }
}

/// CLOCK_REALTIME, which stamps are made of.
fn realtime_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}
