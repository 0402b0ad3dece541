//! The demo page, and the answer to its question who else is connected.
//!
//! Off unless asked for: it tells anybody which ids are connected. A stream may follow on the same
//! connection, as in any browser.

use super::reply::{self, Manner};
use crate::edge::Edge;
use crate::wire::Id;

const PAGE: &str = include_str!("demo/page.html");

const PAGE_FIELDS: &str = "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n\
     Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; \
     script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'none'\r\n";

/// Ids named in one answer: what fits a page.
const NAMED_MAX: usize = 100;

/// Writes the page.
pub(in crate::edge) fn page(out: &mut Vec<u8>, manner: &Manner) {
    reply::write(out, 200, PAGE_FIELDS.as_bytes(), PAGE.as_bytes(), manner);
}

/// Writes who is connected.
pub(in crate::edge) async fn connections(edge: &Edge, out: &mut Vec<u8>, manner: &Manner) {
    let (named, total) = edge.sample(NAMED_MAX).await;
    let named = named.into_iter().map(|(id, transport)| {
        let id = match id {
            Id::Int(number) => number.to_string(),
            Id::Bin(bytes) | Id::Term(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        };
        serde_json::json!({ "id": id, "transport": transport.as_str() })
    });
    let named: Vec<_> = named.collect();
    let body = serde_json::json!({ "connections": named, "total": total }).to_string();
    let fields = b"Content-Type: application/json\r\nCache-Control: no-store\r\n";
    reply::write(out, 200, fields, body.as_bytes(), manner);
}
