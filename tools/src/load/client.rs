//! The load generator as the client of another tool: a process of its own that holds streams,
//! counts, and is asked what arrived.
//!
//! It prints nothing and judges only the format of what came.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Error;
use super::crew::Crew;
use super::holder::Holder;
use super::plan::Part;
use super::socket;
use super::stop::Requests;
use super::tally::Tally;

/// Only a client that will never have all waits this long.
const ARRIVE_WITHIN: Duration = Duration::from_secs(60);

/// How long one turn waits for the client's next line.
const TURN: Duration = Duration::from_millis(100);

pub(crate) struct Client {
    crew: Crew,
}

/// Latencies since the last time they were asked for.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Latency {
    #[serde(rename = "latency_us_p50")]
    pub(crate) p50: u64,
    #[serde(rename = "latency_us_p99")]
    pub(crate) p99: u64,
    #[serde(rename = "latency_us_p999")]
    pub(crate) p999: u64,
    #[serde(rename = "latency_us_max")]
    pub(crate) max: u64,
}

impl Client {
    /// Begins to open so many streams, with the ids from 1, on these CPUs if given, by a client that
    /// rests so long between two looks.
    pub(crate) fn start(
        url: &str,
        connections: u32,
        cpus: Option<&str>,
        rest: Duration,
    ) -> Result<Self, Error> {
        socket::make_room(connections)?;
        let connections = connections.to_string();
        let rest = humantime::format_duration(rest).to_string();
        let arguments = [
            "load",
            "--url",
            url,
            "--connections",
            &connections,
            "--rest",
            &rest,
            // Run after run, ports that rest would use all of them up.
            "--reset",
        ];
        let arguments = arguments.map(OsString::from);
        let stop = Requests::install(false).map_err(Error::Signals)?;
        let parts = std::iter::once(Part::WHOLE);
        let crew = Crew::start(&arguments, parts, cpus, Tally::new(), stop)?;
        Ok(Self { crew })
    }

    /// Waits until so many streams are open; answers how many are.
    pub(crate) fn wait_open(&mut self, connections: u32) -> Result<u32, Error> {
        self.wait(|crew| crew.open() == connections)?;
        Ok(self.crew.open())
    }

    /// Waits until so many messages arrived, all in all; answers how many did.
    pub(crate) fn wait_messages(&mut self, messages: u64) -> Result<u64, Error> {
        self.wait(|crew| crew.tally().messages() >= messages)?;
        Ok(self.crew.tally().messages())
    }

    /// Takes the latencies of the messages since the last time; `None` when none had a stamp.
    pub(crate) fn latency(&mut self) -> Option<Latency> {
        let lately = &mut self.crew.tally().fast.latency_us_lately;
        let latency = (!lately.is_empty()).then(|| Latency {
            p50: lately.value_at_quantile(0.5),
            p99: lately.value_at_quantile(0.99),
            p999: lately.value_at_quantile(0.999),
            max: lately.value_at_quantile(1.0),
        });
        lately.reset();
        latency
    }

    /// Closes all streams; whether everything that came was whole, and for its receiver.
    pub(crate) fn end(mut self) -> Result<bool, Error> {
        self.crew.end()?;
        Ok(self.crew.tally().fast.is_in_order())
    }

    fn wait(&mut self, mut is_so: impl FnMut(&mut Crew) -> bool) -> Result<(), Error> {
        let until = Instant::now() + ARRIVE_WITHIN;
        while !is_so(&mut self.crew) && self.crew.asked().stop.is_none() && Instant::now() < until {
            self.crew.turn(Instant::now() + TURN)?;
        }
        Ok(())
    }
}
