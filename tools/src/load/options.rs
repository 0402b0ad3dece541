//! What a load run is asked to do: the options of `lariat-tools load`.
//!
//! It checks what can be told from the words alone; limits of the machine are checked by the run.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;

use super::Error;
use super::connection::Transport;
use super::plan::Part;
use super::target::{IdRange, Target};

/// Opening attempts under way at a time: below the listen queue of every usual server (tokio's
/// 1,024, nginx's 511, Linux's old 128 times two), so that no handshake is dropped and retried
/// after a second.
const OPENING_MAX: u32 = 256;

/// 127.0.0.1 to 127.0.0.254: more ports than anyone has descriptors.
const SOURCE_ADDRESSES_MAX: u64 = 254;

/// A machine has no more cores than that, nor 127/8 ports for more.
const PROCESSES_MAX: u32 = 250;

/// The heading above the options about clients that do not just stay and read.
const CLIENTS: &str = "Clients that misbehave";

/// No run lasts a year, and a year added to any clock does not overflow.
const TIME_MAX: Duration = Duration::from_hours(365 * 24);

/// What `--transport` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Framing {
    /// A message is a chunk
    Chunked,
    /// A message is a server-sent event
    Sse,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where to ask for a stream, or for a WebSocket (ws://); {id} becomes the connection's id
    #[arg(long, value_name = "URL")]
    pub(super) url: Target,
    /// Streams to open
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) connections: NonZeroU32,
    /// Ids to open them for, one after the other, round and round [default: 1-N]
    #[arg(long, value_name = "FIRST-LAST")]
    ids: Option<IdRange>,
    /// How messages of http:// URLs are framed [default: chunked]; ws:// URLs are WebSockets
    #[arg(long, value_enum)]
    transport: Option<Framing>,
    /// Offer permessage-deflate on WebSockets. What then comes compressed is counted as it is, without
    /// being inflated: nothing is known of its stamp
    #[arg(long)]
    deflate: bool,
    /// Local addresses to connect from, in turn; each has about 28,000 ports [default: the
    /// target's own for a loopback target, else the kernel's choice]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    sources: Vec<IpAddr>,
    /// Connect from 127.0.0.1 to 127.0.0.K, in turn
    #[arg(long, value_name = "K", conflicts_with = "sources",
        value_parser = RangedU64ValueParser::<u8>::new().range(1..=SOURCE_ADDRESSES_MAX))]
    source_addresses: Option<u8>,
    /// Connections to open per second [default: as fast as they are taken]
    #[arg(long, value_name = "PER_SECOND")]
    pub(super) rate: Option<NonZeroU32>,
    /// Connections being opened at a time
    #[arg(long, value_name = "N", default_value_t = OPENING_MAX,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) opening_max: u32,
    /// Time for one connection to be opened and answered, after which it counts as failed
    #[arg(long, value_name = "TIME", default_value = "30s",
        value_parser = time)]
    pub(super) opening_timeout: Duration,
    /// Hold the streams this long after the last is open, then report
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) duration: Option<Duration>,
    /// Messages that must arrive, all streams together; not one more or less
    #[arg(long, value_name = "COUNT")]
    pub(super) expect: Option<u64>,
    /// Of the expected messages, so many come first and are not measured: when they are there, a line
    /// "warm" says so, and rates and latencies are of those that follow. A new connection's first
    /// messages are acknowledged one by one, which on one machine is the sender's work
    #[arg(long, value_name = "COUNT", default_value_t = 0, requires = "expect")]
    pub(super) warm_up: u64,
    /// Time for the expected messages, after the last stream is open
    #[arg(long, value_name = "TIME", default_value = "30s",
        value_parser = time)]
    pub(super) timeout: Duration,
    /// Time in which no message may follow the expected ones
    #[arg(long, value_name = "TIME", default_value = "300ms",
        value_parser = time)]
    pub(super) quiet: Duration,
    /// After each look at what came, sleep this long before the next: a server then does not pay for
    /// waking its client at each message, which it does not where its clients are other machines.
    /// Latencies grow by it
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = time)]
    pub(super) rest: Duration,
    /// Hold the streams until standard input ends, also after --expect was reached
    #[arg(long)]
    pub(super) until_stdin_closes: bool,
    /// End the run with resets: no local port then rests a minute (TIME_WAIT) before the next run
    #[arg(long)]
    pub(super) reset: bool,
    /// Also write the "connected" line to this file
    #[arg(long, value_name = "FILE")]
    pub(super) ready_file: Option<PathBuf>,
    /// At the end, write a line "id count" for each id to this file
    #[arg(long, value_name = "FILE")]
    pub(super) per_id: Option<PathBuf>,
    /// At the end, also write the report to this file
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// At the end, draw memory, open connections and latency over time into this file (SVG)
    #[arg(long, value_name = "FILE")]
    pub(super) plot: Option<PathBuf>,
    /// Tell the resident memory of this process, the server's, in the report and the plot
    #[arg(long, value_name = "PID")]
    pub(super) watch_pid: Option<u32>,
    /// Processes that share the connections, because one has about 20,000 open files; their ids are
    /// disjoint, and one report tells the sum exactly
    #[arg(long, value_name = "K", default_value = "1",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(PROCESSES_MAX)))]
    pub(super) processes: u32,
    /// Be the second of four processes: `1/4`. What --processes gives its children
    #[arg(long, value_name = "I/K", hide = true)]
    pub(super) part: Option<Part>,
    /// Of the connections, so many read slowly and are reported apart
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = CLIENTS)]
    pub(super) slow: u32,
    /// How fast each slow one reads, into the smallest socket buffer there is
    #[arg(long, value_name = "BYTES_PER_SECOND", default_value = "1000",
        help_heading = CLIENTS)]
    pub(super) slow_rate: NonZeroU32,
    /// Connections a second that leave, each in turn, and come back at once
    #[arg(long, value_name = "PER_SECOND", help_heading = CLIENTS)]
    pub(super) churn: Option<NonZeroU32>,
    /// Cut each connection once in this time, one after the other
    #[arg(long, value_name = "TIME", value_parser = time, requires = "drop_for",
        help_heading = CLIENTS)]
    pub(super) drop_every: Option<Duration>,
    /// How long a connection that was cut that way stays away
    #[arg(long, value_name = "TIME", value_parser = time, requires = "drop_every",
        help_heading = CLIENTS)]
    pub(super) drop_for: Option<Duration>,
    /// Cut all at once, this long after the last was open; they return as fast as they are taken,
    /// but not before the Retry-After of a refusal is over
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = CLIENTS)]
    pub(super) storm_at: Option<Duration>,
    /// Come back, too, when the server ends a stream: at once, and again a second later when that
    /// fails
    #[arg(long, help_heading = CLIENTS)]
    pub(super) come_back: bool,
}

impl Options {
    pub(super) fn ids(&self) -> IdRange {
        self.ids
            .unwrap_or_else(|| IdRange::of(self.connections.get()))
    }

    pub(super) fn transport(&self) -> Transport {
        match (self.url.is_websocket, self.transport) {
            (true, _) => Transport::WebSocket {
                deflate: self.deflate,
            },
            (false, Some(Framing::Sse)) => Transport::Sse,
            (false, _) => Transport::Chunked,
        }
    }

    /// No option asks for what its URL has not.
    pub(super) fn check_transport(&self) -> Result<(), Error> {
        match self.url.is_websocket {
            true if self.transport.is_some() => Err(Error::Scheme {
                option: "--transport",
                scheme: "http://",
            }),
            false if self.deflate => Err(Error::Scheme {
                option: "--deflate",
                scheme: "ws://",
            }),
            _ => Ok(()),
        }
    }

    /// How many processes share the run; `None` for one, and for a part of several.
    pub(super) fn several(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.processes).filter(|k| k.get() > 1 && self.part.is_none())
    }

    /// Every process has something of all that is shared.
    pub(super) fn check_shares(&self) -> Result<(), Error> {
        let connections = self.connections.get();
        if self.slow > connections {
            return Err(Error::Share {
                option: "--slow",
                value: self.slow,
                of: connections,
                what: "connections",
                advice: "as many at most",
            });
        }
        let rate = self.rate.map(|rate| ("--rate", rate.get()));
        let churn = self.churn.map(|churn| ("--churn", churn.get()));
        let shared = [Some(("--connections", connections)), rate, churn];
        match shared
            .into_iter()
            .flatten()
            .find(|shared| shared.1 < self.processes)
        {
            Some((option, value)) => Err(Error::Share {
                option,
                value,
                of: self.processes,
                what: "processes",
                advice: "one for each at least",
            }),
            None => Ok(()),
        }
    }

    /// The addresses to connect from, in turn; empty: the kernel's choice.
    pub(super) fn sources(&self) -> Vec<IpAddr> {
        match self.source_addresses {
            Some(count) => (1..=count)
                .map(|last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)))
                .collect(),
            None => self.sources.clone(),
        }
    }
}

/// A duration as people write it, within what a clock can be moved by.
fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a time as 500ms, 10s or 2m"))?;
    if time > TIME_MAX {
        return Err("is more than a year; leave --duration out to run until stopped".to_owned());
    }
    Ok(time)
}
