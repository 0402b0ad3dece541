//! Posts as fast as they are answered: a fixed number of connections, each with so many requests on
//! their way, and what that makes in a second.
//!
//! One thread and a poller. A connection writes all its requests at once and the next ones when all
//! are answered; what is sent is always the same. It does not hold streams: `load` does.

mod connection;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};
use serde::Serialize;

use crate::output;
use connection::Connection;

/// Latencies up to a minute, in microseconds, to three digits.
const LATENCY_US_MAX: u64 = 60_000_000;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where: http://HOST:PORT/PATH
    #[arg(long, value_name = "URL")]
    url: String,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 32,
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Requests that a connection has on their way
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pipeline: u32,
    /// The body is this file
    #[arg(long, value_name = "FILE", conflicts_with = "bytes")]
    post: Option<PathBuf>,
    /// The body is lines of this many bytes each, line end included
    #[arg(long, value_name = "B", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(2..=65_536))]
    bytes: u32,
    /// Events in a body: lines, unless it is a file
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    events: u32,
    /// GET without a body instead
    #[arg(long)]
    get: bool,
    /// For how long, after a second that does not count
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    duration: Duration,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{url:?} is no address; accepted: http://HOST:PORT/PATH")]
    Url { url: String },
    #[error("cannot read {}: {source}", path.display())]
    Body { path: PathBuf, source: io::Error },
    #[error("cannot connect or poll: {0}")]
    Socket(#[from] io::Error),
    #[error("nothing is answered for a minute")]
    Silent,
}

#[derive(Debug, Serialize)]
struct Report {
    event: &'static str,
    /// Every answer was a success.
    ok: bool,
    connections: u32,
    pipeline: u32,
    seconds: f64,
    requests_per_second: f64,
    events_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// How many answers had which status.
    statuses: BTreeMap<u16, u64>,
    /// Connections that ended.
    ended: u32,
}

/// Posts and prints; true when every answer was a success.
pub(crate) fn run(options: &Options) -> Result<bool, Error> {
    let (address, request) = request(options)?;
    let all = request.repeat(options.pipeline as usize);
    let mut poll = Poll::new()?;
    let mut connections = Vec::new();
    for number in 0..options.connections {
        let mut stream = mio::net::TcpStream::from_std({
            let stream = std::net::TcpStream::connect(address)?;
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            stream
        });
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut stream, Token(number as usize), interest)?;
        connections.push(Some(Connection::new(stream, options.pipeline)));
    }
    let mut tally = Tally::new();
    let mut scratch = vec![0; READ_BYTES];
    let mut ended = 0;
    let mut events = Events::with_capacity(1024);
    let begin = Instant::now() + Duration::from_secs(1);
    let end = begin + options.duration;
    let mut is_warm = false;
    loop {
        poll.poll(&mut events, Some(Duration::from_secs(60)))?;
        if events.is_empty() {
            return Err(Error::Silent);
        }
        let now = Instant::now();
        if !is_warm && now >= begin {
            is_warm = true;
            tally = Tally::new();
        }
        if now >= end {
            break;
        }
        for event in &events {
            let Token(number) = event.token();
            let place = &mut connections[number];
            if let Some(connection) = place
                && !connection.advance(&all, &mut scratch, &mut tally)?
            {
                *place = None;
                ended += 1;
            }
        }
        if ended == options.connections {
            break;
        }
    }
    let report = tally.report(options, ended);
    let is_ok = report.ok;
    output::print(&output::json_line(&report)?)?;
    Ok(is_ok)
}

/// The address, and one request.
fn request(options: &Options) -> Result<(SocketAddr, Vec<u8>), Error> {
    let wrong = || Error::Url {
        url: options.url.clone(),
    };
    let rest = options.url.strip_prefix("http://").ok_or_else(wrong)?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let address = host.to_socket_addrs().map_err(|_| wrong())?.next();
    let address = address.ok_or_else(wrong)?;
    let path = if path.is_empty() { "/" } else { path };
    if options.get {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        return Ok((address, head.into_bytes()));
    }
    let body = match &options.post {
        Some(path) => std::fs::read(path).map_err(|source| Error::Body {
            path: path.clone(),
            source,
        })?,
        None => {
            let line = format!("{}\n", "x".repeat(options.bytes as usize - 1));
            line.repeat(options.events as usize).into_bytes()
        }
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    Ok((address, [head.into_bytes(), body].concat()))
}

/// What was answered.
pub(crate) struct Tally {
    begin: Instant,
    statuses: BTreeMap<u16, u64>,
    latency_us: Histogram<u64>,
}

impl Tally {
    fn new() -> Tally {
        Tally {
            begin: Instant::now(),
            statuses: BTreeMap::new(),
            latency_us: Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)
                .expect("these bounds are in order"),
        }
    }

    fn count(&mut self, status: u16, latency: Duration) {
        *self.statuses.entry(status).or_default() += 1;
        let latency_us = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_US_MAX);
        self.latency_us.saturating_record(latency_us.max(1));
    }

    fn report(self, options: &Options, ended: u32) -> Report {
        let seconds = self.begin.elapsed().as_secs_f64();
        let requests: u64 = self.statuses.values().sum();
        let rate = requests as f64 / seconds;
        let ms = |quantile| self.latency_us.value_at_quantile(quantile) as f64 / 1000.0;
        let are_well = self
            .statuses
            .keys()
            .all(|status| (200..300).contains(status));
        Report {
            event: "report",
            ok: are_well && requests > 0 && ended == 0,
            connections: options.connections,
            pipeline: options.pipeline,
            seconds,
            requests_per_second: rate,
            events_per_second: rate * f64::from(options.events),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            max_ms: self.latency_us.max() as f64 / 1000.0,
            statuses: self.statuses,
            ended,
        }
    }
}
