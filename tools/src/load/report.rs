//! The words a run is told in: its lines of JSON.
//!
//! It counts nothing and decides nothing but whether the numbers are in order. Numbers carry their
//! unit in their name.

use std::time::Duration;

use serde::Serialize;

use super::class;
use super::goal::{self, EndedBy};
use super::memory::Memory;
use super::storm;
use super::tally::Tally;

/// What is known about a run that is over, beside what was counted.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) ended_by: EndedBy,
    pub(super) processes: u32,
    pub(super) connections: u32,
    pub(super) slow: u32,
    pub(super) open: u32,
    pub(super) expect: Option<u64>,
    pub(super) connecting: Duration,
    pub(super) total: Duration,
    pub(super) memory: Option<Memory>,
}

/// Every connection is open or has failed.
#[derive(Debug, Serialize)]
pub(super) struct Connected {
    event: &'static str,
    connections: u32,
    open: u32,
    refused: u64,
    connect_errors: u64,
    opening_timeouts: u64,
    seconds: f64,
}

impl Connected {
    pub(super) fn new(tally: &Tally, connections: u32, open: u32, took: Duration) -> Self {
        let Tally { fast, slow, .. } = tally;
        Self {
            event: "connected",
            connections,
            open,
            refused: fast.refused() + slow.refused(),
            connect_errors: fast.connect_errors() + slow.connect_errors(),
            opening_timeouts: fast.counts.opening_timeouts + slow.counts.opening_timeouts,
            seconds: took.as_secs_f64(),
        }
    }
}

/// So many messages have arrived: those of the warm-up, or the expected ones and no more.
#[derive(Debug, Serialize)]
pub(super) struct Arrived {
    pub(super) event: &'static str,
    pub(super) messages: u64,
}

/// All that the storm cut are back.
#[derive(Debug, Serialize)]
pub(super) struct StormOver {
    pub(super) event: &'static str,
    #[serde(flatten)]
    pub(super) figures: storm::Figures,
}

/// The last line: all numbers of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    event: &'static str,
    pub(super) ok: bool,
    ended_by: EndedBy,
    processes: u32,
    /// All, the slow ones too.
    connections: u32,
    open: u32,
    messages_expected: Option<u64>,
    /// Of those that read as fast as they can.
    #[serde(flatten)]
    fast: class::Figures,
    slow: Option<Slow>,
    storm: Option<storm::Figures>,
    memory: Option<Memory>,
    messages_per_second: f64,
    connecting_seconds: f64,
    receiving_seconds: f64,
    total_seconds: f64,
}

#[derive(Debug, Serialize)]
struct Slow {
    connections: u32,
    #[serde(flatten)]
    figures: class::Figures,
}

impl Report {
    pub(super) fn new(tally: &Tally, run: Run) -> Self {
        let Tally {
            fast, slow, storm, ..
        } = tally;
        Self {
            event: "report",
            ok: goal::is_met(run.expect, tally.messages())
                && fast.is_in_order()
                && slow.is_in_order()
                && storm.is_calm(),
            ended_by: run.ended_by,
            processes: run.processes,
            connections: run.connections,
            open: run.open,
            messages_expected: run.expect,
            fast: fast.figures(),
            slow: (run.slow > 0).then(|| Slow {
                connections: run.slow,
                figures: slow.figures(),
            }),
            storm: storm.figures(),
            memory: run.memory,
            messages_per_second: rate(tally.measured(), tally.receiving()),
            connecting_seconds: run.connecting.as_secs_f64(),
            receiving_seconds: tally.receiving().as_secs_f64(),
            total_seconds: run.total.as_secs_f64(),
        }
    }
}

/// Per second; 0 when there was no time to measure.
pub(super) fn rate(count: u64, time: Duration) -> f64 {
    if time.is_zero() {
        return 0.0;
    }
    count as f64 / time.as_secs_f64()
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
