//! The load generator: holds many streams against a node from one thread, counts and times what
//! arrives, and says whether that is what was expected.
//!
//! It sends nothing after its requests but what a WebSocket's client has to answer: whoever talks to the node's Erlang side makes the
//! messages. A stream that the server ends is over, unless it was asked to come back.
//!
//! * What is asked: `options`, `target` (URL, ids, request), `plan` (one process's part of it).
//! * Holding: `driver` is the poller that turns `schedule` (when to open), `source` and `socket`
//!   (from where, and how), `leaves` (who goes when), `pace` (slow readers) and `connection` (made of
//!   `head`, `chunked`, `sse`, `websocket`, `message`, `stamp`: bytes to events). A `websocket` is made of
//!   `handshake` and `frames`. `crew` is several of it, each a `member`;
//!   `holder` is what both are, and `client` lends it to other tools.
//! * Counting: `tally`, made of `class` and `storm`.
//! * Telling: `run` turns a holder, the `goal` (when it is over) and the `teller` (`report`,
//!   `timeline`, `plot`, `memory`); `stop` is who may end it.

mod chunked;
mod class;
mod client;
mod connection;
mod crew;
mod driver;
mod fault;
mod frames;
mod goal;
mod handshake;
mod head;
mod holder;
mod leaves;
mod member;
mod memory;
mod message;
mod options;
mod pace;
mod plan;
mod plot;
mod report;
mod run;
mod schedule;
mod socket;
mod source;
mod sse;
mod stamp;
mod stop;
mod storm;
mod tally;
mod target;
mod teller;
mod timeline;
mod websocket;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

pub(crate) use client::{Client, Latency};
pub(crate) use options::Options;

use crew::Crew;
use driver::Driver;
use plan::{Part, Plan};
use stop::Requests;
use tally::Tally;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot resolve {host}: {source}; give --url a host and port that exist")]
    Resolve { host: String, source: io::Error },
    #[error("{host} has no address; give --url another host")]
    NoAddress { host: String },
    #[error(
        "--sources {source_address} is not of the family of {target}; give addresses of one family"
    )]
    Sources {
        source_address: String,
        target: String,
    },
    #[error(
        "{connections} connections need {needed} open files and this process may have {limit}: \
         raise the hard limit (ulimit -Hn, LimitNOFILE= or docker --ulimit nofile=), or share them \
         among --processes of {fitting} or fewer"
    )]
    OpenFiles {
        connections: u32,
        needed: u64,
        limit: u64,
        fitting: u64,
    },
    #[error("cannot raise the limit of open files: {0}; set it with ulimit -n before")]
    Limit(io::Error),
    #[error("cannot poll sockets: {0}")]
    Poll(io::Error),
    #[error("cannot watch for signals or standard input: {0}")]
    Signals(io::Error),
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    #[error("{option} is {value} and there are {of} {what}; give it {advice}")]
    Share {
        option: &'static str,
        value: u32,
        of: u32,
        what: &'static str,
        advice: &'static str,
    },
    #[error("{option} is for {scheme} URLs; leave it out, or give --url another")]
    Scheme {
        option: &'static str,
        scheme: &'static str,
    },
    #[error("cannot start another process of this program: {0}")]
    Crew(io::Error),
    #[error("a process of this run ended before it was asked to; what it counted is lost")]
    Member,
    #[error("cannot draw the plot: {0}")]
    Plot(String),
    #[error("cannot write {path}: {source}; name a file in a folder you may write to")]
    WriteFile { path: String, source: io::Error },
}

/// Runs to the end and prints the report; true when all was as expected. `arguments` are those of
/// this process, for processes like it.
pub(crate) fn run(options: &Options, arguments: &[OsString]) -> Result<bool, Error> {
    options.check_transport()?;
    let address = options.url.resolve()?;
    for source in options.sources() {
        if source.is_ipv4() != address.is_ipv4() {
            return Err(Error::Sources {
                source_address: source.to_string(),
                target: address.to_string(),
            });
        }
    }
    options.check_shares()?;
    let part = options.part.unwrap_or(Part::WHOLE);
    if let Some(processes) = options.several() {
        let stop = Requests::install(options.until_stdin_closes).map_err(Error::Signals)?;
        for part in Part::all(processes) {
            socket::make_room(Plan::new(options, address, part).connections)?;
        }
        let tally = match options.per_id {
            Some(_) => Tally::new().with_per_id(options.ids(), options.connections.get()),
            None => Tally::new(),
        };
        let started = Instant::now();
        let mut crew = Crew::start(arguments, Part::all(processes), None, tally, stop)?;
        let report = run::run(options, &mut crew, started)?;
        return Ok(report.ok);
    }
    let plan = Plan::new(options, address, part);
    socket::make_room(plan.connections)?;
    let with_stdin = options.until_stdin_closes || options.part.is_some();
    let stop = Requests::install(with_stdin).map_err(Error::Signals)?;
    let started = Instant::now();
    let mut driver = Driver::new(plan, stop)?;
    if options.part.is_some() {
        member::run(&mut driver)?;
        return Ok(true);
    }
    Ok(run::run(options, &mut driver, started)?.ok)
}

/// Writes the whole file or none: whoever waits for it must not read half a line.
pub(crate) fn write_file(path: &Path, text: &str) -> Result<(), Error> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".part");
    fs::write(&draft, text)
        .and_then(|()| fs::rename(&draft, path))
        .map_err(|source| Error::WriteFile {
            path: path.display().to_string(),
            source,
        })
}

/// `bytes` in pieces of the given sizes, the rest as the last: for tests of the parsers.
#[cfg(test)]
fn cut<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut parts = Vec::new();
    for size in sizes {
        let (part, after) = rest.split_at(rest.len().min(*size));
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    parts
}
