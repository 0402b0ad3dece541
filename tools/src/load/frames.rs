//! The frames of a WebSocket, taken apart as bytes arrive, and those that its client sends (RFC 6455
//! section 5).
//!
//! Data is handed on where it lies; only the payload of a control frame is kept until it is whole. It
//! judges a server: masks, reserved bits, lengths and the order of fragments. It neither inflates what is
//! compressed nor looks whether text is UTF-8.
//!
//! `First -> Length [-> Extended] -> Payload -> First ...`; after a close frame nothing is read.

use super::fault::Fault;

/// What a control frame may carry (section 5.5).
const CONTROL_BYTES_MAX: u64 = 125;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const MASKED: u8 = 0x80;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What frames say, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Bytes of the current message.
    Data(&'a [u8]),
    /// The same, compressed.
    Compressed(&'a [u8]),
    /// The current message is whole.
    MessageEnd,
    /// To be answered with the same bytes.
    Ping(&'a [u8]),
    Pong,
    /// The last of it, to be answered with the same bytes: a code and a reason, or nothing.
    Close(&'a [u8]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    First,
    Length,
    /// So many bytes of the length are to come.
    Extended(u8),
    Payload,
    End,
}

/// A message whose last frame has not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    No,
    Plain,
    Compressed,
}

#[derive(Debug)]
pub(super) struct FrameParser {
    state: State,
    /// Of the current frame: FIN, reserved bits, opcode.
    first: u8,
    open: Open,
    /// Messages may come compressed.
    deflate: bool,
    left: u64,
    control: Vec<u8>,
}

impl FrameParser {
    pub(super) fn new(deflate: bool) -> Self {
        Self {
            state: State::First,
            first: 0,
            open: Open::No,
            deflate,
            left: 0,
            control: Vec::new(),
        }
    }

    /// Whether the last byte seen was the last of a message (or none was seen).
    pub(super) fn is_between_messages(&self) -> bool {
        self.state == State::First && self.open == Open::No
    }

    /// Takes all of `input`. After a fault the parser must not be fed again.
    pub(super) fn feed(
        &mut self,
        mut input: &[u8],
        mut sink: impl FnMut(Piece<'_>),
    ) -> Result<(), Fault> {
        while let Some((&byte, rest)) = input.split_first() {
            match self.state {
                State::End => return Ok(()),
                State::Payload => {
                    let here = input
                        .len()
                        .min(usize::try_from(self.left).unwrap_or(usize::MAX));
                    let (data, rest) = input.split_at(here);
                    self.left -= here as u64;
                    self.payload(data, &mut sink);
                    input = rest;
                }
                _ => {
                    self.head_byte(byte)?;
                    input = rest;
                }
            }
            if self.state == State::Payload && self.left == 0 {
                self.state = State::First;
                self.frame_end(&mut sink);
            }
        }
        Ok(())
    }

    fn head_byte(&mut self, byte: u8) -> Result<(), Fault> {
        match self.state {
            State::First => {
                self.first = byte;
                self.open = self.opened(byte)?;
                self.state = State::Length;
            }
            State::Length if byte & MASKED != 0 => return Err(Fault::Masked),
            State::Length if is_control(self.first) && u64::from(byte) > CONTROL_BYTES_MAX => {
                return Err(Fault::Control);
            }
            State::Length => {
                self.left = 0;
                self.state = match byte {
                    126 => State::Extended(2),
                    127 => State::Extended(8),
                    _ => {
                        self.left = u64::from(byte);
                        State::Payload
                    }
                };
            }
            State::Extended(bytes) => {
                // The first of eight bytes: the highest bit is none of the length.
                if bytes == 8 && byte & 0x80 != 0 {
                    return Err(Fault::FrameLength);
                }
                self.left = self.left << 8 | u64::from(byte);
                self.state = match bytes {
                    1 => State::Payload,
                    _ => State::Extended(bytes - 1),
                };
            }
            State::Payload | State::End => unreachable!("no byte of a head"),
        }
        Ok(())
    }

    /// The message that is open behind the first byte of a frame.
    fn opened(&self, first: u8) -> Result<Open, Fault> {
        let reserved = first & 0x70;
        let opcode = first & 0x0f;
        if is_control(first) {
            return match opcode {
                _ if reserved != 0 => Err(Fault::ReservedBits),
                CLOSE | PING | PONG if first & FIN != 0 => Ok(self.open),
                CLOSE | PING | PONG => Err(Fault::Control),
                _ => Err(Fault::Opcode),
            };
        }
        match (opcode, self.open) {
            (CONTINUATION, Open::No) | (TEXT | BINARY, Open::Plain | Open::Compressed) => {
                Err(Fault::Fragments)
            }
            (CONTINUATION, _) if reserved != 0 => Err(Fault::ReservedBits),
            (CONTINUATION, open) => Ok(open),
            (TEXT | BINARY, Open::No) => match reserved {
                0 => Ok(Open::Plain),
                RSV1 if self.deflate => Ok(Open::Compressed),
                _ => Err(Fault::ReservedBits),
            },
            _ => Err(Fault::Opcode),
        }
    }

    fn payload(&mut self, data: &[u8], sink: &mut impl FnMut(Piece<'_>)) {
        if is_control(self.first) {
            self.control.extend_from_slice(data);
        } else if self.open == Open::Compressed {
            sink(Piece::Compressed(data));
        } else {
            sink(Piece::Data(data));
        }
    }

    fn frame_end(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        if is_control(self.first) {
            let payload = std::mem::take(&mut self.control);
            match self.first & 0x0f {
                PING => sink(Piece::Ping(&payload)),
                PONG => sink(Piece::Pong),
                _ => {
                    self.state = State::End;
                    sink(Piece::Close(&payload));
                }
            }
        } else if self.first & FIN != 0 {
            self.open = Open::No;
            sink(Piece::MessageEnd);
        }
    }
}

fn is_control(first: u8) -> bool {
    first & 0x08 != 0
}

/// Appends the answer to a ping.
pub(super) fn write_pong(payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    write_control(PONG, payload, mask, out);
}

/// Appends a close frame.
pub(super) fn write_close(payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    write_control(CLOSE, payload, mask, out);
}

fn write_control(opcode: u8, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    let length = u8::try_from(payload.len()).expect("a control frame's payload");
    out.extend_from_slice(&[FIN | opcode, MASKED | length]);
    out.extend_from_slice(&mask);
    let masked = payload.iter().zip(mask.iter().cycle());
    out.extend(masked.map(|(byte, mask)| byte ^ mask));
}

/// A frame as a server writes it.
#[cfg(test)]
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        length @ 0..=125 => out.push(u8::try_from(length).expect("it is at most 125")),
        length @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&u16::try_from(length).expect("16 bits").to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `parts` say, fed one after the other.
    #[derive(Debug, Default, PartialEq)]
    struct Said {
        messages: Vec<Vec<u8>>,
        rest: Vec<u8>,
        compressed: usize,
        controls: Vec<(u8, Vec<u8>)>,
        fault: Option<Fault>,
        between: bool,
    }

    fn said<'a>(deflate: bool, parts: impl IntoIterator<Item = &'a [u8]>) -> Said {
        let mut said = Said::default();
        let mut parser = FrameParser::new(deflate);
        for part in parts {
            let fed = parser.feed(part, |piece| match piece {
                Piece::Data(data) => said.rest.extend_from_slice(data),
                Piece::Compressed(data) => said.compressed += data.len(),
                Piece::MessageEnd => said.messages.push(std::mem::take(&mut said.rest)),
                Piece::Ping(payload) => said.controls.push((PING, payload.to_vec())),
                Piece::Pong => said.controls.push((PONG, Vec::new())),
                Piece::Close(payload) => said.controls.push((CLOSE, payload.to_vec())),
            });
            if let Err(fault) = fed {
                said.fault = Some(fault);
                return said;
            }
        }
        said.between = parser.is_between_messages();
        said
    }

    fn fault(bytes: &[u8]) -> Option<Fault> {
        said(false, [bytes]).fault
    }

    #[test]
    fn a_ping_may_come_within_a_message() {
        let bytes = [
            frame(TEXT, b"he"),
            frame(FIN | PING, b"you?"),
            frame(CONTINUATION, b""),
            frame(FIN | CONTINUATION, b"llo"),
            frame(FIN | BINARY, b""),
            frame(FIN | PONG, b""),
        ]
        .concat();
        let said = said(false, bytes.chunks(1));
        assert_eq!(said.messages, [&b"hello"[..], b""]);
        assert_eq!(said.controls, [(PING, b"you?".to_vec()), (PONG, vec![])]);
        assert!(said.between && said.fault.is_none());
    }

    #[test]
    fn nothing_is_read_behind_a_close_frame() {
        let bytes = [frame(FIN | CLOSE, b"\x03\xe8bye"), vec![0xff; 9]].concat();
        let said = said(false, [&bytes[..]]);
        assert_eq!(said.controls, [(CLOSE, b"\x03\xe8bye".to_vec())]);
        assert!(said.fault.is_none());
    }

    #[test]
    fn compressed_messages_are_told_apart_where_they_may_come() {
        let bytes = [
            frame(RSV1 | TEXT, b"xx"),
            frame(FIN | CONTINUATION, b"y"),
            frame(FIN | TEXT, b"plain"),
        ]
        .concat();
        let told = said(true, bytes.chunks(1));
        assert_eq!(told.compressed, 3);
        assert_eq!(told.messages, [&b""[..], b"plain"]);
        assert_eq!(fault(&bytes), Some(Fault::ReservedBits));
    }

    #[test]
    fn what_breaks_the_protocol_is_a_fault() {
        assert_eq!(fault(&[FIN | TEXT, MASKED]), Some(Fault::Masked));
        assert_eq!(fault(&[FIN | 0x20 | TEXT]), Some(Fault::ReservedBits));
        assert_eq!(fault(&[FIN | RSV1 | PING]), Some(Fault::ReservedBits));
        assert_eq!(fault(&[FIN | 3]), Some(Fault::Opcode));
        assert_eq!(fault(&[FIN | 11]), Some(Fault::Opcode));
        assert_eq!(fault(&[PING]), Some(Fault::Control));
        assert_eq!(fault(&[FIN | PING, 126]), Some(Fault::Control));
        assert_eq!(fault(&[FIN | CONTINUATION]), Some(Fault::Fragments));
        assert_eq!(fault(&[TEXT, 0, TEXT]), Some(Fault::Fragments));
        assert_eq!(fault(&[FIN | TEXT, 127, 0x80]), Some(Fault::FrameLength));
    }

    #[test]
    fn the_largest_length_is_no_overflow() {
        let mut bytes = vec![FIN | BINARY, 127, 0x7f];
        bytes.resize(10, 0xff);
        bytes.extend_from_slice(b"abc");
        let said = said(false, [&bytes[..]]);
        assert_eq!((said.rest.as_slice(), said.fault), (&b"abc"[..], None));
        assert!(!said.between);
    }

    #[test]
    fn what_the_client_sends_is_masked() {
        let mut out = Vec::new();
        write_pong(b"Hello", [0x37, 0xfa, 0x21, 0x3d], &mut out);
        // The example of section 5.7.
        assert_eq!(out[..6], [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(out[6..], [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        out.clear();
        write_close(b"", [1, 2, 3, 4], &mut out);
        assert_eq!(out, [0x88, 0x80, 1, 2, 3, 4]);
    }

    proptest! {
        #[test]
        fn messages_come_back_however_they_are_cut(
            messages in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..4), 0..6),
            cuts in prop::collection::vec(1_usize..40, 0..200),
        ) {
            let mut bytes = Vec::new();
            for fragments in &messages {
                for (index, fragment) in fragments.iter().enumerate() {
                    let fin = if index + 1 == fragments.len() { FIN } else { 0 };
                    let opcode = if index == 0 { TEXT } else { CONTINUATION };
                    bytes.extend(frame(fin | opcode, fragment));
                }
            }
            let whole = said(false, [bytes.as_slice()]);
            let sent: Vec<_> = messages.iter().map(|fragments| fragments.concat()).collect();
            prop_assert_eq!(&whole.messages, &sent);
            prop_assert!(whole.between && whole.fault.is_none());
            prop_assert_eq!(&said(false, crate::load::cut(&bytes, &cuts)), &whole);
            prop_assert_eq!(&said(false, bytes.chunks(1)), &whole);
        }

        #[test]
        fn nonsense_is_judged_alike_however_it_is_cut(
            deflate: bool,
            bytes in prop::collection::vec(
                prop::sample::select(&[0_u8, 1, 2, 3, 0x80, 0x81, 0x88, 0x89, 0xc1, 126, 127][..]),
                0..40),
            cuts in prop::collection::vec(1_usize..6, 0..60),
        ) {
            let cut = said(deflate, crate::load::cut(&bytes, &cuts));
            prop_assert_eq!(cut, said(deflate, [bytes.as_slice()]));
        }
    }
}
