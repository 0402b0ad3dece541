//! One connection of `post`: requests out, answers in, by their lengths.
//!
//! It counts and times answers and looks at nothing in them but status and length.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;

use mio::net::TcpStream;

use super::Tally;

/// Fields that an answer may have.
const FIELDS_MAX: usize = 32;

/// A connection and its round of requests.
pub(super) struct Connection {
    stream: TcpStream,
    pipeline: u32,
    /// Bytes of this round that are written.
    written: usize,
    begun: Instant,
    /// Answers of this round that are still to come.
    due: u32,
    received: Vec<u8>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, pipeline: u32) -> Connection {
        Connection {
            stream,
            pipeline,
            written: 0,
            begun: Instant::now(),
            due: pipeline,
            received: Vec::new(),
        }
    }

    /// Writes and reads as far as it goes; `false` when the connection is over.
    /// `scratch` is what is read into.
    pub(super) fn advance(
        &mut self,
        requests: &[u8],
        scratch: &mut [u8],
        tally: &mut Tally,
    ) -> io::Result<bool> {
        loop {
            while self.written < requests.len() {
                if self.written == 0 {
                    self.begun = Instant::now();
                }
                match self.stream.write(&requests[self.written..]) {
                    Ok(count) => self.written += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => return Ok(false),
                }
            }
            match self.stream.read(scratch) {
                Ok(0) => return Ok(false),
                Ok(count) => self.received.extend_from_slice(&scratch[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Ok(false),
            }
            let mut taken = 0;
            while let Some((status, length)) = answer(&self.received[taken..])? {
                taken += length;
                tally.count(status, self.begun.elapsed());
                self.due = self.due.saturating_sub(1);
            }
            self.received.drain(..taken);
            if self.due == 0 {
                self.due = self.pipeline;
                self.written = 0;
            }
        }
    }
}

/// Status and length of the answer at the beginning; `None` when it has not all come.
fn answer(bytes: &[u8]) -> io::Result<Option<(u16, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(bytes).map_err(io::Error::other)?;
    let httparse::Status::Complete(head) = parsed else {
        return Ok(None);
    };
    let length = response
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .and_then(|field| std::str::from_utf8(field.value).ok()?.trim().parse().ok());
    let length = head + length.unwrap_or(0);
    let status = response.code.unwrap_or_default();
    Ok((bytes.len() >= length).then_some((status, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_its_length() {
        let one = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(answer(one).unwrap(), Some((202, one.len())));
        assert_eq!(answer(&one[..one.len() - 1]).unwrap(), None);
        let two = [&one[..], b"HTTP/1.1 204 \r\n\r\n"].concat();
        assert_eq!(answer(&two).unwrap(), Some((202, one.len())));
        assert_eq!(answer(&two[one.len()..]).unwrap(), Some((204, 17)));
        assert!(answer(b"nonsense\r\n\r\n").is_err());
    }
}
