//! Node names: `name@host`, and where to find a peer that EPMD does not know.
//!
//! No name resolution and no judgement on short or long names: a node name is compared byte for
//! byte with what the peer says it is, exactly as Erlang does.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest node name: an atom has at most 255 characters, and here also bytes, so that a name
/// always fits `SMALL_ATOM_UTF8_EXT`.
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// The full name of a node, `name@host`, with exactly one `@`. Ordered by bytes, as the rule for
/// simultaneous connects demands. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(Arc<str>);

/// Why a text is no node name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No `@`.
    #[error("node name {0:?} has no host: write name@host, for example lariat@127.0.0.1")]
    NoHost(String),
    /// More than one `@`.
    #[error("node name {0:?} has more than one @: write name@host, for example lariat@127.0.0.1")]
    TwoHosts(String),
    /// Nothing before or after the `@`.
    #[error("node name {0:?} lacks the part before or after the @: write name@host")]
    EmptyPart(String),
    /// Above 255 bytes.
    #[error("node name is {0} bytes long: use at most 255")]
    TooLong(usize),
    /// Characters that Erlang refuses in the first part, or that no host has.
    #[error(
        "node name {name:?} contains {character:?}: use letters, digits, - and _ before the @, \
         a host name or an IP address after it"
    )]
    BadCharacter {
        /// The whole name.
        name: String,
        /// The first offending character.
        character: char,
    },
    /// The text after the last colon of a peer is no port.
    #[error("peer {0:?} has a port that is none: write name@host:port with a port of 1 to 65535")]
    BadPort(String),
}

impl NodeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the `@`: what EPMD knows the node by.
    pub fn short(&self) -> &str {
        self.split().0
    }

    /// The part after the `@`.
    pub fn host(&self) -> &str {
        self.split().1
    }

    fn split(&self) -> (&str, &str) {
        self.0
            .split_once('@')
            .expect("checked when the name was made: exactly one @")
    }
}

impl FromStr for NodeName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<NodeName, NameError> {
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong(text.len()));
        }
        let Some((short, host)) = text.split_once('@') else {
            return Err(NameError::NoHost(text.to_owned()));
        };
        if host.contains('@') {
            return Err(NameError::TwoHosts(text.to_owned()));
        }
        if short.is_empty() || host.is_empty() {
            return Err(NameError::EmptyPart(text.to_owned()));
        }
        let bad_short = short.chars().find(|c| !is_short_character(*c));
        let bad_host = host.chars().find(|c| !is_host_character(*c));
        if let Some(character) = bad_short.or(bad_host) {
            return Err(NameError::BadCharacter {
                name: text.to_owned(),
                character,
            });
        }
        Ok(NodeName(text.into()))
    }
}

/// What `net_kernel` accepts in the first part.
fn is_short_character(c: char) -> bool {
    c.is_alphanumeric() || c == '-' || c == '_'
}

/// Host names and addresses; `:` for IPv6. Letters beyond ASCII are left to the resolver.
fn is_host_character(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '%')
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A node to dial: its name and, where EPMD is not to be asked, its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Whom to dial; the host part is where.
    pub name: NodeName,
    /// The port of its distribution listener; `None` asks EPMD on its host.
    pub port: Option<u16>,
}

impl From<NodeName> for Peer {
    fn from(name: NodeName) -> Peer {
        Peer { name, port: None }
    }
}

impl FromStr for Peer {
    type Err = NameError;

    /// `name@host` or `name@host:port`. A host with more than one colon is an IPv6 address and
    /// takes its port after brackets: `name@[::1]:9100`.
    fn from_str(text: &str) -> Result<Peer, NameError> {
        let port_of = |digits: &str| match digits.parse::<u16>() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(NameError::BadPort(text.to_owned())),
        };
        if let Some((short, rest)) = text.split_once("@[") {
            let Some((host, digits)) = rest.split_once("]:") else {
                return Err(NameError::BadPort(text.to_owned()));
            };
            return Ok(Peer {
                name: format!("{short}@{host}").parse()?,
                port: Some(port_of(digits)?),
            });
        }
        if text.matches(':').count() != 1 {
            return text.parse::<NodeName>().map(Peer::from);
        }
        let (name, digits) = text.split_once(':').expect("one colon was counted");
        Ok(Peer {
            name: name.parse()?,
            port: Some(port_of(digits)?),
        })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.name),
            None => self.name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_keep_their_text() {
        for text in [
            "lariat@127.0.0.1",
            "a-b_c@host",
            "x@fe80::1",
            "n1@host.example.com",
        ] {
            let name: NodeName = text.parse().unwrap();
            assert_eq!(name.as_str(), text);
            assert_eq!(format!("{}@{}", name.short(), name.host()), text);
        }
    }

    #[test]
    fn bad_names_say_what_to_write() {
        for text in [
            "lariat", "a@b@c", "@host", "name@", "a b@host", "a@ho st", "",
        ] {
            let error = text.parse::<NodeName>().unwrap_err().to_string();
            assert!(
                error.contains("name@host") || error.contains("use letters"),
                "{error}"
            );
        }
        let long = format!("{}@h", "n".repeat(254));
        assert_eq!(long.parse::<NodeName>(), Err(NameError::TooLong(256)));
    }

    #[test]
    fn peers_may_carry_a_port() {
        let peer: Peer = "app@127.0.0.1:9100".parse().unwrap();
        assert_eq!(
            (peer.name.as_str(), peer.port),
            ("app@127.0.0.1", Some(9100))
        );
        let peer: Peer = "app@127.0.0.1".parse().unwrap();
        assert_eq!(peer.port, None);
        let peer: Peer = "app@[::1]:9100".parse().unwrap();
        assert_eq!((peer.name.host(), peer.port), ("::1", Some(9100)));
        for text in ["app@h:0", "app@h:x", "app@h:70000", "app@[::1]"] {
            assert!(
                matches!(text.parse::<Peer>(), Err(NameError::BadPort(_))),
                "{text}"
            );
        }
    }
}
