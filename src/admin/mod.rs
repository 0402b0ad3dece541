//! The operator's HTTP: health and metrics.
//!
//! | route | answer |
//! |---|---|
//! | `GET /healthz` | 200 `ok` while the process works, also while it starts and stops |
//! | `GET /readyz` | 200 `ready` while new connections are welcome; 503 while the node starts, stops, or a drain goes on |
//! | `GET /metrics` | the Prometheus text format, version 0.0.4 |
//!
//! It is given handles (metrics, readiness), never internals, and changes nothing. It has no
//! access control: bind it where only operators are.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::metrics::Metrics;

/// Connections served at the same time: a scraper, a probe and some operators need a handful.
const CONNECTIONS_MAX: usize = 64;

/// Time for a request head; a scraper sends it at once.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// What the admin side is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens. Default: 127.0.0.1:8001.
    pub listen: SocketAddr,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 8001)),
        }
    }
}

/// Why the admin side did not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for admin on {address}: {source}; choose another with --admin")]
pub struct Error {
    address: SocketAddr,
    source: std::io::Error,
}

/// Whether the node welcomes new connections. Cloning shares the state.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says so.
    pub fn set(&self, is_ready: bool) {
        self.0.store(is_ready, Ordering::Relaxed);
    }
}

/// Starts listening; answers with the address, and serves until the runtime ends.
pub async fn start(
    config: Config,
    metrics: Arc<Metrics>,
    readiness: Readiness,
) -> Result<SocketAddr, Error> {
    let bound = async {
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    let (listener, address) = bound.await.map_err(|source| Error {
        address: config.listen,
        source,
    })?;
    tokio::spawn(accept(listener, metrics, readiness));
    Ok(address)
}

async fn accept(listener: TcpListener, metrics: Arc<Metrics>, readiness: Readiness) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let Ok((stream, _)) = listener.accept().await else {
            // Out of open files: what is held counts for more than the operator's next look.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (metrics, readiness) = (Arc::clone(&metrics), readiness.clone());
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|request| {
                std::future::ready(Ok::<_, Infallible>(answer(&request, &metrics, &readiness)))
            });
            // A client that breaks off is its own affair.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(permit);
        });
    }
}

fn answer<B>(
    request: &Request<B>,
    metrics: &Metrics,
    readiness: &Readiness,
) -> Response<Full<Bytes>> {
    let text = "text/plain; charset=utf-8";
    let is_draining = metrics.draining.value() > 0;
    let is_ready = readiness.0.load(Ordering::Relaxed) && !is_draining;
    let (status, content_type, body) = match (request.uri().path(), request.method()) {
        ("/healthz" | "/readyz" | "/metrics", method)
            if method != Method::GET && method != Method::HEAD =>
        {
            (
                StatusCode::METHOD_NOT_ALLOWED,
                text,
                "this path has only GET\n".to_owned(),
            )
        }
        ("/healthz", _) => (StatusCode::OK, text, "ok\n".to_owned()),
        ("/readyz", _) if is_ready => (StatusCode::OK, text, "ready\n".to_owned()),
        ("/readyz", _) => (
            StatusCode::SERVICE_UNAVAILABLE,
            text,
            "not ready: starting, draining or stopping\n".to_owned(),
        ),
        ("/metrics", _) => (
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            metrics.render(),
        ),
        _ => (
            StatusCode::NOT_FOUND,
            text,
            "here are /healthz, /readyz and /metrics\n".to_owned(),
        ),
    };
    let mut answer = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type)
        .header(CACHE_CONTROL, "no-store");
    if status == StatusCode::METHOD_NOT_ALLOWED {
        answer = answer.header(ALLOW, "GET, HEAD");
    }
    answer
        .body(Full::new(body.into()))
        .expect("these header values are valid")
}
