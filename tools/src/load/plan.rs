//! What one process does of a run: its part of the connections, rates and addresses.
//!
//! The parts of all processes together are the run, and no two have a connection in common. It
//! opens nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use super::connection::Transport;
use super::options::Options;
use super::target::{IdRange, Target};

/// Which part of how many, from 0, as `I/K`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    index: u32,
    of: NonZeroU32,
}

#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) target: Target,
    pub(super) address: SocketAddr,
    pub(super) transport: Transport,
    pub(super) connections: u32,
    /// The number that this part's first connection has in the run.
    first: u32,
    /// Connections of all parts.
    total: u32,
    ids: IdRange,
    pub(super) sources: Vec<IpAddr>,
    pub(super) rate: Option<NonZeroU32>,
    pub(super) opening_max: u32,
    pub(super) opening_timeout: Duration,
    /// Of all parts.
    slow: u32,
    pub(super) slow_rate: NonZeroU32,
    pub(super) churn: Option<NonZeroU32>,
    pub(super) drop_for: Option<Duration>,
    pub(super) drop_every: Option<Duration>,
    pub(super) storm_at: Option<Duration>,
    pub(super) come_back: bool,
    pub(super) reset: bool,
    /// Between two looks at what came.
    pub(super) rest: Duration,
    /// Count messages by id, for the ids that so many connections use.
    pub(super) per_id: Option<(IdRange, u32)>,
}

impl Part {
    pub(super) const WHOLE: Self = Self {
        index: 0,
        of: NonZeroU32::MIN,
    };

    pub(super) fn all(of: NonZeroU32) -> impl Iterator<Item = Self> {
        (0..of.get()).map(move |index| Self { index, of })
    }

    /// What the parts before this one have of `total`.
    fn before(self, total: u32) -> u32 {
        let before = u64::from(total) * u64::from(self.index) / u64::from(self.of.get());
        u32::try_from(before).expect("at most `total`")
    }

    fn share(self, total: u32) -> u32 {
        let next = Self {
            index: self.index + 1,
            ..self
        };
        next.before(total) - self.before(total)
    }

    /// Of a rate of at least one for each part.
    fn rate(self, total: NonZeroU32) -> NonZeroU32 {
        NonZeroU32::new(self.share(total.get())).expect("rates below one a part are refused")
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no part; write the second of four as 1/4");
        let (index, of) = text.split_once('/').ok_or_else(wrong)?;
        let (index, of) = (index.parse::<u32>(), of.parse::<NonZeroU32>());
        match (index, of) {
            (Ok(index), Ok(of)) if index < of.get() => Ok(Self { index, of }),
            _ => Err(wrong()),
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl Plan {
    /// What `part` does of a run against `address`.
    pub(super) fn new(options: &Options, address: SocketAddr, part: Part) -> Self {
        let connections = options.connections.get();
        let mut sources = options.sources();
        if part.of > NonZeroU32::MIN && sources.is_empty() && is_first_loopback(address.ip()) {
            // All of 127/8 is this machine: to each process the ports of its own address.
            let [a, b, c, d] = (u32::from(Ipv4Addr::LOCALHOST) + part.index).to_be_bytes();
            sources = vec![IpAddr::V4(Ipv4Addr::new(a, b, c, d))];
        }
        Self {
            target: options.url.clone(),
            address,
            transport: options.transport(),
            connections: part.share(connections),
            first: part.before(connections),
            total: connections,
            ids: options.ids(),
            sources,
            rate: options.rate.map(|rate| part.rate(rate)),
            opening_max: part.share(options.opening_max).max(1),
            opening_timeout: options.opening_timeout,
            slow: options.slow,
            slow_rate: options.slow_rate,
            churn: options.churn.map(|rate| part.rate(rate)),
            drop_for: options.drop_for,
            drop_every: options.drop_every,
            storm_at: options.storm_at,
            come_back: options.come_back,
            reset: options.reset,
            rest: options.rest,
            per_id: options
                .per_id
                .is_some()
                .then(|| (options.ids(), connections)),
        }
    }

    pub(super) fn id(&self, number: u32) -> u64 {
        self.ids.id(self.first + number)
    }

    /// The slow ones are spread evenly among the others.
    pub(super) fn is_slow(&self, number: u32) -> bool {
        let slow_before =
            |number: u32| u64::from(number) * u64::from(self.slow) / u64::from(self.total);
        let number = self.first + number;
        slow_before(number + 1) > slow_before(number)
    }
}

fn is_first_loopback(address: IpAddr) -> bool {
    address == IpAddr::V4(Ipv4Addr::LOCALHOST)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser;
    use proptest::prelude::*;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn plans(processes: u32, arguments: &str) -> Vec<Plan> {
        let line = format!("load --url http://127.0.0.1:9/{{id}} {arguments}");
        let options = Line::parse_from(line.split_whitespace()).options;
        let address = options.url.resolve().unwrap();
        Part::all(NonZeroU32::new(processes).unwrap())
            .map(|part| Plan::new(&options, address, part))
            .collect()
    }

    proptest! {
        #[test]
        fn the_parts_are_the_run(
            processes in 1_u32..9, connections in 1_u32..200, slow_of_ten in 0_u32..11,
        ) {
            let slow = connections * slow_of_ten / 10;
            let arguments = format!("--connections {connections} --slow {slow}");
            let plans = plans(processes, &arguments);
            let ids: Vec<_> = plans
                .iter()
                .flat_map(|plan| (0..plan.connections).map(|number| plan.id(number)))
                .collect();
            let expected: Vec<_> = (1..=u64::from(connections)).collect();
            prop_assert_eq!(ids, expected);
            let slow_ones = plans.iter().map(|plan| {
                (0..plan.connections).filter(|number| plan.is_slow(*number)).count()
            });
            prop_assert_eq!(slow_ones.sum::<usize>(), slow as usize);
        }
    }

    #[test]
    fn each_process_has_an_address_of_its_own_on_loopback() {
        let sources = |processes| -> BTreeSet<_> {
            let plans = plans(processes, "--connections 8");
            plans.into_iter().flat_map(|plan| plan.sources).collect()
        };
        assert_eq!(sources(4).len(), 4);
        assert!(sources(1).is_empty());
    }

    #[test]
    fn rates_are_shared() {
        let rates: Vec<_> = plans(4, "--connections 8 --rate 1001 --churn 4")
            .iter()
            .map(|plan| (plan.rate.unwrap().get(), plan.churn.unwrap().get()))
            .collect();
        assert_eq!(rates.iter().map(|(rate, _)| rate).sum::<u32>(), 1001);
        assert!(rates.iter().all(|(_, churn)| *churn == 1));
    }

    #[test]
    fn a_part_is_written_as_it_is_read() {
        for text in ["0/1", "3/4"] {
            assert_eq!(text.parse::<Part>().unwrap().to_string(), text);
        }
        for text in ["4/4", "0/0", "1", "a/b", "-1/2"] {
            assert!(text.parse::<Part>().unwrap_err().contains("1/4"), "{text}");
        }
        assert_eq!("0/1".parse(), Ok(Part::WHOLE));
    }
}
