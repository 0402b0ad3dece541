//! Accepts connections, within the limits, and gives each a task that reads its request.
//!
//! Whoever exceeds a limit is refused here, at the door, as cheaply as can be; what the limits on
//! rate, heads and open files hold back waits in the kernel's backlog. What a request is answered
//! is `serve`'s affair.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::addresses::Guest;
use super::door::Door;
use super::farewell::Farewells;
use super::pace::Pace;
use super::refusal::Refusal;
use super::tls::TlsRules;
use super::{Edge, serve};
use crate::metrics::ProxyRefused;

/// How long a listener waits when the process is out of open files: long enough not to spin,
/// short enough that a freed descriptor is used before a client's patience ends.
const PAUSE: Duration = Duration::from_millis(100);

/// How often that is logged at most: a process at its limit gets and loses descriptors all the time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// A connection that may have its request read.
pub(super) struct Visitor {
    /// `None` once somebody has taken it.
    pub(super) stream: Option<TcpStream>,
    /// The address that the socket has.
    pub(super) peer: Option<SocketAddr>,
    /// The client's address by a proxy's word.
    pub(super) forwarded: Option<SocketAddr>,
    /// The last address that is known is a proxy of ours: whose connection it is, is still to be
    /// said.
    pub(super) is_proxied: bool,
    /// Its place among those of its address, when they are counted and it is known.
    pub(super) guest: Option<Guest>,
    /// What it says begins with a header of the PROXY protocol.
    pub(super) has_proxy_header: bool,
    /// What it says is TLS.
    pub(super) tls: Option<TlsRules>,
    /// Its place among the heads that are being read.
    pub(super) _head: OwnedSemaphorePermit,
}

struct Listener {
    edge: Edge,
    door: Door,
    heads: Arc<Semaphore>,
    pace: Pace,
    farewells: Farewells,
    complained: Option<Instant>,
    stop: watch::Receiver<bool>,
}

/// Accepts until told to stop.
pub(super) async fn run(edge: Edge, door: Door, mut stop: watch::Receiver<bool>) {
    let config = edge.config();
    let mut listener = Listener {
        heads: Arc::new(Semaphore::new(config.heads_max)),
        pace: Pace::new(config.accept_rate_max),
        farewells: Farewells::default(),
        complained: None,
        stop: stop.clone(),
        edge,
        door,
    };
    tokio::select! {
        () = listener.accept_all() => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

impl Listener {
    async fn accept_all(&mut self) {
        loop {
            let head = self.room_for_a_head().await;
            while let Err(wait) = self.pace.take(Instant::now()) {
                self.edge.metrics().accept_throttled.increment();
                tokio::time::sleep(wait).await;
            }
            match self.accept().await {
                // Of two that are ready either is taken, and whoever comes after the stop is too late.
                Ok(_) if *self.stop.borrow() => return,
                Ok((stream, peer)) => self.welcome(stream, peer, head),
                Err(error) if is_exhaustion(&error) => self.pause(&error).await,
                // The client gave up before it was accepted: nothing to do.
                Err(_) => {}
            }
        }
    }

    async fn room_for_a_head(&self) -> OwnedSemaphorePermit {
        if let Ok(permit) = Arc::clone(&self.heads).try_acquire_owned() {
            return permit;
        }
        self.edge.metrics().accept_pauses.increment();
        let permit = Arc::clone(&self.heads).acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    /// The next connection; meanwhile those that were refused end.
    async fn accept(&mut self) -> std::io::Result<(TcpStream, Option<SocketAddr>)> {
        loop {
            self.farewells.end_due(Instant::now());
            let next_end = self.farewells.next_end();
            let end = async {
                match next_end {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                accepted = self.door.accept() => return accepted,
                () = end => {}
            }
        }
    }

    fn welcome(&mut self, stream: TcpStream, peer: Option<SocketAddr>, head: OwnedSemaphorePermit) {
        let edge = &self.edge;
        edge.metrics().accepted.increment();
        if edge.permits().are_taken() {
            return self.refuse(stream, &Refusal::CONNECTIONS);
        }
        let is_proxied = peer.is_none_or(|peer| edge.config().trusted_proxies.has(peer.ip()));
        let has_proxy_header = self.door.has_proxy_protocol();
        if has_proxy_header && !is_proxied {
            // Without an answer: whoever is here has no business with HTTP.
            let refused = &edge.metrics().proxy_refused;
            return refused.of(ProxyRefused::Untrusted).increment();
        }
        let guest = match peer {
            Some(peer) if !is_proxied => {
                let Ok(guest) = edge.permits().addresses().enter(peer.ip()) else {
                    edge.metrics().address_limit.increment();
                    return self.refuse(stream, &Refusal::ADDRESS);
                };
                guest
            }
            _ => None,
        };
        let visitor = Visitor {
            stream: Some(stream),
            peer,
            forwarded: None,
            is_proxied,
            guest,
            has_proxy_header,
            tls: self.door.tls(),
            _head: head,
        };
        tokio::spawn(serve::serve(edge.clone(), visitor));
    }

    fn refuse(&mut self, stream: TcpStream, refusal: &Refusal) {
        let metrics = self.edge.metrics();
        metrics.refused.of(refusal.label()).increment();
        if self.door.tls().is_some() {
            // It would understand an answer only after a handshake, which is what storms are made of.
            return;
        }
        self.farewells.refuse(stream, refusal, Instant::now());
    }

    async fn pause(&mut self, error: &std::io::Error) {
        self.edge.metrics().accept_pauses.increment();
        let now = Instant::now();
        let is_news = |at: Instant| now.duration_since(at) >= COMPLAIN_EVERY;
        if self.complained.is_none_or(is_news) {
            self.complained = Some(now);
            tracing::warn!(%error, listener = %self.door.address(), "cannot accept: raise the limit \
                (ulimit -n) or lower http.connections_max; accepting goes on when something is freed");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn is_exhaustion(error: &std::io::Error) -> bool {
    // EMFILE, ENFILE, ENOBUFS, ENOMEM (Linux numbers; elsewhere they retry at once).
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12))
}
