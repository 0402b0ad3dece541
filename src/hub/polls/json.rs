//! A message as JSON (RFC 8259): what stands for it in the answer to a long poll.
//!
//! Pure. `{"text":"..."}`, or `{"base64":"..."}` where the bytes are no UTF-8; in front of it `event` and
//! `id` if its sender gave them. Where one answer ends and the next begins is `polls`'s affair.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::wire::Lent;

/// Writes a message behind what `out` holds.
pub(in crate::hub) fn write(message: Lent<'_>, out: &mut Vec<u8>) {
    let meta = message.meta;
    let event = meta.and_then(|meta| meta.event.as_deref());
    let id = meta.and_then(|meta| meta.id.as_deref());
    let (name, content) = match std::str::from_utf8(message.payload) {
        Ok(text) => ("text", Cow::Borrowed(text)),
        Err(_) => ("base64", STANDARD.encode(message.payload).into()),
    };
    out.push(b'{');
    for (name, value) in [("event", event), ("id", id)] {
        if let Some(value) = value {
            member(name, &String::from_utf8_lossy(value), out);
            out.push(b',');
        }
    }
    member(name, &content, out);
    out.push(b'}');
}

fn member(name: &str, value: &str, out: &mut Vec<u8>) {
    for part in [name, value] {
        // A text has a JSON form, and a Vec takes it.
        let _ = serde_json::to_writer(&mut *out, part);
        out.push(b':');
    }
    out.pop();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{EventMeta, Message};

    fn text(message: &Message) -> String {
        let mut out = Vec::new();
        write(message.into(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_text_and_bytes_are_base64() {
        let quoted = Message::new("a \"b\"\n\u{1F40E}");
        assert_eq!(text(&quoted), "{\"text\":\"a \\\"b\\\"\\n\u{1F40E}\"}");
        assert_eq!(text(&Message::new(vec![0xff, 0])), "{\"base64\":\"/wA=\"}");
        assert_eq!(text(&Message::new("")), "{\"text\":\"\"}");
        let meta = EventMeta {
            event: Some("news".into()),
            id: Some("7".into()),
        };
        let named = Message {
            meta: Some(Box::new(meta)),
            ..Message::new("x")
        };
        assert_eq!(
            text(&named),
            "{\"event\":\"news\",\"id\":\"7\",\"text\":\"x\"}"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(payload in prop::collection::vec(any::<u8>(), 0..60)) {
            let json: serde_json::Value = serde_json::from_str(&text(&Message::new(payload.clone()))).unwrap();
            let back = match (json["text"].as_str(), json["base64"].as_str()) {
                (Some(text), None) => text.as_bytes().to_vec(),
                (None, Some(base64)) => STANDARD.decode(base64).unwrap(),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(back, payload);
        }
    }
}
