//! What a held connection begins with: the head of its answer, and for SSE a `retry:`.
//!
//! Pure: the clock and the randomness are arguments. The head is made per connection, because it
//! carries the date and a jittered `retry:`; it goes to the shard as bytes and is never kept.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::hub::Framing;
use crate::wire::Transport;

/// The greeting of a connection. `retry` is what SSE clients are asked to wait before they come
/// back, spread over a half to one and a half of it by `random` (between 0 and 1).
pub(in crate::edge) fn greeting(
    framing: Framing,
    retry: Duration,
    random: f64,
    date: SystemTime,
) -> Bytes {
    let content_type = match framing.transport() {
        Transport::Chunked => "application/octet-stream",
        Transport::Sse => "text/event-stream",
    };
    let encoding = match framing {
        Framing::Chunked | Framing::ChunkedSse => "Transfer-Encoding: chunked\r\n",
        Framing::Plain | Framing::PlainSse => "",
    };
    let retry_ms = retry.mul_f64(0.5 + random).as_millis();
    let begin = framing.retry(u32::try_from(retry_ms).unwrap_or(u32::MAX));
    let begin = begin.unwrap_or_default();
    // X-Accel-Buffering asks nginx and its kin to pass events on as they come.
    let head = format!(
        "HTTP/1.1 200 OK\r\nDate: {}\r\nContent-Type: {content_type}\r\n\
         Cache-Control: no-store\r\nX-Accel-Buffering: no\r\nX-Content-Type-Options: nosniff\r\n\
         Connection: close\r\n{encoding}\r\n{begin}",
        httpdate::fmt_http_date(date),
    );
    Bytes::from(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(framing: Framing, random: f64) -> String {
        let retry = Duration::from_secs(2);
        let bytes = greeting(framing, retry, random, SystemTime::UNIX_EPOCH);
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
}
