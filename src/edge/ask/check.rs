//! Whether an answer fits its question, and may go out as HTTP.
//!
//! Pure. Whatever was answered: what goes out is one well-formed head with the fields of a handler
//! among ours, never a field that says how the connection or the body is framed.

use bytes::Bytes;

use crate::wire::{Answer, Ask, Heartbeat};

/// Fields of one answer, and their bytes: twice what a request's head may have.
const FIELDS_MAX: usize = 128;
const FIELD_BYTES_MAX: usize = 16 * 1024;

/// A reason is a line or two.
const REASON_BYTES_MAX: usize = 4 * 1024;

/// A heartbeat of less would be traffic, not a sign of life; of a day or more is none.
const HEARTBEAT_MS: std::ops::RangeInclusive<u128> = 1000..=86_400_000;

/// What says how the connection or the body is framed (RFC 9110, section 7.6.1; RFC 9112, section 6),
/// and the date: ours to say.
const OURS: [&str; 11] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// What is asked, as far as it decides what may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// May it be held?
    Held,
    /// What is it answered?
    Answered,
    /// Are these taken?
    Batch,
}

impl Question {
    pub(super) fn of(ask: &Ask) -> Question {
        match ask {
            Ask::Request(request) if request.kind.is_held() => Question::Held,
            Ask::Request(_) => Question::Answered,
            Ask::Batch { .. } => Question::Batch,
        }
    }
}

/// The answer without the fields that are ours to say; `None` when it is not one to this question.
pub(super) fn checked(question: Question, mut answer: Answer) -> Option<Answer> {
    let fits = match (&mut answer, question) {
        (Answer::Accept { options, .. }, Question::Held) => {
            let beats = match options.heartbeat {
                Some(Heartbeat::Every(pause)) => HEARTBEAT_MS.contains(&pause.as_millis()),
                Some(Heartbeat::Off) | None => true,
            };
            beats && are_fields(&mut options.headers)
        }
        (
            Answer::Reply {
                status, headers, ..
            },
            _,
        ) => (200..=599).contains(status) && are_fields(headers),
        (Answer::Reject { status, reason }, _) => {
            (400..=599).contains(status) && reason.len() <= REASON_BYTES_MAX
        }
        (Answer::Taken, Question::Batch) => true,
        (Answer::Accept { .. } | Answer::Taken, _) => false,
    };
    fits.then_some(answer)
}

/// The fields of a reply as they would go out.
#[cfg(test)]
pub(in crate::edge) fn checked_reply(
    status: u16,
    headers: Vec<(Bytes, Bytes)>,
) -> Option<Vec<(Bytes, Bytes)>> {
    let body = Bytes::new();
    let reply = Answer::Reply {
        status,
        headers,
        body,
    };
    match checked(Question::Answered, reply)? {
        Answer::Reply { headers, .. } => Some(headers),
        _ => None,
    }
}

/// Whether these may go out; takes out what is ours to say.
fn are_fields(fields: &mut Vec<(Bytes, Bytes)>) -> bool {
    let bytes: usize = fields
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    let are_well = fields.len() <= FIELDS_MAX
        && bytes <= FIELD_BYTES_MAX
        && fields
            .iter()
            .all(|(name, value)| is_name(name) && is_value(value));
    let is_ours = |name: &[u8]| {
        OURS.iter()
            .any(|ours| name.eq_ignore_ascii_case(ours.as_bytes()))
    };
    fields.retain(|(name, _)| !is_ours(name));
    are_well
}

/// A token (RFC 9110, section 5.6.2).
fn is_name(name: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_token)
}

/// Without what ends a line, and without other controls but a tab (RFC 9110, section 5.5).
fn is_value(value: &[u8]) -> bool {
    value
        .iter()
        .all(|&byte| byte == b'\t' || byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::{AcceptOptions, Id};

    fn reply(status: u16, headers: &[(&'static str, &'static str)]) -> Answer {
        Answer::Reply {
            status,
            headers: fields(headers),
            body: Bytes::new(),
        }
    }

    fn fields(fields: &[(&'static str, &'static str)]) -> Vec<(Bytes, Bytes)> {
        let fields = fields.iter();
        fields
            .map(|&(name, value)| (name.into(), value.into()))
            .collect()
    }

    fn accept(heartbeat: Option<Heartbeat>) -> Answer {
        Answer::Accept {
            id: Id::Int(1),
            options: AcceptOptions {
                heartbeat,
                ..AcceptOptions::default()
            },
        }
    }

    #[test]
    fn what_splits_a_head_is_no_answer() {
        for bad in [
            ("x", "a\r\nSet-Cookie: b"),
            ("x", "a\nb"),
            ("x", "a\0"),
            ("x", "a\x7f"),
            ("", "a"),
            ("a b", "c"),
            ("a:", "c"),
            ("a\r\nb", "c"),
            ("ä", "c"),
        ] {
            assert_eq!(
                checked(Question::Answered, reply(200, &[bad])),
                None,
                "{bad:?}"
            );
        }
        let good = reply(
            200,
            &[("Set-Cookie", "a=1; Path=/"), ("set-cookie", "b\t=ä")],
        );
        assert_eq!(checked(Question::Answered, good.clone()), Some(good));
    }

    #[test]
    fn what_is_ours_to_say_is_left_out() {
        let said = [
            ("Content-Length", "7"),
            ("TRANSFER-ENCODING", "chunked"),
            ("connection", "keep-alive"),
            ("X-Mine", "1"),
        ];
        let left = reply(201, &[("X-Mine", "1")]);
        assert_eq!(checked(Question::Answered, reply(201, &said)), Some(left));
    }

    #[test]
    fn an_answer_fits_its_question() {
        for question in [Question::Held, Question::Answered, Question::Batch] {
            for (status, is_well) in [(199, false), (200, true), (599, true), (600, false)] {
                assert_eq!(checked(question, reply(status, &[])).is_some(), is_well);
            }
            for (status, is_well) in [(200, false), (403, true), (65535, false)] {
                let reason = Bytes::from("no");
                let answer = Answer::Reject { status, reason };
                assert_eq!(checked(question, answer).is_some(), is_well);
            }
            assert_eq!(
                checked(question, accept(None)).is_some(),
                question == Question::Held
            );
            let is_batch = question == Question::Batch;
            assert_eq!(checked(question, Answer::Taken).is_some(), is_batch);
        }
        let every = |ms| Some(Heartbeat::Every(Duration::from_millis(ms)));
        for (heartbeat, is_well) in [
            (Some(Heartbeat::Off), true),
            (every(999), false),
            (every(1000), true),
            (every(86_400_001), false),
        ] {
            assert_eq!(
                checked(Question::Held, accept(heartbeat)).is_some(),
                is_well
            );
        }
    }

    #[test]
    fn answers_are_bounded() {
        let long = Box::leak("x".repeat(FIELD_BYTES_MAX).into_boxed_str());
        assert_eq!(checked(Question::Held, reply(200, &[("a", long)])), None);
        let many = [("a", "b"); FIELDS_MAX + 1];
        assert_eq!(checked(Question::Held, reply(200, &many)), None);
        let reason = Bytes::from(vec![b'x'; REASON_BYTES_MAX + 1]);
        let reject = Answer::Reject {
            status: 403,
            reason,
        };
        assert_eq!(checked(Question::Held, reject), None);
    }
}
