//! A run over time: five samples a second, and fewer once the run is long.
//!
//! It draws nothing and measures nothing.

use hdrhistogram::Histogram;

/// More points than any plot has dots across.
const SAMPLES_MAX: usize = 7200;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    /// Since the beginning of the run.
    pub(super) seconds: f64,
    pub(super) open: u32,
    pub(super) rss_bytes: Option<u64>,
    /// Of the messages since the sample before; none when there were none.
    pub(super) latency_us_p50: Option<u64>,
    pub(super) latency_us_p99: Option<u64>,
}

impl Sample {
    /// With the latencies of these messages.
    pub(super) fn new(
        seconds: f64,
        open: u32,
        rss_bytes: Option<u64>,
        latency_us: &Histogram<u64>,
    ) -> Self {
        let quantile = |at| (!latency_us.is_empty()).then(|| latency_us.value_at_quantile(at));
        Self {
            seconds,
            open,
            rss_bytes,
            latency_us_p50: quantile(0.5),
            latency_us_p99: quantile(0.99),
        }
    }
}

#[derive(Debug)]
pub(super) struct Timeline {
    samples: Vec<Sample>,
    /// Of so many samples one is kept.
    every: usize,
    passed_over: usize,
}

impl Timeline {
    pub(super) fn new() -> Self {
        Self {
            samples: Vec::new(),
            every: 1,
            passed_over: 0,
        }
    }

    pub(super) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    pub(super) fn push(&mut self, sample: Sample) {
        self.passed_over += 1;
        if self.passed_over < self.every {
            return;
        }
        self.passed_over = 0;
        self.samples.push(sample);
        if self.samples.len() == SAMPLES_MAX {
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
            self.every *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_its_whole_length_in_bounded_room() {
        let mut timeline = Timeline::new();
        for second in 0..100_000_u32 {
            timeline.push(Sample {
                seconds: f64::from(second),
                open: 0,
                rss_bytes: None,
                latency_us_p50: None,
                latency_us_p99: None,
            });
        }
        let samples = timeline.samples();
        assert!(samples.len() < SAMPLES_MAX && samples.len() > SAMPLES_MAX / 4);
        assert!(samples[0].seconds < 1.0);
        assert!(samples[samples.len() - 1].seconds > 99_900.0);
    }
}
