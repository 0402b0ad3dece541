//! The head of an answer whose status and fields somebody else chose: a handler in Erlang.
//!
//! Pure. What the fields may be, `ask` has checked; here they only meet those that are ours: the date,
//! the length, and what becomes of the connection.

use std::io::Write;
use std::time::SystemTime;

use bytes::Bytes;

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Then {
    /// It closes.
    Close,
}

/// Writes a head. `length` is that of the body, which follows unless the status forbids it.
pub(in crate::edge) fn write_head(
    out: &mut Vec<u8>,
    status: u16,
    fields: &[(Bytes, Bytes)],
    length: usize,
    then: Then,
) {
    let date = httpdate::HttpDate::from(SystemTime::now());
    // A Vec takes what is written.
    let _ = write!(
        out,
        "HTTP/1.1 {status} {}\r\nDate: {date}\r\n",
        phrase(status)
    );
    write_fields(out, fields);
    if has_body(status) {
        let _ = write!(out, "Content-Length: {length}\r\n");
    }
    match then {
        Then::Close => out.extend_from_slice(b"Connection: close\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes fields, a line each.
pub(in crate::edge) fn write_fields(out: &mut Vec<u8>, fields: &[(Bytes, Bytes)]) {
    for (name, value) in fields {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
}

/// Whether an answer with this status has a body (RFC 9110, section 6.4.1).
pub(in crate::edge) fn has_body(status: u16) -> bool {
    !matches!(status, 100..=199 | 204 | 304)
}

/// What people call it; nothing is a phrase, too (RFC 9112, section 4).
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        418 => "I'm a teapot",
        422 => "Unprocessable Content",
        423 => "Locked",
        425 => "Too Early",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, length: usize) -> String {
        let mut out = Vec::new();
        let fields = [("Location".into(), "/login".into())];
        write_head(&mut out, status, &fields, length, Then::Close);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_head_has_their_fields_and_ours() {
        let text = head(302, 5);
        assert!(text.starts_with("HTTP/1.1 302 Found\r\nDate: "), "{text}");
        let end = "\r\nLocation: /login\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
        assert!(text.ends_with(end), "{text}");
        assert!(head(599, 0).starts_with("HTTP/1.1 599 \r\n"));
        assert!(!head(204, 5).contains("Content-Length"));
    }
}
