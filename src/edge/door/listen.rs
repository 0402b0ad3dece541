//! Where HTTP is spoken: an address as operators write it, and what is particular to a listener.
//!
//! Pure data; `door` binds it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::tls::Tls;

/// What one listener is told.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Where.
    pub address: Address,
    /// Whether every connection begins with a header of the PROXY protocol. Then it must come from a
    /// trusted proxy, or a Unix socket; others are closed.
    pub proxy_protocol: bool,
    /// Who may connect to a Unix socket, as its file's mode. Default: 0o660, owner and group.
    pub unix_mode: u32,
    /// The certificate, when TLS is spoken here.
    pub tls: Option<Tls>,
}

/// Where a listener is: `127.0.0.1:8000`, `[::]:8000`, or `unix:/run/lariat.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Listen {
    /// What is spoken there.
    pub fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }
}

impl From<Address> for Listen {
    fn from(address: Address) -> Listen {
        Listen {
            address,
            proxy_protocol: false,
            unix_mode: 0o660,
            tls: None,
        }
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Listen {
        Address::Tcp(address).into()
    }
}

impl Address {
    /// Whether it is reached over the network.
    pub fn is_tcp(&self) -> bool {
        matches!(self, Address::Tcp(_))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Not an address.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no address; accepted: 127.0.0.1:8000, [::]:8000, unix:/run/lariat.sock")]
pub struct NoAddress(String);

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Address, NoAddress> {
        match text.strip_prefix("unix:") {
            Some("") => Err(NoAddress(text.to_owned())),
            Some(path) => Ok(Address::Unix(path.into())),
            None => text
                .parse()
                .map(Address::Tcp)
                .map_err(|_| NoAddress(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for text in ["127.0.0.1:80", "[::1]:0", "unix:/run/a b.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in ["", "unix:", "8000", "localhost:8000", "/run/a.sock"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
