//! The head of a response, as far as a holder of streams cares (RFC 9112 sections 4 and 6).
//!
//! It does not keep the fields; what those of a WebSocket have to be is the `handshake`'s affair. Interim answers (1xx) are not waited through: we ask nothing that
//! calls for one, so one is a refusal like any status but 200.

use super::fault::Fault;
use super::handshake;

/// What an honest server's head never reaches; the node itself limits requests to as much.
pub(super) const HEAD_BYTES_MAX: usize = 8192;

/// Fields of a head; a node sends under ten, a proxy adds some.
const FIELDS_MAX: usize = 64;

/// What a complete head says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the head, its empty line included.
    pub(super) bytes: usize,
    pub(super) status: u16,
    pub(super) is_chunked: bool,
    pub(super) has_length: bool,
    pub(super) is_event_stream: bool,
    /// Retry-After in seconds; as a date it is not understood, and counts as none.
    pub(super) retry_after_s: Option<u32>,
    /// Upgrade: websocket
    pub(super) upgrades: bool,
    /// Connection: Upgrade
    pub(super) connection_upgrades: bool,
    /// Sec-WebSocket-Accept
    pub(super) accept: Option<[u8; 28]>,
    pub(super) has_protocol: bool,
    pub(super) has_extension: bool,
    /// permessage-deflate is the extension.
    pub(super) is_deflate: bool,
}

/// `None`: the head is not complete yet.
pub(super) fn parse(input: &[u8]) -> Result<Option<Head>, Fault> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let window = &input[..input.len().min(HEAD_BYTES_MAX)];
    let bytes = match response.parse(window) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) if input.len() >= HEAD_BYTES_MAX => {
            return Err(Fault::HeadTooLarge);
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Fault::Head),
    };
    if response.version != Some(1) {
        return Err(Fault::Head);
    }
    let mut head = Head {
        bytes,
        status: response.code.ok_or(Fault::Head)?,
        is_chunked: false,
        has_length: false,
        is_event_stream: false,
        retry_after_s: None,
        upgrades: false,
        connection_upgrades: false,
        accept: None,
        has_protocol: false,
        has_extension: false,
        is_deflate: false,
    };
    for field in response.headers.iter() {
        let value = field.value.trim_ascii();
        if field.name.eq_ignore_ascii_case("transfer-encoding") {
            if head.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::TransferEncoding);
            }
            head.is_chunked = true;
        } else if field.name.eq_ignore_ascii_case("content-length") {
            head.has_length = true;
        } else if field.name.eq_ignore_ascii_case("retry-after") {
            head.retry_after_s = std::str::from_utf8(value).ok().and_then(|s| s.parse().ok());
        } else if field.name.eq_ignore_ascii_case("content-type") {
            let kind = value.split(|byte| *byte == b';').next().unwrap_or_default();
            head.is_event_stream = kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream");
        } else if field.name.eq_ignore_ascii_case("upgrade") {
            head.upgrades = value.eq_ignore_ascii_case(b"websocket");
        } else if field.name.eq_ignore_ascii_case("connection") {
            head.connection_upgrades |= value
                .split(|byte| *byte == b',')
                .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
        } else if field.name.eq_ignore_ascii_case("sec-websocket-accept") {
            head.accept = value.try_into().ok();
        } else if field.name.eq_ignore_ascii_case("sec-websocket-protocol") {
            head.has_protocol = true;
        } else if field.name.eq_ignore_ascii_case("sec-websocket-extensions") {
            // A second such field would be a second extension.
            head.is_deflate = !head.has_extension && handshake::is_deflate(value);
            head.has_extension = true;
        }
    }
    if head.is_chunked && head.has_length {
        return Err(Fault::TwoLengths);
    }
    Ok(Some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_recognised() {
        let bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\
            Content-Type: text/event-stream; charset=utf-8\r\n\r\nrest";
        let head = parse(bytes).unwrap().unwrap();
        assert_eq!(&bytes[head.bytes..], b"rest");
        assert!(head.is_chunked && head.is_event_stream && !head.has_length);
        assert_eq!(head.status, 200);
    }

    #[test]
    fn a_cut_head_is_waited_for() {
        let bytes = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\n\r\n";
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Ok(None), "after {end} bytes");
        }
        let head = parse(bytes).unwrap().unwrap();
        assert_eq!((head.status, head.retry_after_s), (503, Some(3)));
    }

    #[test]
    fn what_is_no_head_of_a_stream_is_a_fault() {
        let judged = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert_eq!(judged("SSH-2.0-OpenSSH\r\n"), Fault::Head);
        assert_eq!(judged("HTTP/1.0 200 OK\r\n\r\n"), Fault::Head);
        assert_eq!(
            judged("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
            Fault::TransferEncoding
        );
        assert_eq!(
            judged("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"),
            Fault::TwoLengths
        );
        let long = format!(
            "HTTP/1.1 200 OK\r\nx: {}\r\n\r\n",
            "y".repeat(HEAD_BYTES_MAX)
        );
        assert_eq!(judged(&long), Fault::HeadTooLarge);
    }
}
