//! Everything a run counts: the fast connections, the slow ones apart, the storm, each id.
//!
//! It decides nothing. What it counted since the last time can be taken out of it (`drain`) and
//! added to another one, which then says the same as if it had counted all itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::class::{self, Class};
use super::connection::Event;
use super::storm::{self, Storm};
use super::target::IdRange;

#[derive(Debug)]
pub(super) struct Tally {
    pub(super) fast: Class,
    pub(super) slow: Class,
    pub(super) storm: Storm,
    /// CLOCK_REALTIME of the first and of the last message on a fast connection.
    span_ns: Option<(u64, u64)>,
    /// Messages on fast connections before measuring began.
    before: u64,
    per_id: Option<PerId>,
}

/// What a tally counted, as it travels between processes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Sums {
    pub(super) fast: class::Sums,
    slow: class::Sums,
    storm: storm::Sums,
    span_ns: Option<(u64, u64)>,
    /// Place of the id in its range, and messages; without the ids that got none.
    per_id: Vec<(usize, u64)>,
}

#[derive(Debug)]
struct PerId {
    ids: IdRange,
    messages: Vec<u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            fast: Class::new(),
            slow: Class::new(),
            storm: Storm::new(),
            span_ns: None,
            before: 0,
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

    pub(super) fn class(&mut self, slow: bool) -> &mut Class {
        match slow {
            true => &mut self.slow,
            false => &mut self.fast,
        }
    }

    /// Messages on fast connections.
    pub(super) fn messages(&self) -> u64 {
        self.fast.counts.messages
    }

    /// Rates and latencies are of what comes from now on. Counts go on.
    pub(super) fn begin_to_measure(&mut self) {
        self.before = self.messages();
        self.span_ns = None;
        self.fast.forget_latencies();
        self.slow.forget_latencies();
    }

    /// Messages on fast connections since measuring began.
    pub(super) fn measured(&self) -> u64 {
        self.messages() - self.before
    }

    /// Something happened on the connection of `id`; `now_ns` is CLOCK_REALTIME.
    pub(super) fn handle(&mut self, event: Event, id: u64, slow: bool, now_ns: u64) {
        if let Event::Message { .. } = event {
            if let Some(per_id) = &mut self.per_id {
                per_id.count(id);
            }
            if !slow {
                let (first, _) = self.span_ns.unwrap_or((now_ns, now_ns));
                self.span_ns = Some((first, now_ns));
            }
        }
        self.class(slow).handle(event, now_ns);
    }

    /// From the first message on a fast connection to the last; zero when there was none.
    pub(super) fn receiving(&self) -> Duration {
        let (first, last) = self.span_ns.unwrap_or_default();
        Duration::from_nanos(last.saturating_sub(first))
    }

    /// Takes out what was counted since the last time.
    pub(super) fn drain(&mut self) -> Sums {
        let per_id = self.per_id.iter_mut().flat_map(|per_id| {
            let counts = per_id.messages.iter_mut().enumerate();
            counts.filter_map(|(place, count)| match std::mem::take(count) {
                0 => None,
                count => Some((place, count)),
            })
        });
        Sums {
            per_id: per_id.collect(),
            fast: self.fast.drain(),
            slow: self.slow.drain(),
            storm: self.storm.drain(),
            span_ns: self.span_ns.take(),
        }
    }

    pub(super) fn add(&mut self, sums: &Sums) {
        self.fast.add(&sums.fast);
        self.slow.add(&sums.slow);
        self.storm.add(&sums.storm);
        self.span_ns = match (self.span_ns, sums.span_ns) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        if let Some(per_id) = &mut self.per_id {
            for (place, count) in &sums.per_id {
                if let Some(messages) = per_id.messages.get_mut(*place) {
                    *messages += count;
                }
            }
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

impl PerId {
    fn count(&mut self, id: u64) {
        let place = self.ids.place(id).and_then(|at| self.messages.get_mut(at));
        *place.expect("a connection's id is one of the used") += 1;
    }
}
