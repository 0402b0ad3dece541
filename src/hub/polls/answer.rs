//! What a long poll is answered: a head, the cursor, and the messages as JSON (RFC 8259).
//!
//! Pure, and it chooses nothing: which messages go into an answer is `polls`'.

use std::io::Write;
use std::time::SystemTime;

use super::super::outbox::Entry;
use super::Cursor;

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) enum Answer {
    /// Messages, or the first cursor: 200.
    Told,
    /// Nothing has come: 204, the cursor in a field. Whoever is sent away is asked to wait this long.
    Nothing { retry_ms: Option<u32> },
    /// The cursor is not known any more, and this is a new one: 410.
    Anew,
    /// A later poll has taken its place: 409.
    Replaced,
}

/// Writes an answer to `out`. `fields` are fields of its head, ready made.
pub(super) fn write<'a>(
    answer: Answer,
    cursor: Cursor,
    entries: impl Iterator<Item = Entry<'a>>,
    date: SystemTime,
    fields: &[u8],
    out: &mut Vec<u8>,
) {
    let status = match answer {
        Answer::Told => "200 OK",
        Answer::Nothing { .. } => "204 No Content",
        Answer::Anew => "410 Gone",
        Answer::Replaced => "409 Conflict",
    };
    let date = httpdate::HttpDate::from(date);
    // A Vec takes what is written.
    let _ = write!(
        out,
        "HTTP/1.1 {status}\r\nDate: {date}\r\nLariat-Cursor: {cursor}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n"
    );
    out.extend_from_slice(fields);
    if let Answer::Nothing { retry_ms } = answer {
        if let Some(wait_ms) = retry_ms {
            let _ = write!(out, "Retry-After: {}\r\n", wait_ms.div_ceil(1000));
        }
        out.extend_from_slice(b"\r\n");
        return;
    }
    let mut body = Vec::new();
    let _ = write!(body, "{{\"cursor\":\"{cursor}\",\"messages\":[");
    let start = body.len();
    for entry in entries {
        if body.len() > start {
            body.push(b',');
        }
        match entry {
            Entry::Message(frame) => body.extend_from_slice(frame),
            Entry::Lost(lost) => {
                let _ = write!(body, "{{\"gap\":{lost}}}");
            }
        }
    }
    body.push(b']');
    let error = match answer {
        Answer::Anew => {
            "this cursor is not known any more; fetch what you may have missed, and go on with the \
             new one"
        }
        Answer::Replaced => "another poll with this cursor has come; one at a time waits",
        Answer::Told | Answer::Nothing { .. } => "",
    };
    if !error.is_empty() {
        let _ = write!(body, ",\"error\":\"{error}\"");
    }
    body.extend_from_slice(b"}\n");
    let _ = write!(
        out,
        "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    out.extend_from_slice(&body);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(answer: Answer, entries: Vec<Entry<'_>>) -> String {
        let cursor = Cursor {
            slot: 1,
            key: 2,
            seen: 3,
        };
        let mut out = Vec::new();
        let date = SystemTime::UNIX_EPOCH;
        write(
            answer,
            cursor,
            entries.into_iter(),
            date,
            b"X: y\r\n",
            &mut out,
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn messages_are_json_and_as_long_as_said() {
        let entries = vec![
            Entry::Message(b"{\"text\":\"a\"}"),
            Entry::Lost(7),
            Entry::Message(b"{\"text\":\"b\"}"),
        ];
        let text = text(Answer::Told, entries);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("\r\nX: y\r\n"), "{head}");
        assert!(
            head.contains(&format!("\r\nContent-Length: {}", body.len())),
            "{head}"
        );
        let expected = "{\"cursor\":\"1-0000000000000002-3\",\"messages\":[{\"text\":\"a\"},{\"gap\":7},{\"text\":\"b\"}]}\n";
        assert_eq!(body, expected);
    }

    #[test]
    fn nothing_has_no_body_and_may_ask_to_wait() {
        let retry_ms = Some(1001);
        let text = text(Answer::Nothing { retry_ms }, Vec::new());
        assert!(text.ends_with("Retry-After: 2\r\n\r\n"), "{text}");
        assert!(
            text.contains("Lariat-Cursor: 1-0000000000000002-3\r\n"),
            "{text}"
        );
        assert!(!text.contains("Content-Length"), "RFC 9110, section 8.6");
    }
}
