//! The demo page, and the answer to its question who else is connected.
//!
//! Off unless asked for: it tells anybody which ids are connected. Ordinary requests, answered by
//! hyper, one a connection: what follows on a browser's connection may be a stream, and that has
//! to arrive at the listener.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::line::Line;
use crate::edge::Edge;
use crate::wire::Id;

const PAGE: &str = include_str!("demo/page.html");

/// Ids named in one answer: what fits a page.
const NAMED_MAX: usize = 100;

/// The largest answer is the page.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Answers one request; `read` is what has been read of it.
pub(in crate::edge) async fn serve(edge: &Edge, read: &[u8], mut line: Line) {
    let (mut ours, theirs) = tokio::io::duplex(ANSWER_BYTES_MAX);
    let service = service_fn(|request: Request<Incoming>| async move {
        edge.metrics().requests.increment();
        Ok::<_, Infallible>(match request.uri().path() {
            "/demo/connections" => connections(edge).await,
            _ => page(),
        })
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(theirs), service);
    let answer = async {
        let mut answer = Vec::new();
        ours.write_all(read).await?;
        ours.read_to_end(&mut answer).await?;
        line.write_all(&answer).await?;
        line.finish(read.len()).await
    };
    // The client may be gone, or slow: its own affair, and the demo's only.
    let both = async { tokio::join!(connection, answer) };
    let _ = tokio::time::timeout(edge.config().head_timeout, both).await;
}

fn page() -> Response<Full<Bytes>> {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                  connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'";
    answer(
        "text/html; charset=utf-8",
        Bytes::from_static(PAGE.as_bytes()),
        Some(policy),
    )
}

async fn connections(edge: &Edge) -> Response<Full<Bytes>> {
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
    answer("application/json", body.into(), None)
}

fn answer(content_type: &str, body: Bytes, policy: Option<&str>) -> Response<Full<Bytes>> {
    let mut answer = Response::builder()
        .header(CONTENT_TYPE, content_type)
        .header(CACHE_CONTROL, "no-store");
    if let Some(policy) = policy {
        answer = answer.header(CONTENT_SECURITY_POLICY, policy);
    }
    answer
        .body(Full::new(body))
        .expect("these header values are valid")
}
