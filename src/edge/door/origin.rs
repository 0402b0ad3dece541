//! Whose connection it is, when proxies stand in front: the address that limits, logs and owners
//! are told.
//!
//! Pure. Nobody is believed who is not on the list: a proxy is, and so is whoever reaches a Unix
//! socket, because its file's mode says who may. What a trusted proxy says of its client is
//! believed, and if that is a trusted proxy again, what `X-Forwarded-For` says before it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The proxies that are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust(Vec<Network>);

/// Addresses that begin alike: `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Trust {
    /// Whether this is a proxy of ours.
    pub(in crate::edge) fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.has(address))
    }

    /// The client behind the proxy at `proxy` (`None`: a Unix socket), by the values of its
    /// `X-Forwarded-For` in order: the rightmost that is no proxy of ours. What cannot be read ends
    /// the search: who wrote it is not known, and what is left of it even less. `None` when there
    /// is nobody but `proxy`.
    pub(in crate::edge) fn client_behind<'a>(
        &self,
        proxy: Option<SocketAddr>,
        forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>,
    ) -> Option<SocketAddr> {
        if proxy.is_some_and(|proxy| !self.has(proxy.ip())) {
            return None;
        }
        let addresses = forwarded_for
            .rev()
            .flat_map(|value| value.rsplit(|&byte| byte == b','));
        let mut found = None;
        for text in addresses {
            let Some(address) = forwarded(text) else {
                break;
            };
            found = Some(address);
            if !self.has(address.ip()) {
                break;
            }
        }
        found
    }
}

impl FromIterator<Network> for Trust {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Trust {
        Trust(networks.into_iter().collect())
    }
}

/// One element: an address, in brackets if it likes, perhaps with a port; without one it is 0.
fn forwarded(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let bare = || text.strip_prefix('[')?.strip_suffix(']');
    let ip = text.parse().ok().or_else(|| bare()?.parse::<IpAddr>().ok());
    ip.map(|ip| SocketAddr::new(ip, 0))
        .or_else(|| text.parse().ok())
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        let (ours, theirs, bits) = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let wide = |address: std::net::Ipv4Addr| u128::from(address.to_bits());
                (wide(ours), wide(theirs), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
            _ => return false,
        };
        let differing = u128::BITS - (ours ^ theirs).leading_zeros();
        differing <= bits - u32::from(self.prefix)
    }
}

/// Not a network.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no network; accepted: 10.0.0.0/8, 2001:db8::/32, 192.0.2.1")]
pub struct NoNetwork(String);

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Network, NoNetwork> {
        let wrong = || NoNetwork(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), str::parse).map_err(|_| wrong())?;
        if prefix > bits || address != address.to_canonical() {
            return Err(wrong());
        }
        Ok(Network { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(networks: &[&str]) -> Trust {
        networks
            .iter()
            .map(|text| text.parse::<Network>().unwrap())
            .collect()
    }

    fn behind(proxy: Option<&str>, values: &[&str]) -> Option<String> {
        let proxy = proxy.map(|ip| SocketAddr::new(ip.parse().unwrap(), 1));
        let values = values.iter().map(|value| value.as_bytes());
        let found = trust(&["10.0.0.0/8", "::1"]).client_behind(proxy, values);
        found.map(|address| address.to_string())
    }

    #[test]
    fn networks_have_the_addresses_that_begin_alike() {
        let trust = trust(&["10.0.0.0/8", "192.0.2.7", "2001:db8::/33", "0.0.0.0/32"]);
        for inside in [
            "10.255.0.1",
            "192.0.2.7",
            "::ffff:10.0.0.1",
            "2001:db8:7fff::",
            "0.0.0.0",
        ] {
            assert!(trust.has(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.6", "2001:db8:8000::", "::", "0.0.0.1"] {
            assert!(!trust.has(outside.parse().unwrap()), "{outside}");
        }
        assert!(
            "0.0.0.0/0"
                .parse::<Network>()
                .unwrap()
                .has("1.2.3.4".parse().unwrap())
        );
        for wrong in [
            "",
            "10.0.0.0/33",
            "10/8",
            "::/129",
            "a",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
        ] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_rightmost_stranger_is_the_client() {
        let client = |values: &[&str]| behind(Some("10.0.0.1"), values);
        assert_eq!(client(&["192.0.2.1"]).as_deref(), Some("192.0.2.1:0"));
        // What the client itself has put there is to the left, and counts nothing.
        assert_eq!(
            client(&["8.8.8.8, 192.0.2.1"]).as_deref(),
            Some("192.0.2.1:0")
        );
        assert_eq!(
            client(&["8.8.8.8", "192.0.2.1,10.0.0.2"]).as_deref(),
            Some("192.0.2.1:0")
        );
        assert_eq!(
            client(&["[2001:db8::1]:99, ::1"]).as_deref(),
            Some("[2001:db8::1]:99")
        );
        assert_eq!(
            client(&["[2001:db8::1]"]).as_deref(),
            Some("[2001:db8::1]:0")
        );
        // Proxies all the way: the first of them.
        assert_eq!(
            client(&["10.0.0.3, 10.0.0.2"]).as_deref(),
            Some("10.0.0.3:0")
        );
    }

    #[test]
    fn what_cannot_be_read_ends_the_search() {
        let client = |values: &[&str]| behind(Some("10.0.0.1"), values);
        assert_eq!(client(&[]), None);
        assert_eq!(client(&["unknown"]), None);
        assert_eq!(client(&["8.8.8.8, "]), None);
        assert_eq!(
            client(&["8.8.8.8, _hidden, 10.0.0.2"]).as_deref(),
            Some("10.0.0.2:0")
        );
        assert_eq!(client(&["8.8.8.8;10.0.0.2"]), None);
    }

    #[test]
    fn strangers_are_not_believed_and_unix_sockets_are() {
        assert_eq!(behind(Some("192.0.2.9"), &["8.8.8.8"]), None);
        assert_eq!(behind(None, &["8.8.8.8"]).as_deref(), Some("8.8.8.8:0"));
    }
}
