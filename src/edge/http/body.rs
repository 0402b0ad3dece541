//! The body of a request: how long it is, and its bytes out of chunks.
//!
//! Pure. A body of known length is simply the next so many bytes, which is whoever reads them to see;
//! chunks (RFC 9112, section 7.1) are taken apart here, strictly: what a proxy in front might read
//! in another way is refused, because what follows would be a request that the proxy never saw.
//! Extensions and trailers are read and forgotten, as the RFC allows.

use bytes::{Buf, BytesMut};

use super::refusal::Refusal;

/// How long a body is, by the head of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Length {
    /// `Content-Length`, or 0 without one. What does not fit is [`u64::MAX`].
    Known(u64),
    /// Only its end will tell.
    Chunked,
}

impl Default for Length {
    fn default() -> Length {
        Length::Known(0)
    }
}

/// A line that says how long a chunk is, extensions included.
const SIZE_LINE_BYTES_MAX: usize = 256;

/// Everything of a body that is not its own: extensions of chunks and the section of trailers.
const ASIDE_BYTES_MAX: usize = 8 * 1024;

/// A body that comes in chunks, as far as it has come.
///
/// | state | what comes next | then |
/// |---|---|---|
/// | `Size` | a line with a size | `Data`, or `Trailers` when it is 0 |
/// | `Data(n)` | n bytes of the body | `DataEnd` |
/// | `DataEnd` | CR LF | `Size` |
/// | `Trailers` | a line with a field | `Trailers`, or `Done` when it is empty |
#[derive(Debug)]
pub(in crate::edge) struct Chunks {
    state: State,
    body: BytesMut,
    bytes_max: usize,
    aside_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Data(usize),
    DataEnd,
    Trailers,
    Done,
}

impl Chunks {
    /// A body that may have so many bytes.
    pub(in crate::edge) fn new(bytes_max: usize) -> Chunks {
        Chunks {
            state: State::Size,
            body: BytesMut::new(),
            bytes_max,
            aside_bytes: 0,
        }
    }

    /// Takes from `buffer` what is the body's; `true` when it is complete. What follows it stays.
    pub(in crate::edge) fn take(&mut self, buffer: &mut BytesMut) -> Result<bool, Refusal> {
        loop {
            match self.state {
                State::Size => {
                    let Some(line) = line(buffer, SIZE_LINE_BYTES_MAX)? else {
                        return Ok(false);
                    };
                    let (size, digits) = size(&buffer[..line], self.bytes_max)?;
                    self.count_aside(line - digits)?;
                    if size > self.bytes_max - self.body.len() {
                        return Err(Refusal::BodyTooLarge);
                    }
                    buffer.advance(line + 2);
                    self.state = match size {
                        0 => State::Trailers,
                        size => State::Data(size),
                    };
                }
                State::Data(left) => {
                    let count = left.min(buffer.len());
                    self.body.extend_from_slice(&buffer[..count]);
                    buffer.advance(count);
                    if count < left {
                        self.state = State::Data(left - count);
                        return Ok(false);
                    }
                    self.state = State::DataEnd;
                }
                State::DataEnd => {
                    let there = buffer.len().min(2);
                    if buffer[..there] != b"\r\n"[..there] {
                        return Err(Refusal::BadRequest("a chunk is longer than it says"));
                    }
                    if there < 2 {
                        return Ok(false);
                    }
                    buffer.advance(2);
                    self.state = State::Size;
                }
                State::Trailers => {
                    let Some(line) = line(buffer, ASIDE_BYTES_MAX - self.aside_bytes)? else {
                        return Ok(false);
                    };
                    self.count_aside(line)?;
                    if line > 0 {
                        check_field(&buffer[..line])?;
                    } else {
                        self.state = State::Done;
                    }
                    buffer.advance(line + 2);
                }
                State::Done => return Ok(true),
            }
        }
    }

    /// Bytes of the body so far.
    pub(in crate::edge) fn len(&self) -> usize {
        self.body.len()
    }

    /// The body.
    pub(in crate::edge) fn into_body(self) -> BytesMut {
        self.body
    }

    fn count_aside(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.aside_bytes += bytes;
        if self.aside_bytes > ASIDE_BYTES_MAX {
            return Err(Refusal::BadRequest("too much between the chunks"));
        }
        Ok(())
    }
}

/// The length of the line at the beginning of `buffer`, without its CR LF; `None` when its end has not
/// come.
fn line(buffer: &[u8], bytes_max: usize) -> Result<Option<usize>, Refusal> {
    let seen = &buffer[..buffer.len().min(bytes_max + 2)];
    match memchr::memchr2(b'\r', b'\n', seen) {
        Some(at) if seen[at] == b'\n' => Err(Refusal::BadRequest("a line does not end with CR LF")),
        Some(at) => match seen.get(at + 1) {
            Some(b'\n') => Ok(Some(at)),
            Some(_) => Err(Refusal::BadRequest("a line does not end with CR LF")),
            None if at + 1 < bytes_max + 2 => Ok(None),
            None => Err(Refusal::BadRequest("a line between the chunks is too long")),
        },
        None if seen.len() < bytes_max + 2 => Ok(None),
        None => Err(Refusal::BadRequest("a line between the chunks is too long")),
    }
}

/// The size that a line says, and its digits. One that is past `bytes_max` is told as one more.
fn size(line: &[u8], bytes_max: usize) -> Result<(usize, usize), Refusal> {
    let wrong = Refusal::BadRequest("the size of a chunk is not a number");
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let (number, rest) = line.split_at(digits);
    // RFC 9112 lets spaces stand before an extension and has nobody send them; some take them for a
    // part of the size.
    let is_extension = rest.first().is_none_or(|&byte| byte == b';');
    if number.is_empty() || !is_extension || rest.iter().any(is_control) {
        return Err(wrong);
    }
    let too_large = bytes_max + 1;
    let size = number.iter().fold(0_usize, |size, &digit| {
        let digit = char::from(digit).to_digit(16).unwrap_or_default() as usize;
        let size = size
            .checked_mul(16)
            .and_then(|size| size.checked_add(digit));
        size.unwrap_or(too_large).min(too_large)
    });
    Ok((size, digits))
}

/// RFC 9110, section 5: a name that is a token, a colon, a value without control bytes.
fn check_field(line: &[u8]) -> Result<(), Refusal> {
    let colon = memchr::memchr(b':', line).unwrap_or_default();
    let (name, value) = line.split_at(colon);
    if name.is_empty() || !name.iter().all(is_token) || value.iter().any(is_control) {
        return Err(Refusal::BadRequest("a trailer is no field"));
    }
    Ok(())
}

fn is_control(byte: &u8) -> bool {
    *byte != b'\t' && byte.is_ascii_control()
}

/// A byte of a token (RFC 9110, section 5.6.2).
pub(in crate::edge) fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The body, and what is behind it.
    type Taken = (Vec<u8>, Vec<u8>);

    fn taken(bytes: &[u8]) -> Result<Option<Taken>, Refusal> {
        let mut buffer = BytesMut::from(bytes);
        let mut chunks = Chunks::new(100);
        let is_complete = chunks.take(&mut buffer)?;
        Ok(is_complete.then(|| (chunks.into_body().to_vec(), buffer.to_vec())))
    }

    #[test]
    fn chunks_are_put_together_and_what_follows_stays() {
        let whole = b"5\r\nhello\r\nA;x=\"y z\"\r\n, 01234567\r\n000\r\nX: y\r\n\r\nGET";
        let expected = (b"hello, 01234567".to_vec(), b"GET".to_vec());
        assert_eq!(taken(whole), Ok(Some(expected)));
        assert_eq!(taken(b"0\r\n\r\n"), Ok(Some((vec![], vec![]))));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let bad: [&[u8]; 18] = [
            b"5\nhello\r\n0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"5\r\nhello\r\n0\r\n\n",
            b"5\r\nhello\r\n0\n\r\n",
            b"5 \r\nhello\r\n0\r\n\r\n",
            b" 5\r\nhello\r\n0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"-0\r\n\r\n",
            b"\r\n0\r\n\r\n",
            b";x\r\n\r\n",
            b"5;a\rb\r\nhello\r\n0\r\n\r\n",
            b"5;a\0\r\nhello\r\n0\r\n\r\n",
            b"0\r\nX y\r\n\r\n",
            b"0\r\n X: y\r\n\r\n",
            b"0\r\nX: a\0\r\n\r\n",
            b"0\r\n: y\r\n\r\n",
        ];
        for bytes in bad {
            let said = String::from_utf8_lossy(bytes);
            assert!(
                matches!(taken(bytes), Err(Refusal::BadRequest(_))),
                "{said:?}"
            );
        }
    }

    #[test]
    fn every_part_is_bounded() {
        let large: [&[u8]; 4] = [
            b"65\r\n",
            b"fffffffffffffffffffffff\r\n",
            b"32\r\n",
            b"7f;x\r\n",
        ];
        assert_eq!(taken(large[0]), Err(Refusal::BodyTooLarge));
        assert_eq!(taken(large[1]), Err(Refusal::BodyTooLarge));
        assert_eq!(taken(large[2]), Ok(None));
        assert_eq!(taken(large[3]), Err(Refusal::BodyTooLarge));
        let twice = [b"64\r\n".as_slice(), &[b'x'; 100], b"\r\n1\r\n"].concat();
        assert_eq!(taken(&twice), Err(Refusal::BodyTooLarge));
        let endless = [b"1;".as_slice(), &[b'x'; 300]].concat();
        assert!(matches!(taken(&endless), Err(Refusal::BadRequest(_))));
        let many = format!("1;{}\r\nx\r\n", "x".repeat(100)).repeat(90);
        assert!(matches!(
            taken(many.as_bytes()),
            Err(Refusal::BadRequest(_))
        ));
        let trailers = ["0\r\n", &"X: y\r\n".repeat(3000)].concat();
        assert!(matches!(
            taken(trailers.as_bytes()),
            Err(Refusal::BadRequest(_))
        ));
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..9), 0..6),
            cuts in prop::collection::vec(0_usize..100, 0..6),
        ) {
            let mut bytes = Vec::new();
            for part in &parts {
                bytes.extend(format!("{:X}\r\n", part.len()).as_bytes());
                bytes.extend(part);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\nrest");
            let mut chunks = Chunks::new(100);
            let mut buffer = BytesMut::new();
            let mut done = false;
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % bytes.len()).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            for pair in cuts.windows(2) {
                buffer.extend_from_slice(&bytes[pair[0]..pair[1]]);
                done = chunks.take(&mut buffer).unwrap();
            }
            prop_assert!(done);
            prop_assert_eq!(chunks.into_body(), parts.concat());
            prop_assert_eq!(&buffer[..], b"rest");
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = taken(&bytes);
        }
    }
}
