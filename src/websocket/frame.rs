//! The head of a frame: RFC 6455, section 5.2.
//!
//! Bytes and values, no payload: `incoming` takes payloads as they come, and what goes out is
//! written behind its head by whoever has it.

use super::close::Fault;

/// The payload of a control frame (section 5.5).
pub(super) const CONTROL_BYTES_MAX: usize = 125;

/// The longest head of a client: two bytes, a length of eight, a mask.
pub(super) const HEAD_BYTES_MAX: usize = 14;

/// A ping without a payload.
pub const PING: &[u8] = &[0x89, 0];

const FIN: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const RESERVED: u8 = 0x30;
const MASKED: u8 = 0x80;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// Goes on with a message.
    Continuation = 0,
    /// Begins a message of UTF-8.
    Text = 1,
    /// Begins a message of bytes.
    Binary = 2,
    /// The last frame.
    Close = 8,
    /// To be answered with a pong.
    Ping = 9,
    /// The answer.
    Pong = 10,
}

impl Opcode {
    fn new(number: u8) -> Result<Opcode, Fault> {
        Ok(match number {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(Fault::Opcode),
        })
    }

    pub(super) fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// The head of a frame from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) is_last: bool,
    pub(super) is_compressed: bool,
    pub(super) opcode: Opcode,
    pub(super) length: u64,
    pub(super) mask: [u8; 4],
    /// Bytes of the head.
    pub(super) bytes: usize,
}

/// Reads the head at the beginning of `bytes`; `None` when it is not complete. A fault is told as
/// soon as its byte is there.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Head>, Fault> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let opcode = Opcode::new(first & 0x0f)?;
    let (is_last, is_compressed) = (first & FIN != 0, first & COMPRESSED != 0);
    if first & RESERVED != 0 || is_compressed && opcode.is_control() {
        return Err(Fault::ReservedBit);
    }
    let Some((&second, rest)) = rest.split_first() else {
        return Ok(None);
    };
    if second & MASKED == 0 {
        return Err(Fault::Unmasked);
    }
    let short = second & !MASKED;
    if opcode.is_control() && (!is_last || usize::from(short) > CONTROL_BYTES_MAX) {
        return Err(Fault::Control);
    }
    let (length, rest) = match short {
        126 => {
            let Some((long, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            let long = u64::from(u16::from_be_bytes(*long));
            (Some(long).filter(|&long| long > 125), rest)
        }
        127 => {
            let Some((long, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            let long = u64::from_be_bytes(*long);
            let is_minimal = long > u64::from(u16::MAX) && long >> 63 == 0;
            (Some(long).filter(|_| is_minimal), rest)
        }
        short => (Some(u64::from(short)), rest),
    };
    let length = length.ok_or(Fault::Length)?;
    let Some((mask, rest)) = rest.split_first_chunk() else {
        return Ok(None);
    };
    Ok(Some(Head {
        is_last,
        is_compressed,
        opcode,
        length,
        mask: *mask,
        bytes: bytes.len() - rest.len(),
    }))
}

/// Writes the head of a whole message or control frame of ours behind what `out` holds.
pub fn write_head(opcode: Opcode, is_compressed: bool, length: usize, out: &mut Vec<u8>) {
    let compressed = if is_compressed { COMPRESSED } else { 0 };
    out.push(FIN | compressed | opcode as u8);
    match length {
        0..=125 => out.push(u8::try_from(length).expect("it is at most 125")),
        126..=0xffff => {
            out.push(126);
            let length = u16::try_from(length).expect("it is at most 65,535");
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_in_the_fewest_bytes() {
        for (length, head) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65535, &[0x82, 126, 255, 255]),
            (65536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            write_head(Opcode::Binary, false, length, &mut out);
            assert_eq!(out, head);
            // A client's has a mask; all else is the same.
            out[1] |= MASKED;
            assert_eq!(parse(&out), Ok(None));
            out.extend_from_slice(&[1, 2, 3, 4, 5]);
            let parsed = parse(&out).unwrap().unwrap();
            assert_eq!(
                (parsed.length, parsed.bytes),
                (length as u64, out.len() - 1)
            );
        }
    }

    #[test]
    fn what_is_no_head_is_told_at_its_byte() {
        for (bytes, fault) in [
            (&[0x83][..], Fault::Opcode),
            (&[0x8f], Fault::Opcode),
            (&[0xa1], Fault::ReservedBit),
            (&[0x91], Fault::ReservedBit),
            (&[0xc9], Fault::ReservedBit),
            (&[0x81, 0], Fault::Unmasked),
            (&[0x09, 0x80], Fault::Control),
            (&[0x88, 0xfe], Fault::Control),
            (&[0x82, 0xfe, 0, 125], Fault::Length),
            (&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 255, 255], Fault::Length),
            (&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], Fault::Length),
        ] {
            assert_eq!(parse(bytes), Err(fault), "{bytes:x?}");
            assert_eq!(parse(&bytes[..bytes.len() - 1]), Ok(None), "{bytes:x?}");
        }
    }
}
