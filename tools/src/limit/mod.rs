//! What this machine can do at most: a bare loop of `write(2)` to sockets, with nothing around it.
//!
//! It is no server: it answers whoever connects, one after the other, and then only writes. No
//! poller, no queue, no table. What a real node needs beyond that is what its work costs. The reading side is
//! a process of its own, the load generator, which also says that everything arrived.

mod phase;
mod streams;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use serde::Serialize;

use crate::load::{self, Client, Latency, write_file};
use crate::output;
use phase::{Cost, Phase};
use streams::Streams;

/// The client's lines wait while a phase runs; in that time they still find room.
const SECONDS_MAX: u64 = 20;

/// Only a client that will never connect takes so long for its next connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections to hold: one process has about 20,000 open files
    #[arg(long, value_name = "N", default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Bytes of a message; its chunk's framing comes on top
    #[arg(long, value_name = "B", default_value_t = 64,
        value_parser = RangedU64ValueParser::<usize>::new().range(48..=65536))]
    bytes: usize,
    /// How long each of the three kinds of writing lasts
    #[arg(long, value_name = "S", default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    seconds: u64,
    /// The share of the highest rate, in percent, at which latency is measured
    #[arg(long, value_name = "PERCENT", default_value_t = 70,
        value_parser = clap::value_parser!(u32).range(1..=100))]
    load_percent: u32,
    /// Another rate at which latency is measured, in messages a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// CPUs for the reading process, as `taskset -c` writes them [default: any]
    #[arg(long, value_name = "LIST")]
    client_cpus: Option<String>,
    /// How long the reading process sleeps between two looks, so that writing does not pay for waking
    /// it at each message, as it does not where clients are other machines. Latencies grow by it
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    client_rest: Duration,
    /// Also write the report to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Load(#[from] load::Error),
    #[error("cannot listen or accept on 127.0.0.1: {0}")]
    Accept(io::Error),
    #[error("a connection of our own client failed: {0}")]
    Write(io::Error),
    #[error("only {open} of {connections} connections are open")]
    Connections { open: u32, connections: u32 },
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

#[derive(Debug, Serialize)]
struct Report {
    event: &'static str,
    /// Everything that was written arrived, whole and at its receiver.
    ok: bool,
    connections: u32,
    bytes: usize,
    accept: Cost,
    fan_out: Cost,
    /// A message to all, one after the other.
    fan_out_round_ms: f64,
    unicast: Cost,
    paced: Paced,
    at_the_rate: Option<AtRate>,
}

/// Unicast at a share of its highest rate.
#[derive(Debug, Serialize)]
struct Paced {
    load_percent: u32,
    #[serde(flatten)]
    at: AtRate,
}

/// Unicast at a rate.
#[derive(Debug, Serialize)]
struct AtRate {
    #[serde(flatten)]
    cost: Cost,
    #[serde(flatten)]
    latency: Option<Latency>,
}

/// Measures and prints; true when everything arrived.
pub(crate) fn run(options: &Options) -> Result<bool, Error> {
    let connections = options.connections;
    let listener = streams::listen(CONNECT_WITHIN).map_err(Error::Accept)?;
    let address = listener.local_addr().map_err(Error::Accept)?;
    let url = format!("http://{address}/{{id}}");
    let mut client = Client::start(
        &url,
        connections,
        options.client_cpus.as_deref(),
        options.client_rest,
    )?;
    eprintln!(
        "limit: {connections} connections, messages of {} bytes",
        options.bytes
    );
    let (mut streams, accept) = Streams::accept(&listener, connections).map_err(Error::Accept)?;
    tell("accepted and answered", &accept);
    let open = client.wait_open(connections)?;
    if open < connections {
        return Err(Error::Connections { open, connections });
    }

    let phase = Phase {
        seconds: options.seconds,
        bytes: options.bytes,
    };
    let fan_out = phase.fan_out(&mut streams).map_err(Error::Write)?;
    tell("one write to each", &fan_out);
    let mut arrived = client.wait_messages(fan_out.count)? == fan_out.count;
    client.latency();

    let unicast = phase.unicast(&mut streams, None).map_err(Error::Write)?;
    tell("writes to random ones", &unicast);
    let written = fan_out.count + unicast.count;
    arrived &= client.wait_messages(written)? == written;
    client.latency();

    let mut written = written;
    let mut at_rate = |rate, what: &str| {
        let cost = phase
            .unicast(&mut streams, Some(rate))
            .map_err(Error::Write)?;
        written += cost.count;
        arrived &= client.wait_messages(written)? == written;
        let latency = client.latency();
        tell(what, &cost);
        if let Some(Latency {
            p50,
            p99,
            p999,
            max,
        }) = &latency
        {
            eprintln!("limit: latency p50 {p50} us, p99 {p99} us, p99.9 {p999} us, max {max} us");
        }
        Ok::<_, Error>(AtRate { cost, latency })
    };
    let rate = unicast.rate(options.load_percent);
    let paced = at_rate(rate, &format!("the same at {} %", options.load_percent))?;
    let one = options
        .rate
        .map(|rate| at_rate(rate.into(), "at the given rate"));
    let at_the_rate = one.transpose()?;

    let ok = client.end()? && arrived;
    let report = Report {
        event: "limit",
        ok,
        connections,
        bytes: options.bytes,
        fan_out_round_ms: f64::from(connections) / fan_out.per_second * 1e3,
        accept,
        fan_out,
        unicast,
        paced: Paced {
            load_percent: options.load_percent,
            at: paced,
        },
        at_the_rate,
    };
    let line = output::json_line(&report).map_err(Error::Output)?;
    if let Some(path) = &options.json {
        write_file(path, &line)?;
    }
    output::print(&line).map_err(Error::Output)?;
    Ok(ok)
}

fn tell(what: &str, cost: &Cost) {
    let mut line = format!(
        "limit: {what}: {} in all, {:.0}/s, {:.2} us each",
        cost.count, cost.per_second, cost.us_each
    );
    if let Some(cpu_us) = cost.cpu_us_each {
        line += &format!(", {cpu_us:.2} us of CPU");
    }
    if cost.full > 0 {
        line += &format!("; {} sockets were full and were left out", cost.full);
    }
    eprintln!("{line}");
}
