//! What a run counted, and the words it is told in: progress, and the final line of JSON.
//!
//! It counts what it is told and decides nothing but whether the numbers are in order. Numbers
//! carry their unit in their name. Two reports can be added field by field; histograms likewise.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::connection::{Ending, Event};
use super::fault::Fault;
use super::goal::{self, EndedBy};
use super::target::IdRange;

/// An hour: beyond it latency says nothing but "an hour", and counts as that.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// 0.1 % precision; two histograms of 180 KB each.
const LATENCY_DIGITS: u8 = 3;

#[derive(Debug)]
pub(super) struct Tally {
    counts: Counts,
    refused: BTreeMap<u16, u64>,
    connect_errors: BTreeMap<io::ErrorKind, u64>,
    framing_errors: BTreeMap<Fault, u64>,
    latency_us: Histogram<u64>,
    /// Since the last progress line.
    latency_us_lately: Histogram<u64>,
    messages_before: u64,
    per_id: Option<PerId>,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Counts {
    opened: u64,
    opening_timeouts: u64,
    closed_complete: u64,
    closed_unfinished: u64,
    closed_mid_message: u64,
    closed_before_head: u64,
    closed_reset: u64,
    messages: u64,
    messages_unstamped: u64,
    stamps: u64,
    stamps_from_the_future: u64,
    misrouted: u64,
    heartbeats: u64,
    payload_bytes: u64,
    read_bytes: u64,
}

#[derive(Debug)]
struct PerId {
    ids: IdRange,
    messages: Vec<u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        let latency_us = Histogram::new_with_max(LATENCY_US_MAX, LATENCY_DIGITS)
            .expect("the bounds of the histogram are constants that fit");
        Self {
            counts: Counts::default(),
            refused: BTreeMap::new(),
            connect_errors: BTreeMap::new(),
            framing_errors: BTreeMap::new(),
            latency_us_lately: latency_us.clone(),
            latency_us,
            messages_before: 0,
            per_id: None,
        }
    }

    /// Also counts messages by id, for as many ids as `connections` use.
    pub(super) fn with_per_id(mut self, ids: IdRange, connections: u32) -> Self {
        self.per_id = Some(PerId {
            ids,
            messages: vec![0; ids.used_by(connections).count()],
        });
        self
    }

    pub(super) fn messages(&self) -> u64 {
        self.counts.messages
    }

    /// Something happened on the connection of `id`; `now_ns` is CLOCK_REALTIME.
    pub(super) fn handle(&mut self, event: Event, id: u64, now_ns: u64) {
        let counts = &mut self.counts;
        match event {
            Event::Opened => counts.opened += 1,
            Event::Refused(status) => *self.refused.entry(status).or_default() += 1,
            Event::Heartbeat => counts.heartbeats += 1,
            Event::Message {
                payload_bytes,
                stamped,
            } => {
                counts.messages += 1;
                counts.messages_unstamped += u64::from(!stamped);
                counts.payload_bytes += payload_bytes;
                if let Some(per_id) = &mut self.per_id {
                    per_id.count(id);
                }
            }
            Event::Stamped(stamp) => {
                counts.stamps += 1;
                counts.misrouted += u64::from(!stamp.ours);
                counts.stamps_from_the_future += u64::from(stamp.sent_ns > now_ns);
                let latency_us = now_ns.saturating_sub(stamp.sent_ns) / 1000;
                self.latency_us.saturating_record(latency_us);
                self.latency_us_lately.saturating_record(latency_us);
            }
            Event::Closed(ending) => match ending {
                Ending::Complete => counts.closed_complete += 1,
                Ending::Unfinished => counts.closed_unfinished += 1,
                Ending::MidMessage => counts.closed_mid_message += 1,
                Ending::BeforeHead => counts.closed_before_head += 1,
                Ending::Reset => counts.closed_reset += 1,
            },
            Event::Faulted(fault) => *self.framing_errors.entry(fault).or_default() += 1,
        }
    }

    pub(super) fn handle_read(&mut self, bytes: usize) {
        self.counts.read_bytes += bytes as u64;
    }

    pub(super) fn handle_connect_error(&mut self, error: &io::Error) {
        *self.connect_errors.entry(error.kind()).or_default() += 1;
    }

    pub(super) fn handle_opening_timeout(&mut self) {
        self.counts.opening_timeouts += 1;
    }

    /// The line to write when every connection is open or has failed.
    pub(super) fn connected(&self, connections: u32, open: u32, took: Duration) -> Connected {
        Connected {
            event: "connected",
            connections,
            open,
            refused: self.refused.values().sum(),
            connect_errors: self.connect_errors.values().sum(),
            opening_timeouts: self.counts.opening_timeouts,
            seconds: took.as_secs_f64(),
        }
    }

    /// The progress of the last `since`; the next one begins here.
    pub(super) fn progress(&mut self, connections: u32, open: u32, since: Duration) -> String {
        let messages = self.counts.messages;
        let per_second = rate(messages - self.messages_before, since);
        self.messages_before = messages;
        let mut line =
            format!("load: open {open}/{connections}  messages {messages} ({per_second:.0}/s)");
        if !self.latency_us_lately.is_empty() {
            let [p50, p99] =
                [0.5, 0.99].map(|quantile| self.latency_us_lately.value_at_quantile(quantile));
            line += &format!("  latency p50 {p50} us, p99 {p99} us");
            self.latency_us_lately.reset();
        }
        line
    }

    pub(super) fn finish(&self, run: Run) -> Report {
        let framing_errors: u64 = self.framing_errors.values().sum();
        let latency = |quantile| {
            (!self.latency_us.is_empty()).then(|| self.latency_us.value_at_quantile(quantile))
        };
        Report {
            event: "report",
            ok: goal::is_met(run.expect, self.counts.messages)
                && self.counts.misrouted == 0
                && framing_errors == 0,
            ended_by: run.ended_by,
            connections: run.connections,
            open: run.open,
            messages_expected: run.expect,
            counts: self.counts,
            refused: self.refused.values().sum(),
            refused_by_status: self.refused.clone(),
            connect_errors: self.connect_errors.values().sum(),
            connect_errors_by_kind: named(&self.connect_errors),
            framing_errors,
            framing_errors_by_kind: named(&self.framing_errors),
            latency_us_min: latency(0.0),
            latency_us_p50: latency(0.5),
            latency_us_p90: latency(0.9),
            latency_us_p99: latency(0.99),
            latency_us_p999: latency(0.999),
            latency_us_max: latency(1.0),
            messages_per_second: rate(self.counts.messages, run.receiving),
            connecting_seconds: run.connecting.as_secs_f64(),
            receiving_seconds: run.receiving.as_secs_f64(),
            total_seconds: run.total.as_secs_f64(),
        }
    }

    /// Lines `id count`, one for each id that was used, also those that got nothing.
    pub(super) fn per_id_lines(&self) -> String {
        let Some(PerId { ids, messages }) = &self.per_id else {
            return String::new();
        };
        let lines = (0_u32..).zip(messages);
        lines
            .map(|(place, count)| format!("{} {count}\n", ids.id(place)))
            .collect()
    }
}

/// What the driver knows about a run that is over.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) ended_by: EndedBy,
    pub(super) connections: u32,
    pub(super) open: u32,
    pub(super) expect: Option<u64>,
    pub(super) connecting: Duration,
    /// From the first message to the last; zero when there was none.
    pub(super) receiving: Duration,
    pub(super) total: Duration,
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

/// The expected messages arrived, and no more.
#[derive(Debug, Serialize)]
pub(super) struct Expected {
    pub(super) event: &'static str,
    pub(super) messages: u64,
}

/// The last line: all numbers of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    event: &'static str,
    pub(super) ok: bool,
    ended_by: EndedBy,
    connections: u32,
    open: u32,
    messages_expected: Option<u64>,
    #[serde(flatten)]
    counts: Counts,
    refused: u64,
    refused_by_status: BTreeMap<u16, u64>,
    connect_errors: u64,
    connect_errors_by_kind: BTreeMap<String, u64>,
    framing_errors: u64,
    framing_errors_by_kind: BTreeMap<String, u64>,
    latency_us_min: Option<u64>,
    latency_us_p50: Option<u64>,
    latency_us_p90: Option<u64>,
    latency_us_p99: Option<u64>,
    latency_us_p999: Option<u64>,
    latency_us_max: Option<u64>,
    messages_per_second: f64,
    connecting_seconds: f64,
    receiving_seconds: f64,
    total_seconds: f64,
}

impl PerId {
    fn count(&mut self, id: u64) {
        let place = self.ids.place(id).and_then(|at| self.messages.get_mut(at));
        *place.expect("a connection's id is one of the used") += 1;
    }
}

/// Per second; 0 when there was no time to measure.
fn rate(count: u64, time: Duration) -> f64 {
    if time.is_zero() {
        return 0.0;
    }
    count as f64 / time.as_secs_f64()
}

fn named<K: ToString>(counts: &BTreeMap<K, u64>) -> BTreeMap<String, u64> {
    let mut named = BTreeMap::new();
    for (kind, count) in counts {
        *named.entry(kind.to_string()).or_default() += count;
    }
    named
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
