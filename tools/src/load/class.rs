//! What one class of connections counted: the fast ones, or the slow ones.
//!
//! It counts what it is told and judges nothing. Two of them can be added without losing anything:
//! counts field by field, histograms bucket by bucket. So what several processes counted is told
//! exactly, as if one had counted it.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::connection::{Ending, Event};

/// An hour: beyond it latency says nothing but "an hour", and counts as that.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// 0.1 % precision; 180 KB a histogram.
const LATENCY_DIGITS: u8 = 3;

/// A histogram as it travels: a value of each bucket in use, and how often.
pub(super) type Values = Vec<(u64, u64)>;

pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_US_MAX, LATENCY_DIGITS)
        .expect("the bounds of the histogram are constants that fit")
}

/// Empties a histogram.
pub(super) fn drain(histogram: &mut Histogram<u64>) -> Values {
    let values = histogram
        .iter_recorded()
        .map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
        .collect();
    histogram.reset();
    values
}

pub(super) fn add(histogram: &mut Histogram<u64>, values: &Values) {
    for (value, count) in values {
        histogram.saturating_record_n(*value, *count);
    }
}

macro_rules! counts {
    ($($name:ident),+ $(,)?) => {
        /// Each a sum, so two are added field by field.
        #[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
        pub(super) struct Counts { $(pub(super) $name: u64),+ }

        impl Counts {
            fn add(&mut self, other: &Self) { $(self.$name += other.$name;)+ }
        }
    };
}

counts! {
    opened,
    opening_timeouts,
    closed_complete,
    closed_unfinished,
    closed_mid_message,
    closed_before_head,
    closed_reset,
    // We closed it ourselves: by churn, by a drop, by the storm.
    left,
    // Opened again after that.
    returned,
    messages,
    messages_unstamped,
    stamps,
    stamps_from_the_future,
    misrouted,
    heartbeats,
    payload_bytes,
    read_bytes,
}

#[derive(Debug)]
pub(super) struct Class {
    pub(super) counts: Counts,
    refused: BTreeMap<u16, u64>,
    connect_errors: BTreeMap<String, u64>,
    framing_errors: BTreeMap<String, u64>,
    latency_us: Histogram<u64>,
    /// Since it was last asked for.
    pub(super) latency_us_lately: Histogram<u64>,
}

/// The same, as it travels between processes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Sums {
    pub(super) counts: Counts,
    refused: BTreeMap<u16, u64>,
    connect_errors: BTreeMap<String, u64>,
    framing_errors: BTreeMap<String, u64>,
    pub(super) latency_us: Values,
}

impl Class {
    pub(super) fn new() -> Self {
        Self {
            counts: Counts::default(),
            refused: BTreeMap::new(),
            connect_errors: BTreeMap::new(),
            framing_errors: BTreeMap::new(),
            latency_us: histogram(),
            latency_us_lately: histogram(),
        }
    }

    /// Something happened on one of its connections; `now_ns` is CLOCK_REALTIME.
    pub(super) fn handle(&mut self, event: Event, now_ns: u64) {
        let counts = &mut self.counts;
        match event {
            Event::Opened => counts.opened += 1,
            Event::Refused { status, .. } => *self.refused.entry(status).or_default() += 1,
            Event::Heartbeat => counts.heartbeats += 1,
            Event::Message {
                payload_bytes,
                stamped,
            } => {
                counts.messages += 1;
                counts.messages_unstamped += u64::from(!stamped);
                counts.payload_bytes += payload_bytes;
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
            Event::Faulted(fault) => {
                *self.framing_errors.entry(fault.to_string()).or_default() += 1;
            }
        }
    }

    pub(super) fn handle_connect_error(&mut self, error: &std::io::Error) {
        let kind = error.kind().to_string();
        *self.connect_errors.entry(kind).or_default() += 1;
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.values().sum()
    }

    pub(super) fn connect_errors(&self) -> u64 {
        self.connect_errors.values().sum()
    }

    /// No message reached the wrong id, and no answer broke its format.
    pub(super) fn is_in_order(&self) -> bool {
        self.counts.misrouted == 0 && self.framing_errors.is_empty()
    }

    pub(super) fn forget_latencies(&mut self) {
        self.latency_us.reset();
        self.latency_us_lately.reset();
    }

    /// All it has counted since the last time.
    pub(super) fn drain(&mut self) -> Sums {
        self.latency_us_lately.reset();
        Sums {
            counts: std::mem::take(&mut self.counts),
            refused: std::mem::take(&mut self.refused),
            connect_errors: std::mem::take(&mut self.connect_errors),
            framing_errors: std::mem::take(&mut self.framing_errors),
            latency_us: drain(&mut self.latency_us),
        }
    }

    pub(super) fn add(&mut self, sums: &Sums) {
        self.counts.add(&sums.counts);
        for (status, count) in &sums.refused {
            *self.refused.entry(*status).or_default() += count;
        }
        for (into, from) in [
            (&mut self.connect_errors, &sums.connect_errors),
            (&mut self.framing_errors, &sums.framing_errors),
        ] {
            for (name, count) in from {
                *into.entry(name.clone()).or_default() += count;
            }
        }
        add(&mut self.latency_us, &sums.latency_us);
        add(&mut self.latency_us_lately, &sums.latency_us);
    }

    pub(super) fn figures(&self) -> Figures {
        let latency = |quantile| {
            (!self.latency_us.is_empty()).then(|| self.latency_us.value_at_quantile(quantile))
        };
        Figures {
            counts: self.counts,
            refused: self.refused(),
            refused_by_status: self.refused.clone(),
            connect_errors: self.connect_errors(),
            connect_errors_by_kind: self.connect_errors.clone(),
            framing_errors: self.framing_errors.values().sum(),
            framing_errors_by_kind: self.framing_errors.clone(),
            latency_us_min: latency(0.0),
            latency_us_p50: latency(0.5),
            latency_us_p90: latency(0.9),
            latency_us_p99: latency(0.99),
            latency_us_p999: latency(0.999),
            latency_us_max: latency(1.0),
        }
    }
}

/// A class as the report tells it.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
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
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // A comparison looks at 25,000 buckets.
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_several_counted_is_told_as_if_one_had(
            shares in prop::collection::vec(prop::collection::vec(0_u64..10_000_000_000, 0..60), 1..5),
        ) {
            let mut whole = histogram();
            let mut sum = histogram();
            for share in &shares {
                let mut part = histogram();
                for value in share {
                    whole.saturating_record(*value);
                    part.saturating_record(*value);
                }
                let sent = serde_json::to_string(&drain(&mut part)).unwrap();
                prop_assert!(part.is_empty());
                add(&mut sum, &serde_json::from_str(&sent).unwrap());
            }
            prop_assert!(sum == whole);
            for quantile in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
                prop_assert_eq!(sum.value_at_quantile(quantile), whole.value_at_quantile(quantile));
            }
        }
    }
}
