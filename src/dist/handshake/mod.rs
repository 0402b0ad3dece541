//! Proving to each other that both nodes know the cookie: the handshake, in both roles.
//!
//! No sockets are opened here, no table of peers is kept and no clock is read: any byte stream
//! goes in, the caller sets the deadline, and what the table of peers decides comes in as a value
//! (`peers`). One file each: `message` is bytes to values, `frame` is reading and writing them,
//! `accept` and `dial` are the two roles, each phase a type that is consumed by the next.
//!
//! ```text
//!   dialling side                         side that was dialled
//!   N flags creation name           →
//!                                   ←     s status
//!   s true | false                  →     (only after s alive)
//!                                   ←     N flags challenge creation name
//!   r challenge digest              →
//!                                   ←     a digest
//! ```

mod accept;
mod dial;
mod frame;
mod message;
#[cfg(test)]
mod pair_test;

use std::io;

pub(crate) use accept::Greeted;
pub(crate) use dial::dial;
pub(crate) use frame::Width;
use message::{Hello, Unexpected};

use super::cookie::Cookies;
use super::flags::Flags;
use super::name::{NameError, NodeName};
use crate::metrics::HandshakeFailed;

/// Who we are, as told in every handshake.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(crate) name: NodeName,
    pub(crate) cookies: Cookies,
    /// Tells this run of the node from earlier ones; never 0.
    pub(crate) creation: u32,
    pub(crate) width: Width,
}

impl Local {
    fn hello(&self) -> Hello {
        Hello {
            flags: Flags::OFFERED,
            creation: self.creation,
            name: self.name.as_str().to_owned(),
        }
    }
}

/// What the handshake taught about the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) name: NodeName,
    pub(crate) creation: u32,
    /// The flags that hold on the link: the intersection of both sides' sets.
    pub(crate) flags: Flags,
}

impl Remote {
    fn new(hello: &Hello) -> Result<Remote, Failure> {
        let name = hello.name.parse::<NodeName>()?;
        if let Some(missing) = hello.flags.missing() {
            let peer = name;
            return Err(Failure::MissingFlags { peer, missing });
        }
        Ok(Remote {
            name,
            creation: hello.creation,
            flags: Flags::OFFERED.intersection(hello.flags.expanded()),
        })
    }
}

/// Why a handshake ended without a link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The peer's digest is wrong.
    #[error(
        "node {peer} has another cookie than this node: start both with the same \
         (erl -setcookie; here --cookie-file, LARIAT_COOKIE or, for one peer, dist.cookies)"
    )]
    WrongCookie { peer: NodeName },
    /// The peer hung up on our digest.
    #[error(
        "node {peer} hung up when this node proved its cookie: most likely it has another one; \
         compare erlang:get_cookie() there with --cookie-file, LARIAT_COOKIE or dist.cookies here"
    )]
    CookieRefused { peer: NodeName },
    /// Another node answers than the one dialled.
    #[error(
        "dialled {dialled} but {answered} answers there: correct --connect or the peer's -name"
    )]
    OtherName {
        dialled: NodeName,
        answered: NodeName,
    },
    /// The peer's name is none.
    #[error("the peer's name is refused: {0}")]
    BadName(#[from] NameError),
    /// The peer has our own name.
    #[error("the peer is called {0}, as this node is: give each node a name of its own")]
    OurName(NodeName),
    /// The peer lacks flags that this node needs.
    #[error("node {peer} lacks {missing}: this node needs OTP 25 or later")]
    MissingFlags { peer: NodeName, missing: Flags },
    /// Not on the `allow` list.
    #[error("node {0} is not on this node's list of allowed nodes")]
    NotOnList(NodeName),
    /// The peer says `not_allowed`.
    #[error("node {0} does not allow this node: see net_kernel:allow/1 there")]
    NotAllowed(NodeName),
    /// Simultaneous connects: the peer's attempt is the one that lives.
    #[error("node {0} is dialling this node at the same time; its attempt goes on")]
    Yielded(NodeName),
    /// We answered `nok`: our own attempt is the one that lives.
    #[error("node {0} was told to wait for the attempt of this node")]
    ToldNok(NodeName),
    /// The peer answered `false` to `alive`.
    #[error("node {0} gave its attempt up")]
    Abandoned(NodeName),
    /// The peer wants to name us.
    #[error("node {0} wants to give this node a name: dynamic names are not used here")]
    Renamed(NodeName),
    /// No TLS.
    #[error("the TLS handshake failed: {0}")]
    Tls(io::Error),
    /// A message out of place.
    #[error("the peer does not speak the distribution protocol: {0}")]
    Malformed(#[from] Unexpected),
    /// A frame above the limit of the handshake.
    #[error("the peer does not speak the distribution protocol: a frame of {bytes} bytes")]
    FrameTooLarge { bytes: usize },
    /// The deadline passed.
    #[error("the handshake took longer than {0:?}")]
    Timeout(std::time::Duration),
    /// The socket.
    #[error("the connection broke during the handshake: {0}")]
    Io(#[from] io::Error),
}

impl Failure {
    /// Its place in the metrics; `None` for the routine ends of simultaneous connects.
    pub(crate) fn metric(&self) -> Option<HandshakeFailed> {
        match self {
            Failure::WrongCookie { .. } | Failure::CookieRefused { .. } => {
                Some(HandshakeFailed::Cookie)
            }
            Failure::OtherName { .. } | Failure::BadName(_) | Failure::OurName(_) => {
                Some(HandshakeFailed::Name)
            }
            Failure::Tls(_) => Some(HandshakeFailed::Tls),
            Failure::MissingFlags { .. } => Some(HandshakeFailed::Flags),
            Failure::NotOnList(_) | Failure::NotAllowed(_) | Failure::Renamed(_) => {
                Some(HandshakeFailed::Refused)
            }
            Failure::Malformed(_) | Failure::FrameTooLarge { .. } => {
                Some(HandshakeFailed::Malformed)
            }
            Failure::Timeout(_) => Some(HandshakeFailed::Timeout),
            Failure::Io(_) => Some(HandshakeFailed::Io),
            Failure::Yielded(_) | Failure::ToldNok(_) | Failure::Abandoned(_) => None,
        }
    }
}

/// A number that a stranger cannot guess, for challenges and creations. The standard library's
/// hasher is keyed by the operating system; its output stands in for a random source of our own.
pub(crate) fn unguessable() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    let hash = RandomState::new().hash_one(0_u8);
    u32::from_be_bytes(
        *hash
            .to_be_bytes()
            .last_chunk()
            .expect("eight bytes have four"),
    )
}
