//! The load generator: holds many streams against a node from one thread, counts and times what
//! arrives, and says whether that is what was expected.
//!
//! It sends nothing after its requests: whoever talks to the node's Erlang side makes the
//! messages. It does not reconnect.
//!
//! `options` what is asked · `target` URL, ids, request · `schedule` when to open · `source` where
//! from · `socket` how · `connection` (made of `head`, `chunked`, `sse`, `stamp`) bytes to events · `report`
//! events to numbers · `goal` when it is over · `stop` who may end it · `driver` the poller that
//! turns all of these.

mod chunked;
mod connection;
mod driver;
mod fault;
mod goal;
mod head;
mod options;
mod report;
mod schedule;
mod socket;
mod source;
mod sse;
mod stamp;
mod stop;
mod target;

use std::fs;
use std::io;
use std::path::Path;

pub(crate) use options::Options;

use driver::Driver;

use crate::output;

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
         raise the hard limit (ulimit -Hn, LimitNOFILE= or docker --ulimit nofile=), or run \
         several processes of {fitting} or fewer --connections with different --ids"
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
    #[error("cannot write {path}: {source}; name a file in a folder you may write to")]
    WriteFile { path: String, source: io::Error },
}

/// Runs to the end and prints the report; true when all was as expected.
pub(crate) fn run(options: &Options) -> Result<bool, Error> {
    let address = options.url.resolve()?;
    for source in options.sources() {
        if source.is_ipv4() != address.is_ipv4() {
            return Err(Error::Sources {
                source_address: source.to_string(),
                target: address.to_string(),
            });
        }
    }
    socket::make_room(options.connections.get())?;
    let (report, tally) = Driver::new(options, address)?.run(options)?;
    if let Some(path) = &options.per_id {
        write_file(path, &tally.per_id_lines())?;
    }
    let line = output::json_line(&report).map_err(Error::Output)?;
    output::print(&line).map_err(Error::Output)?;
    Ok(report.ok)
}

/// Writes the whole file or none: whoever waits for it must not read half a line.
fn write_file(path: &Path, text: &str) -> Result<(), Error> {
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
