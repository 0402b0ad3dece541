//! The chunked transfer coding, taken apart as bytes arrive (RFC 9112 section 7.1).
//!
//! It buffers nothing: data is handed on where it lies. It is strict, since it judges a server:
//! line ends are CR LF, a size is 1 to 8 hex digits, extensions and trailers are skipped within a
//! limit. What chunks mean is the business of the body that is made of them.
//!
//! `Size -> Data -> DataEnd -> Size ... -> Size(0) -> Trailer -> End`; bytes after the end are a
//! fault.

use super::fault::Fault;

/// A chunk of 4 GiB is no message; more digits would only serve to overflow.
const SIZE_DIGITS_MAX: u8 = 8;

/// Extension bytes of a chunk, or trailer bytes of a body: as much as a response head may have.
const SKIPPED_BYTES_MAX: u16 = 8192;

/// What the coding says, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Bytes of the current chunk.
    Data(&'a [u8]),
    /// The current chunk is whole, its line end seen.
    ChunkEnd,
    /// The body is whole.
    Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
    End,
}

#[derive(Debug)]
pub(super) struct ChunkParser {
    state: State,
    digits: u8,
    skipped: u16,
    left: u32,
}

impl ChunkParser {
    pub(super) fn new() -> Self {
        Self {
            state: State::Size,
            digits: 0,
            skipped: 0,
            left: 0,
        }
    }

    /// Whether the last byte seen was the last of a chunk (or none was seen).
    pub(super) fn is_between_chunks(&self) -> bool {
        self.state == State::Size && self.digits == 0
    }

    /// Takes all of `input`. After a fault the parser must not be fed again.
    pub(super) fn feed<'a>(
        &mut self,
        mut input: &'a [u8],
        mut sink: impl FnMut(Piece<'a>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while let Some((&byte, rest)) = input.split_first() {
            if self.state == State::Data {
                let here = input
                    .len()
                    .min(usize::try_from(self.left).unwrap_or(usize::MAX));
                let (data, rest) = input.split_at(here);
                self.left -= u32::try_from(here).expect("at most `left`");
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                sink(Piece::Data(data))?;
                input = rest;
                continue;
            }
            self.state = self.framing_byte(byte)?;
            match (self.state, byte) {
                (State::Size, b'\n') => sink(Piece::ChunkEnd)?,
                (State::End, b'\n') => sink(Piece::Last)?,
                _ => {}
            }
            input = rest;
        }
        Ok(())
    }

    /// The state after a byte that is not data.
    fn framing_byte(&mut self, byte: u8) -> Result<State, Fault> {
        match (self.state, byte) {
            (State::Size, b'\r' | b';') if self.digits == 0 => Err(Fault::ChunkSize),
            (State::Size | State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Size, b';') => self.skip(byte, State::Extension),
            (State::Size, _) => self.size_digit(byte),
            (State::Extension, _) => self.skip(byte, State::Extension),
            (State::SizeLf, b'\n') => {
                self.digits = 0;
                self.skipped = 0;
                Ok(match self.left {
                    0 => State::TrailerStart,
                    _ => State::Data,
                })
            }
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size),
            (State::TrailerStart, b'\r') => Ok(State::LastLf),
            (State::Trailer, b'\r') => Ok(State::TrailerLf),
            (State::TrailerStart | State::Trailer, _) => self.skip(byte, State::Trailer),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::LastLf, b'\n') => Ok(State::End),
            (State::DataCr | State::DataLf, _) => Err(Fault::ChunkEnd),
            (State::SizeLf | State::TrailerLf | State::LastLf, _) => Err(Fault::ChunkLineEnd),
            (State::End, _) => Err(Fault::AfterTheEnd),
            (State::Data, _) => unreachable!("data is taken as a slice"),
        }
    }

    fn size_digit(&mut self, byte: u8) -> Result<State, Fault> {
        let digit = char::from(byte).to_digit(16).ok_or(Fault::ChunkSize)?;
        if self.digits == SIZE_DIGITS_MAX {
            return Err(Fault::ChunkSize);
        }
        self.left = match self.digits {
            0 => digit,
            _ => self.left << 4 | digit,
        };
        self.digits += 1;
        Ok(State::Size)
    }

    fn skip(&mut self, byte: u8, next: State) -> Result<State, Fault> {
        if byte.is_ascii_control() && byte != b'\t' {
            return Err(Fault::ChunkLineEnd);
        }
        if self.skipped == SKIPPED_BYTES_MAX {
            return Err(Fault::ChunkSkipped);
        }
        self.skipped += 1;
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `parts` say, fed one after the other: whole chunks, and how it ended.
    #[derive(Debug, Default, PartialEq)]
    struct Said {
        chunks: Vec<Vec<u8>>,
        rest: Vec<u8>,
        last: bool,
        fault: Option<Fault>,
        between: bool,
    }

    fn said<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Said {
        let mut said = Said::default();
        let mut parser = ChunkParser::new();
        for part in parts {
            let fed = parser.feed(part, |piece| {
                assert!(!said.last, "something after the last piece");
                match piece {
                    Piece::Data(data) => said.rest.extend_from_slice(data),
                    Piece::ChunkEnd => said.chunks.push(std::mem::take(&mut said.rest)),
                    Piece::Last => said.last = true,
                }
                Ok(())
            });
            if let Err(fault) = fed {
                said.fault = Some(fault);
                return said;
            }
        }
        said.between = parser.is_between_chunks();
        said
    }

    fn fault(bytes: &[u8]) -> Option<Fault> {
        said([bytes]).fault
    }

    #[test]
    fn sizes_extensions_and_trailers_are_read() {
        let said = said([&b"5\r\nhello\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\nA: b\r\n\r\n"[..]]);
        assert_eq!(said.chunks, [&b"hello"[..], b"0123456789"]);
        assert!(said.last && said.fault.is_none());
    }

    #[test]
    fn what_breaks_the_coding_is_a_fault() {
        assert_eq!(fault(b"\r\n"), Some(Fault::ChunkSize));
        assert_eq!(fault(b"x\r\n"), Some(Fault::ChunkSize));
        assert_eq!(fault(b" 1\r\na\r\n"), Some(Fault::ChunkSize));
        assert_eq!(fault(b"000000001\r\n"), Some(Fault::ChunkSize));
        assert_eq!(fault(b"1\na\n"), Some(Fault::ChunkSize));
        assert_eq!(fault(b"1\r\r"), Some(Fault::ChunkLineEnd));
        assert_eq!(fault(b"1;\n"), Some(Fault::ChunkLineEnd));
        assert_eq!(fault(b"1\r\nab\r\n"), Some(Fault::ChunkEnd));
        assert_eq!(fault(b"1\r\na\r\r"), Some(Fault::ChunkEnd));
        assert_eq!(fault(b"0\r\n\r\nx"), Some(Fault::AfterTheEnd));
        let mut long = b"1;".to_vec();
        long.resize(9000, b'x');
        assert_eq!(fault(&long), Some(Fault::ChunkSkipped));
    }

    #[test]
    fn the_largest_size_is_no_overflow() {
        let said = said([&b"ffffffff\r\nabc"[..]]);
        assert_eq!((said.rest.as_slice(), said.fault), (&b"abc"[..], None));
        assert!(!said.between);
    }

    proptest! {
        #[test]
        fn chunks_come_back_however_they_are_cut(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            ended: bool,
            cuts in prop::collection::vec(1_usize..12, 0..200),
        ) {
            let mut bytes = Vec::new();
            for chunk in &chunks {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            if ended {
                bytes.extend_from_slice(b"0\r\n\r\n");
            }
            let whole = said([bytes.as_slice()]);
            prop_assert_eq!(&whole.chunks, &chunks);
            prop_assert_eq!(whole.last, ended);
            prop_assert_eq!(whole.between, !ended);
            prop_assert_eq!(whole.fault, None);
            prop_assert_eq!(&said(crate::load::cut(&bytes, &cuts)), &whole);
            prop_assert_eq!(&said(bytes.chunks(1)), &whole);
        }

        #[test]
        fn nonsense_is_judged_alike_however_it_is_cut(
            bytes in prop::collection::vec(
                prop::sample::select(&b"0123af;x\r\n\r\n\r\n\0 "[..]), 0..60),
            cuts in prop::collection::vec(1_usize..6, 0..60),
        ) {
            prop_assert_eq!(said(crate::load::cut(&bytes, &cuts)), said([bytes.as_slice()]));
        }
    }
}
