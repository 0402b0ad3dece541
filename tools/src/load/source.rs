//! Where connections come from: local addresses in turn, and on each the next free port.
//!
//! The kernel could choose the port, but for bound sockets it searches at random, and for others
//! it has used up every second port after half of them: past 14,000 connections to one server it
//! then takes milliseconds a connection. Counting through the range takes none. Where no local
//! address is given and the server is not on this machine, the kernel still chooses: we do not
//! know the address it would take.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::socket::{self, Refusal};

/// What Linux uses unless told otherwise; taken when its setting cannot be read.
const DEFAULT_PORTS: RangeInclusive<u16> = 32768..=60999;

/// How long a source address that ran out of ports is left alone: Linux takes a port in TIME_WAIT
/// for a new connection after one second.
const EXHAUSTED: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Sources {
    sources: Vec<Source>,
    turn: usize,
}

#[derive(Debug)]
struct Source {
    address: IpAddr,
    ports: RangeInclusive<u16>,
    next: u16,
    /// When every port was tried in vain; for a moment none is tried again, so that failing is
    /// quick.
    exhausted: Option<Instant>,
}

impl Sources {
    /// From `addresses` in turn; when there are none and `target` is on this machine, from the
    /// target's own address.
    pub(super) fn new(addresses: &[IpAddr], target: SocketAddr) -> Self {
        let own = [target.ip()];
        let addresses = match addresses {
            [] if target.ip().is_loopback() => &own,
            given => given,
        };
        let ports = local_ports();
        let sources = addresses.iter().map(|&address| {
            // Processes started together should not try each other's ports.
            let start = fastrand::u16(ports.clone());
            Source::new(address, ports.clone(), start)
        });
        Self {
            sources: sources.collect(),
            turn: 0,
        }
    }

    /// Begins the next connection, with the smallest receive buffer if it shall be `small`.
    pub(super) fn connect(&mut self, target: SocketAddr, small: bool) -> io::Result<TcpStream> {
        if self.sources.is_empty() {
            return socket::connect(target, None, small).map_err(Refusal::into_error);
        }
        let turn = self.turn % self.sources.len();
        self.turn = turn + 1;
        self.sources[turn].connect(target, small)
    }
}

impl Source {
    fn new(address: IpAddr, ports: RangeInclusive<u16>, start: u16) -> Self {
        Self {
            address,
            ports,
            next: start,
            exhausted: None,
        }
    }

    fn connect(&mut self, target: SocketAddr, small: bool) -> io::Result<TcpStream> {
        let tries = match self.exhausted {
            Some(at) if at.elapsed() < EXHAUSTED => 0,
            _ => self.ports.len(),
        };
        for _ in 0..tries {
            let source = SocketAddr::new(self.address, self.take_port());
            if source == target {
                // It would connect to itself.
                continue;
            }
            match socket::connect(target, Some(source), small) {
                Err(Refusal::PortTaken(_)) => {}
                other => return other.map_err(Refusal::into_error),
            }
        }
        self.exhausted = Some(Instant::now());
        Err(io::ErrorKind::AddrInUse.into())
    }

    fn take_port(&mut self) -> u16 {
        let port = self.next;
        self.next = match port == *self.ports.end() {
            true => *self.ports.start(),
            false => port + 1,
        };
        port
    }
}

/// The ports this machine sets aside for connecting.
fn local_ports() -> RangeInclusive<u16> {
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| parse_ports(&text))
        .unwrap_or(DEFAULT_PORTS)
}

fn parse_ports(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse::<u16>);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (first >= 1 && first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn the_kernels_setting_is_read() {
        assert_eq!(parse_ports("1024\t65535\n"), Some(1024..=65535));
        for text in ["", "1024", "9 8", "0 9", "a b", "1 70000"] {
            assert_eq!(parse_ports(text), None, "{text:?}");
        }
    }

    #[test]
    fn ports_go_round() {
        let mut source = Source::new(LOCAL, 65533..=65535, 65534);
        let ports: Vec<_> = (0..4).map(|_| source.take_port()).collect();
        assert_eq!(ports, [65534, 65535, 65533, 65534]);
    }

    #[test]
    fn a_taken_port_is_passed_over_and_a_full_range_fails() {
        let server = TcpListener::bind((LOCAL, 0)).unwrap();
        let target = server.local_addr().unwrap();
        let taken = TcpListener::bind((LOCAL, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut only = Source::new(LOCAL, port..=port, port);
        for _ in 0..2 {
            let error = only.connect(target, false).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
        let mut more = Source::new(LOCAL, port..=port.saturating_add(500), port);
        let local = more.connect(target, false).unwrap().local_addr().unwrap();
        assert!(local.ip() == LOCAL && local.port() > port, "{local}");
    }

    #[test]
    fn nothing_connects_to_itself() {
        let free = TcpListener::bind((LOCAL, 0)).unwrap();
        let target = free.local_addr().unwrap();
        drop(free);
        let mut source = Source::new(LOCAL, target.port()..=target.port(), target.port());
        assert!(source.connect(target, false).is_err());
    }

    #[test]
    fn an_address_that_is_not_ours_fails_at_once() {
        let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let target = SocketAddr::new(LOCAL, 9);
        let mut source = Source::new(elsewhere, 40000..=50000, 40000);
        let error = source.connect(target, false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        assert_eq!(source.next, 40001, "one attempt tells");
    }
}
