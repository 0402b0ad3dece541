//! A link without a peer: frames from memory, taken in as a real link takes them.
//!
//! For benches, tests and fuzzing; the node itself has no use for it. Nobody reads what it answers.

use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;

use super::flags::Flags;
use super::handshake::Remote;
use super::identity::Identity;
use super::link::Link;
use super::peers::Ticket;
use super::registry::Registry;
use super::{Config, Inbound, limits};
use crate::metrics::Metrics;

/// Takes in `frames`, bytes as they come after the handshake, through the reader, the codec and
/// `inbound`, on the calling thread; returns when they end, or when one of them would end a link.
///
/// # Errors
/// When there is no socket on loopback to be had: a link needs one to answer to.
pub fn replay(
    config: &Config,
    frames: impl Read,
    inbound: Arc<dyn Inbound>,
    metrics: Arc<Metrics>,
) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let socket = TcpStream::connect(listener.local_addr()?)?;
    let identity = Identity {
        name: config.name.clone(),
        creation: 1,
    };
    let limits = limits(config);
    let registry = Arc::new(Registry::new(identity, limits, inbound, metrics));
    let remote = Remote {
        name: config.name.clone(),
        creation: 2,
        flags: Flags::OFFERED,
    };
    let link = Link::new(socket, Ticket(0), remote, limits, &registry);
    Link::read(&link, frames, limits, &registry);
    Ok(())
}
