//! What a held connection begins with: the head of its answer, and for SSE a `retry:`.
//!
//! Pure: the clock and the randomness are arguments. The head is made per connection, because it
//! carries the date and a jittered `retry:`; it goes to the shard as bytes and is never kept.

use std::io::Write;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::reply::write_fields;
use crate::hub::Framing;
use crate::websocket;
use crate::wire::Transport;

/// The greeting of a connection. `retry` is what SSE clients are asked to wait before they come
/// back, spread over a half to one and a half of it by `random` (between 0 and 1).
/// `fields` are a handler's: one of them goes before one of ours of the same name. `cors` are lines
/// for scripts of other sites.
pub(in crate::edge) fn greeting(
    framing: Framing,
    retry: Duration,
    fields: &[(Bytes, Bytes)],
    cors: &[u8],
    random: f64,
    date: SystemTime,
) -> Bytes {
    let content_type = match framing.transport() {
        Transport::Chunked => "application/octet-stream",
        Transport::Sse => "text/event-stream",
        Transport::Websocket => unreachable!("its answer is `upgraded`"),
        // Its answer comes with the first messages.
        Transport::Poll => return Bytes::new(),
    };
    let mut head = Vec::with_capacity(512);
    // A Vec takes what is written.
    let _ = write!(
        head,
        "HTTP/1.1 200 OK\r\nDate: {}\r\n",
        httpdate::HttpDate::from(date)
    );
    // X-Accel-Buffering asks nginx and its kin to pass events on as they come.
    for (name, value) in [
        ("Content-Type", content_type),
        ("Cache-Control", "no-store"),
        ("X-Accel-Buffering", "no"),
        ("X-Content-Type-Options", "nosniff"),
    ] {
        let is_it = |(theirs, _): &(Bytes, Bytes)| theirs.eq_ignore_ascii_case(name.as_bytes());
        if !fields.iter().any(is_it) {
            let _ = write!(head, "{name}: {value}\r\n");
        }
    }
    write_fields(&mut head, fields, cors);
    head.extend_from_slice(b"Connection: close\r\n");
    if let Framing::Chunked | Framing::ChunkedSse = framing {
        head.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    let retry_ms = retry.mul_f64(0.5 + random).as_millis();
    let begin = framing.retry(u32::try_from(retry_ms).unwrap_or(u32::MAX));
    let _ = write!(head, "\r\n{}", begin.unwrap_or_default());
    Bytes::from(head)
}

/// The answer to a WebSocket's handshake. `fields` are a handler's.
pub(in crate::edge) fn upgraded(
    greeting: &websocket::Greeting,
    fields: &[(Bytes, Bytes)],
    date: SystemTime,
) -> Bytes {
    let mut head = Vec::with_capacity(256);
    // A Vec takes what is written.
    let _ = write!(
        head,
        "HTTP/1.1 101 Switching Protocols\r\nDate: {}\r\n{}",
        httpdate::HttpDate::from(date),
        greeting.fields(),
    );
    write_fields(&mut head, fields, &[]);
    head.extend_from_slice(b"\r\n");
    Bytes::from(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(framing: Framing, random: f64) -> String {
        let retry = Duration::from_secs(2);
        let bytes = greeting(framing, retry, &[], b"", random, SystemTime::UNIX_EPOCH);
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn events_begin_with_a_jittered_retry() {
        assert!(text(Framing::ChunkedSse, 0.0).ends_with("\r\n\r\nd\r\nretry: 1000\n\n\r\n"));
        assert!(text(Framing::PlainSse, 1.0).ends_with("\r\n\r\nretry: 3000\n\n"));
    }

    #[test]
    fn http_1_0_gets_no_chunks() {
        assert!(!text(Framing::Plain, 0.5).contains("Transfer-Encoding"));
        assert!(text(Framing::Chunked, 0.5).contains("Transfer-Encoding: chunked\r\n"));
    }

    #[test]
    fn a_handlers_fields_go_before_ours() {
        let fields = [
            ("content-type".into(), "text/plain".into()),
            ("Set-Cookie".into(), "a=1".into()),
        ];
        let (second, date) = (Duration::from_secs(1), SystemTime::UNIX_EPOCH);
        let bytes = greeting(Framing::Chunked, second, &fields, b"", 0.5, date);
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(text.contains("\r\ncontent-type: text/plain\r\nSet-Cookie: a=1\r\n"));
        assert!(!text.contains("octet-stream"));
        assert_eq!(text.matches("\r\n\r\n").count(), 1);
    }
}
