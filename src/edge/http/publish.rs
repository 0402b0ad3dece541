//! A message that a program publishes by HTTP: who may, and what it says.
//!
//! Pure. Two forms: JSON, `{"to": [1, "a"], "subject": "s", "event": "e", "id": "i", "message": "m"}`, or the
//! message as the body and the rest in the query, `?to=1&to=a&subject=s&event=e&id=i`. An id is an
//! integer or text, as it would be in a path. What becomes of it is Erlang's affair.

use std::str::FromStr;

use bytes::Bytes;
use serde_json::Value;

use super::head::Head;
use super::pattern::decode;
use super::refusal::Refusal;
use crate::wire::{Id, Publish};

/// Ids that one request may name.
const TO_MAX: usize = 10_000;

/// The longest subject, name or id of an event, in bytes: that of an id.
const TEXT_BYTES_MAX: usize = 255;

/// What a publisher has to know.
#[derive(Clone, PartialEq, Eq)]
pub struct PublishToken(Box<[u8]>);

impl std::fmt::Debug for PublishToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl FromStr for PublishToken {
    type Err = String;

    fn from_str(text: &str) -> Result<PublishToken, String> {
        let token = text.trim();
        let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
        if token.len() < 16 || !is_plain {
            return Err("no token: accepted are 16 or more letters, digits and signs".to_owned());
        }
        Ok(PublishToken(token.as_bytes().into()))
    }
}

/// Whether the request has the token. How long that takes tells nothing of it but its length.
pub(in crate::edge) fn admit(token: Option<&PublishToken>, head: &Head<'_>) -> Result<(), Refusal> {
    let wanted = token.ok_or(Refusal::NotFound)?;
    let missing = Refusal::Unauthorized("a bearer token is needed");
    let given = head.authorization.ok_or(missing.clone())?;
    let (scheme, given) = given.split_at_checked(7).ok_or(missing.clone())?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(missing);
    }
    let given = given.trim_ascii();
    let pairs = given.iter().zip(wanted.0.iter());
    let differing = pairs.fold(0, |differing, (a, b)| differing | (a ^ b));
    match std::hint::black_box(differing) == 0 && given.len() == wanted.0.len() {
        true => Ok(()),
        false => Err(Refusal::Unauthorized("this token may not publish")),
    }
}

/// What a request wants published.
pub(in crate::edge) fn publication(
    is_json: bool,
    query: &str,
    body: &Bytes,
) -> Result<Publish, Refusal> {
    let publish = if is_json {
        from_json(body)?
    } else {
        from_query(query, body)?
    };
    if publish.to.is_empty() && publish.subject.is_none() {
        return Err(Refusal::BadRequest("it says neither to whom nor a subject"));
    }
    if publish.to.len() > TO_MAX {
        return Err(Refusal::BadRequest("it names more than 10,000 ids"));
    }
    let texts = [&publish.subject, &publish.event, &publish.id];
    let is_line = |text: &Bytes| !text.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    for text in texts.into_iter().flatten() {
        if text.len() > TEXT_BYTES_MAX || !is_line(text) {
            return Err(Refusal::BadRequest(
                "subject, event and id are one line of at most 255 bytes",
            ));
        }
    }
    Ok(publish)
}

fn from_json(body: &[u8]) -> Result<Publish, Refusal> {
    let wrong = Refusal::BadRequest;
    let value = serde_json::from_slice(body).map_err(|_| wrong("the body is not JSON"))?;
    let Value::Object(fields) = value else {
        return Err(wrong("the body is not a JSON object"));
    };
    let mut publish = Publish::default();
    let mut has_message = false;
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("to", Value::Array(ids)) => {
                publish.to = ids.into_iter().map(json_id).collect::<Result<_, _>>()?;
            }
            ("to", id) => publish.to = vec![json_id(id)?],
            ("subject", Value::String(text)) => publish.subject = Some(text.into()),
            ("event", Value::String(text)) => publish.event = Some(text.into()),
            ("id", Value::String(text)) => publish.id = Some(text.into()),
            ("message", Value::String(text)) => {
                has_message = true;
                publish.message = text.into();
            }
            // Anything else is told to clients as JSON.
            ("message", value) => {
                has_message = true;
                publish.message = value.to_string().into();
            }
            ("subject" | "event" | "id", _) => {
                return Err(wrong("subject, event and id are texts"));
            }
            _ => return Err(wrong("known are to, subject, event, id and message")),
        }
    }
    has_message
        .then_some(publish)
        .ok_or(wrong("it has no message"))
}

fn json_id(value: Value) -> Result<Id, Refusal> {
    match value {
        Value::Number(number) => number.as_i64().map(Id::Int),
        Value::String(text) if text.len() <= TEXT_BYTES_MAX => {
            Some(Id::from_path_segment(text.as_bytes()))
        }
        _ => None,
    }
    .ok_or(Refusal::BadRequest(
        "an id is an integer, or a text of at most 255 bytes",
    ))
}

fn from_query(query: &str, body: &Bytes) -> Result<Publish, Refusal> {
    let mut publish = Publish {
        message: body.clone(),
        ..Publish::default()
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = Bytes::from(decode(&value.replace('+', " "))?);
        match name {
            "to" if value.len() <= TEXT_BYTES_MAX && !value.is_empty() => {
                publish.to.push(Id::from_path_segment(&value));
            }
            "to" => return Err(Refusal::IdTooLong),
            "subject" => publish.subject = Some(value),
            "event" => publish.event = Some(value),
            "id" => publish.id = Some(value),
            _ => return Err(Refusal::BadRequest("known are to, subject, event and id")),
        }
    }
    Ok(publish)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &'static str) -> Result<Publish, Refusal> {
        publication(true, "", &Bytes::from_static(text.as_bytes()))
    }

    fn raw(query: &str) -> Result<Publish, Refusal> {
        publication(false, query, &Bytes::from_static(b"hi"))
    }

    #[test]
    fn both_forms_say_the_same() {
        let expected = Publish {
            to: vec![Id::Int(1), Id::Bin((*b"a b").into())],
            subject: Some("s".into()),
            event: Some("e".into()),
            id: Some("7".into()),
            message: "hi".into(),
        };
        let told =
            r#"{"to": [1, "a b"], "subject": "s", "event": "e", "id": "7", "message": "hi"}"#;
        assert_eq!(json(told), Ok(expected.clone()));
        assert_eq!(raw("to=1&to=a+b&subject=s&event=e&id=7"), Ok(expected));
        let nested = json(r#"{"to": "1", "message": {"a": [1]}}"#).unwrap();
        assert_eq!(
            (nested.to, &nested.message[..]),
            (vec![Id::Int(1)], &br#"{"a":[1]}"#[..])
        );
    }

    #[test]
    fn what_says_too_little_or_too_much_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"to": 1}"#,
            r#"{"message": "m"}"#,
            r#"{"to": [], "message": "m"}"#,
            r#"{"to": [1.5], "message": "m"}"#,
            r#"{"to": [null], "message": "m"}"#,
            r#"{"to": 1, "message": "m", "more": 1}"#,
            r#"{"subject": 1, "message": "m"}"#,
            r#"{"to": 1, "event": "a\nb", "message": "m"}"#,
        ] {
            assert!(matches!(json(text), Err(Refusal::BadRequest(_))), "{text}");
        }
        let deep = Bytes::from("[".repeat(100_000));
        assert!(publication(true, "", &deep).is_err());
        for query in ["", "event=e", "to=1&x=y", "to=%", "to=1&id=a%0Ab"] {
            assert!(matches!(raw(query), Err(Refusal::BadRequest(_))), "{query}");
        }
    }

    #[test]
    fn the_token_is_the_whole_token() {
        let token: PublishToken = "0123456789abcdef\n".parse().unwrap();
        let admitted = |authorization: Option<&'static str>| {
            let head = Head {
                authorization: authorization.map(str::as_bytes),
                ..Head::default()
            };
            admit(Some(&token), &head)
        };
        assert_eq!(admitted(Some("Bearer 0123456789abcdef")), Ok(()));
        assert_eq!(admitted(Some("bearer  0123456789abcdef")), Ok(()));
        for wrong in [
            None,
            Some(""),
            Some("Bearer"),
            Some("Bearer "),
            Some("Basic 0123456789abcdef"),
            Some("Bearer 0123456789abcdeg"),
            Some("Bearer 0123456789abcde"),
            Some("Bearer 0123456789abcdef0"),
        ] {
            assert!(
                matches!(admitted(wrong), Err(Refusal::Unauthorized(_))),
                "{wrong:?}"
            );
        }
        assert_eq!(admit(None, &Head::default()), Err(Refusal::NotFound));
        assert!("short".parse::<PublishToken>().is_err());
    }
}
