//! Why a WebSocket closes: the codes of RFC 6455, section 7.4, and what a client may do wrong.
//!
//! It closes nothing: it says which code a fault has, and writes the frame that tells it.

use super::frame::{CONTROL_BYTES_MAX, Opcode, write_head};

/// A code of a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(u16);

impl CloseCode {
    /// All is said.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The server is going away.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The protocol was broken.
    pub const PROTOCOL: CloseCode = CloseCode(1002);
    /// A message is not what it says that it is.
    pub const INVALID: CloseCode = CloseCode(1007);
    /// A rule of this server was broken.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// A message is larger than this server takes.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// The server restarts: come back.
    pub const RESTART: CloseCode = CloseCode(1012);
    /// Nobody is there to answer now: come back later.
    pub const TRY_AGAIN: CloseCode = CloseCode(1013);

    /// One that may be sent: those that RFC 6455 and IANA's registry define for frames, and those
    /// of libraries (3000 to 3999) and applications (4000 to 4999).
    pub fn new(code: u16) -> Option<CloseCode> {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(CloseCode(code))
    }

    /// As in the frame.
    pub fn number(self) -> u16 {
        self.0
    }
}

/// What a client did that a WebSocket does not survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A reserved bit is set that no extension uses, or not on the first frame of a message.
    #[error("a reserved bit is set")]
    ReservedBit,
    /// Opcodes 3 to 7 and 11 to 15.
    #[error("the opcode has no meaning")]
    Opcode,
    /// A client masks what it sends (section 5.1).
    #[error("a frame is not masked")]
    Unmasked,
    /// Not in the fewest bytes that hold it, or above 63 bits (section 5.2).
    #[error("a length is not written as it must be")]
    Length,
    /// A control frame that is fragmented, or has more than 125 bytes (section 5.5).
    #[error("a control frame is fragmented or too long")]
    Control,
    /// A continuation of nothing, or a message within another (section 5.4).
    #[error("fragments are out of order")]
    Order,
    /// A close frame with one byte, or with a code that may not be sent.
    #[error("a close frame has no valid code")]
    CloseCode,
    /// Text, or the reason of a close frame, that is not UTF-8.
    #[error("text is not UTF-8")]
    Text,
    /// What is compressed cannot be inflated.
    #[error("a compressed message is broken")]
    Compression,
    /// A message above the limit.
    #[error("a message is too big")]
    TooBig,
    /// A message in more frames than may be.
    #[error("a message has too many frames")]
    TooManyFrames,
}

impl Fault {
    /// What the client is told.
    pub fn code(self) -> CloseCode {
        match self {
            Fault::Text | Fault::Compression => CloseCode::INVALID,
            Fault::TooBig => CloseCode::TOO_BIG,
            Fault::TooManyFrames => CloseCode::POLICY,
            _ => CloseCode::PROTOCOL,
        }
    }
}

/// Writes a close frame behind what `out` holds; without a code it has no payload. What of the reason
/// does not fit a control frame is left out, whole characters of it.
pub fn close_frame(code: Option<CloseCode>, reason: &str, out: &mut Vec<u8>) {
    let Some(code) = code else {
        return write_head(Opcode::Close, false, 0, out);
    };
    let end = reason.floor_char_boundary(CONTROL_BYTES_MAX - 2);
    write_head(Opcode::Close, false, 2 + end, out);
    out.extend_from_slice(&code.0.to_be_bytes());
    out.extend_from_slice(&reason.as_bytes()[..end]);
}

/// The code in the payload of a close frame; none is allowed.
pub(super) fn code_of(payload: &[u8]) -> Result<Option<CloseCode>, Fault> {
    match payload {
        [] => Ok(None),
        [high, low, reason @ ..] => {
            let code = CloseCode::new(u16::from_be_bytes([*high, *low]));
            let code = code.ok_or(Fault::CloseCode)?;
            std::str::from_utf8(reason).map_err(|_| Fault::Text)?;
            Ok(Some(code))
        }
        [_] => Err(Fault::CloseCode),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_not_be_sent_are_none() {
        for code in [
            0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
        ] {
            assert_eq!(CloseCode::new(code), None, "{code}");
        }
        for code in [
            1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999,
        ] {
            assert_eq!(CloseCode::new(code).map(CloseCode::number), Some(code));
        }
    }

    #[test]
    fn a_close_frame_fits_a_control_frame() {
        let mut out = Vec::new();
        close_frame(Some(CloseCode::NORMAL), &"ä".repeat(100), &mut out);
        assert_eq!(out[..4], [0x88, 124, 3, 232]);
        assert_eq!(code_of(&out[2..]), Ok(Some(CloseCode::NORMAL)));
        out.clear();
        close_frame(None, "", &mut out);
        assert_eq!(out, [0x88, 0]);
    }

    #[test]
    fn a_code_is_whole_and_its_reason_is_text() {
        assert_eq!(code_of(b""), Ok(None));
        assert_eq!(code_of(&[3]), Err(Fault::CloseCode));
        assert_eq!(code_of(&[3, 237]), Err(Fault::CloseCode), "1005");
        assert_eq!(code_of(&[3, 232, 0xff]), Err(Fault::Text));
    }
}
