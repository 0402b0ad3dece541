//! What a run says while it lasts, and the files it leaves.
//!
//! Lines of JSON to standard output, progress to standard error once a second. It judges nothing:
//! it says what it is told to say.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::class;
use super::memory::Memory;
use super::options::Options;
use super::report::{Arrived, Connected, Report, StormOver, rate};
use super::tally::Tally;
use super::timeline::{Sample, Timeline};
use super::{Error, plot, write_file};
use crate::output;

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// How often a sample is taken for the plot: a storm is over within a second.
const SAMPLE_EVERY: Duration = Duration::from_millis(200);

pub(super) struct Teller<'a> {
    options: &'a Options,
    started: Instant,
    told: Instant,
    sampled: Instant,
    messages_before: u64,
    /// Since the last progress.
    latency_us: Histogram<u64>,
    timeline: Timeline,
    memory: Memory,
    told_storm: bool,
}

impl<'a> Teller<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        let now = Instant::now();
        let mut memory = Memory::default();
        memory.before = options.watch_pid.and_then(|pid| memory.look(pid));
        Self {
            options,
            started: now,
            told: now,
            sampled: now,
            messages_before: 0,
            latency_us: class::histogram(),
            timeline: Timeline::new(),
            memory,
            told_storm: false,
        }
    }

    /// When it wants to speak again.
    pub(super) fn next_at(&self) -> Instant {
        self.sampled + SAMPLE_EVERY
    }

    /// `None`: no process is watched.
    pub(super) fn memory(&self) -> Option<Memory> {
        self.options.watch_pid.map(|_| self.memory)
    }

    pub(super) fn tell_connected(
        &mut self,
        tally: &Tally,
        open: u32,
        took: Duration,
    ) -> Result<(), Error> {
        self.memory.connected = self.options.watch_pid.and_then(|pid| self.memory.look(pid));
        let connections = self.options.connections.get();
        let connected = Connected::new(tally, connections, open, took);
        let line = output::json_line(&connected).map_err(Error::Output)?;
        if let Some(path) = &self.options.ready_file {
            write_file(path, &line)?;
        }
        output::print(&line).map_err(Error::Output)
    }

    pub(super) fn tell_warm(&self, messages: u64) -> Result<(), Error> {
        tell_arrived("warm", messages)
    }

    pub(super) fn tell_expected(&self, messages: u64) -> Result<(), Error> {
        tell_arrived("expected", messages)
    }

    /// Says what is due: that the storm is over, and once a second how it goes; takes samples.
    pub(super) fn turn(
        &mut self,
        now: Instant,
        tally: &mut Tally,
        open: u32,
        coming: u32,
    ) -> Result<(), Error> {
        if !self.told_storm && tally.storm.is_over(self.options.processes) {
            self.told_storm = true;
            self.tell_storm(tally)?;
        }
        if now < self.next_at() {
            return Ok(());
        }
        self.sampled = now;
        let rss_bytes = self.options.watch_pid.and_then(|pid| self.memory.look(pid));
        let lately = &mut tally.fast.latency_us_lately;
        let seconds = (now - self.started).as_secs_f64();
        self.timeline
            .push(Sample::new(seconds, open, rss_bytes, lately));
        let added = self.latency_us.add(&*lately);
        added.expect("the two have the same bounds");
        lately.reset();
        if now < self.told + PROGRESS_EVERY {
            return Ok(());
        }
        let since = now - self.told;
        self.told = now;
        let sample = Sample::new(seconds, open, rss_bytes, &self.latency_us);
        self.latency_us.reset();
        let messages = tally.messages();
        let per_second = rate(messages - self.messages_before, since);
        self.messages_before = messages;
        let connections = self.options.connections.get();
        eprintln!(
            "{}",
            progress(&sample, connections, coming, messages, per_second)
        );
        Ok(())
    }

    fn tell_storm(&self, tally: &Tally) -> Result<(), Error> {
        let Some(figures) = tally.storm.figures() else {
            return Ok(());
        };
        eprintln!(
            "load: storm: all {} back after {:.3} s, {} errors, {} refused with 503",
            figures.cut,
            figures.all_back_seconds.unwrap_or_default(),
            figures.errors,
            figures.refused_503
        );
        let event = "storm";
        let line = output::json_line(&StormOver { event, figures }).map_err(Error::Output)?;
        output::print(&line).map_err(Error::Output)
    }

    /// The report, last, after the files: who waits for it finds them.
    pub(super) fn tell_report(&self, report: &Report, tally: &Tally) -> Result<(), Error> {
        if let Some(path) = &self.options.per_id {
            write_file(path, &tally.per_id_lines())?;
        }
        if let Some(path) = &self.options.plot {
            let title = format!("{} connections", self.options.connections);
            write_file(path, &plot::svg(&title, self.timeline.samples())?)?;
        }
        let line = output::json_line(report).map_err(Error::Output)?;
        if let Some(path) = &self.options.json {
            write_file(path, &line)?;
        }
        output::print(&line).map_err(Error::Output)
    }
}

fn tell_arrived(event: &'static str, messages: u64) -> Result<(), Error> {
    let line = output::json_line(&Arrived { event, messages }).map_err(Error::Output)?;
    output::print(&line).map_err(Error::Output)
}

fn progress(
    sample: &Sample,
    connections: u32,
    coming: u32,
    messages: u64,
    per_second: f64,
) -> String {
    let open = sample.open;
    let mut line = format!("load: open {open}/{connections}");
    if coming > 0 {
        line += &format!("  coming {coming}");
    }
    line += &format!("  messages {messages} ({per_second:.0}/s)");
    if let (Some(p50), Some(p99)) = (sample.latency_us_p50, sample.latency_us_p99) {
        line += &format!("  latency p50 {p50} us, p99 {p99} us");
    }
    if let Some(bytes) = sample.rss_bytes {
        line += &format!("  watched {:.1} MB", bytes as f64 / 1e6);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_only_what_there_is_to_say() {
        let mut sample = Sample {
            seconds: 1.0,
            open: 9,
            rss_bytes: None,
            latency_us_p50: None,
            latency_us_p99: None,
        };
        assert_eq!(
            progress(&sample, 10, 0, 0, 0.0),
            "load: open 9/10  messages 0 (0/s)"
        );
        sample.latency_us_p50 = Some(5);
        sample.latency_us_p99 = Some(6);
        sample.rss_bytes = Some(2_500_000);
        assert_eq!(
            progress(&sample, 10, 1, 7, 7.0),
            "load: open 9/10  coming 1  messages 7 (7/s)  latency p50 5 us, p99 6 us  watched 2.5 MB"
        );
    }
}
