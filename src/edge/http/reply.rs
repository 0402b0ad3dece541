//! Answers with a length, after which the connection may go on: ours, and those that a handler in
//! Erlang chose.
//!
//! Pure: bytes into a buffer. What a handler's fields may be, `ask` has checked; here they only meet
//! those that are ours: the date, the length, what scripts of other sites may read, and what becomes
//! of the connection. Refusals, after which it closes, are `refusal`'s.

use std::io::Write;
use std::time::SystemTime;

use bytes::Bytes;

use super::refusal::Refusal;

/// How an answer is sent.
#[derive(Clone, Debug)]
pub(in crate::edge) struct Manner {
    /// To a HEAD request: the head alone.
    pub(in crate::edge) is_head: bool,
    /// To HTTP/1.0, which has to be told that the connection goes on.
    pub(in crate::edge) is_old: bool,
    /// Nothing follows.
    pub(in crate::edge) closes: bool,
    /// Fields for scripts of other sites, each with its line end.
    pub(in crate::edge) cors: Bytes,
}

/// Writes an answer of ours; `fields` are lines with their ends.
pub(in crate::edge) fn write(
    out: &mut Vec<u8>,
    status: u16,
    fields: &[u8],
    body: &[u8],
    manner: &Manner,
) {
    begin(out, status);
    out.extend_from_slice(&manner.cors);
    out.extend_from_slice(fields);
    end(out, status, body, manner);
}

/// Writes the answer that a handler has given.
pub(in crate::edge) fn write_reply(
    out: &mut Vec<u8>,
    status: u16,
    fields: &[(Bytes, Bytes)],
    body: &[u8],
    manner: &Manner,
) {
    begin(out, status);
    write_fields(out, fields, &manner.cors);
    end(out, status, body, manner);
}

/// Writes the short answer of a handler that turns a client away.
pub(in crate::edge) fn write_reject(
    out: &mut Vec<u8>,
    status: u16,
    reason: &[u8],
    manner: &Manner,
) {
    let fields = b"Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\
                   X-Content-Type-Options: nosniff\r\n";
    write(out, status, fields, reason, manner);
}

/// Writes a refusal after which the connection may go on: the request was understood, and there is
/// no answer to it.
pub(in crate::edge) fn write_refusal(out: &mut Vec<u8>, refusal: &Refusal, manner: &Manner) {
    let mut fields = Vec::new();
    refusal.write_fields(&mut fields);
    let what = format!("{}\n", refusal.what());
    write(out, refusal.status(), &fields, what.as_bytes(), manner);
}

/// Writes fields that a handler chose, a line each. Where the config says what other sites may read,
/// the handler does not.
pub(in crate::edge) fn write_fields(out: &mut Vec<u8>, fields: &[(Bytes, Bytes)], cors: &[u8]) {
    const CORS: &[u8] = b"access-control-allow-";
    out.extend_from_slice(cors);
    for (name, value) in fields {
        let begin = name.get(..CORS.len()).unwrap_or_default();
        if !cors.is_empty() && begin.eq_ignore_ascii_case(CORS) {
            continue;
        }
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
}

fn begin(out: &mut Vec<u8>, status: u16) {
    let date = httpdate::HttpDate::from(SystemTime::now());
    // A Vec takes what is written.
    let _ = write!(
        out,
        "HTTP/1.1 {status} {}\r\nDate: {date}\r\n",
        phrase(status)
    );
}

fn end(out: &mut Vec<u8>, status: u16, body: &[u8], manner: &Manner) {
    if has_body(status) {
        // A Vec takes what is written.
        let _ = write!(out, "Content-Length: {}\r\n", body.len());
    }
    if manner.closes {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if manner.is_old {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if has_body(status) && !manner.is_head {
        out.extend_from_slice(body);
    }
}

/// Whether an answer with this status has a body (RFC 9110, section 6.4.1).
pub(in crate::edge) fn has_body(status: u16) -> bool {
    !matches!(status, 100..=199 | 204 | 304)
}

/// What people call it; nothing is a phrase, too (RFC 9112, section 4).
pub(in crate::edge) fn phrase(status: u16) -> &'static str {
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
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        418 => "I'm a teapot",
        422 => "Unprocessable Content",
        423 => "Locked",
        425 => "Too Early",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Manner = Manner {
        is_head: false,
        is_old: false,
        closes: false,
        cors: Bytes::new(),
    };

    fn written(status: u16, name: &'static str, manner: &Manner) -> String {
        let fields = [(name.into(), "x".into())];
        let mut out = Vec::new();
        write_reply(&mut out, status, &fields, b"body", manner);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_has_its_length_and_leaves_the_connection() {
        let text = written(302, "Location", &PLAIN);
        assert!(text.starts_with("HTTP/1.1 302 Found\r\nDate: "), "{text}");
        assert!(
            text.ends_with("Location: x\r\nContent-Length: 4\r\n\r\nbody"),
            "{text}"
        );
        assert!(!text.contains("Connection"));
        let closes = Manner {
            closes: true,
            is_head: true,
            ..PLAIN
        };
        let text = written(599, "X", &closes);
        assert!(text.starts_with("HTTP/1.1 599 \r\n"), "{text}");
        assert!(
            text.ends_with("Content-Length: 4\r\nConnection: close\r\n\r\n"),
            "{text}"
        );
        for status in [204, 304] {
            let text = written(status, "X", &PLAIN);
            assert!(
                text.ends_with("\r\n\r\n") && !text.contains("Content-Length"),
                "{text}"
            );
        }
        let old = Manner {
            is_old: true,
            ..PLAIN
        };
        assert!(written(200, "X", &old).contains("Connection: keep-alive\r\n"));
    }

    #[test]
    fn there_is_one_rule_for_other_sites() {
        let cors = Manner {
            cors: Bytes::from_static(b"Access-Control-Allow-Origin: https://a\r\n"),
            ..PLAIN
        };
        let own = "access-control-allow-origin";
        assert!(!written(200, own, &cors).contains("origin: x"));
        assert!(written(200, own, &PLAIN).contains("origin: x"));
    }
}
