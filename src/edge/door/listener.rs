//! Accepts connections, within the limits. A plain stream whose request is there already goes to its
//! shard at once; any other connection gets a task that reads and answers its request.
//!
//! Whoever exceeds a limit is refused here, at the door, as cheaply as can be; what the limits on
//! rate, heads and open files hold back waits in the kernel's backlog. What a request is answered
//! is `visitor`'s affair, and answering is `serve`'s.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::Door;
use super::farewell::Farewells;
use super::pace::Pace;
use crate::edge::Edge;
use crate::edge::http::line::READ_BYTES;
use crate::edge::http::refusal::Refusal;
use crate::edge::http::serve;
use crate::edge::http::visitor::{Verdict, Visitor};
use crate::edge::shard::queue::{Adoption, ShardCommand};
use crate::metrics::ProxyRefused;

/// How long a listener waits when the process is out of open files: long enough not to spin,
/// short enough that a freed descriptor is used before a client's patience ends.
const PAUSE: Duration = Duration::from_millis(100);

/// How often that is logged at most: a process at its limit gets and loses descriptors all the time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// Connections that are accepted before others have a turn and the shards hear of them: under a
/// millisecond's worth, and each wake of a shard costs as much as one of them.
const BATCH: usize = 64;

struct Listener {
    edge: Edge,
    door: Door,
    heads: Arc<Semaphore>,
    pace: Pace,
    farewells: Farewells,
    /// Streams for each shard, not handed over yet: never while somebody is waited for.
    arrivals: Vec<Vec<Adoption>>,
    /// Where heads are read that are there at the accept.
    scratch: Box<[u8]>,
    complained: Option<Instant>,
    stop: watch::Receiver<bool>,
}

/// Accepts until told to stop.
pub(in crate::edge) async fn run(edge: Edge, door: Door, mut stop: watch::Receiver<bool>) {
    let config = edge.config();
    let mut listener = Listener {
        heads: Arc::new(Semaphore::new(config.heads_max)),
        pace: Pace::new(config.accept_rate_max),
        farewells: Farewells::default(),
        arrivals: (0..edge.shards()).map(|_| Vec::new()).collect(),
        scratch: vec![0; READ_BYTES.min(config.head_bytes_max)].into(),
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
        let mut head = None;
        let mut batch = 0;
        loop {
            if head.is_none() {
                head = Some(self.room_for_a_head().await);
            }
            while let Err(wait) = self.pace.take(Instant::now()) {
                self.edge.metrics().accept_throttled.increment();
                self.hand_over();
                tokio::time::sleep(wait).await;
            }
            let accepted = match self.door.try_accept() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.hand_over();
                    batch = 0;
                    self.accept().await
                }
                accepted => accepted,
            };
            match accepted {
                // Of two that are ready either is taken, and whoever comes after the stop is too late.
                Ok(_) if *self.stop.borrow() => return self.hand_over(),
                Ok((stream, peer)) => self.welcome(stream, peer, &mut head),
                Err(error) if is_exhaustion(&error) => self.pause(&error).await,
                // The client gave up before it was accepted: nothing to do.
                Err(_) => {}
            }
            batch += 1;
            if batch == BATCH {
                self.hand_over();
                batch = 0;
                self.farewells.end_due(Instant::now());
                tokio::task::yield_now().await;
            }
        }
    }

    /// Gives the shards their streams.
    fn hand_over(&mut self) {
        for (queue, arrived) in self.edge.queues().iter().zip(&mut self.arrivals) {
            if !arrived.is_empty() {
                queue.push(ShardCommand::Adopt(std::mem::take(arrived)));
            }
        }
    }

    async fn room_for_a_head(&mut self) -> OwnedSemaphorePermit {
        if let Ok(permit) = Arc::clone(&self.heads).try_acquire_owned() {
            return permit;
        }
        self.hand_over();
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

    /// Takes the place of a head if it is not read already.
    fn welcome(
        &mut self,
        stream: TcpStream,
        peer: Option<SocketAddr>,
        head: &mut Option<OwnedSemaphorePermit>,
    ) {
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
        let mut visitor = Visitor {
            peer,
            forwarded: None,
            is_proxied,
            guest,
            has_proxy_header,
            tls: self.door.tls(),
            head: None,
            permit: None,
            by_connection: (None, is_proxied),
        };
        let mut read = &[][..];
        let mut verdict = None;
        if !visitor.has_proxy_header && visitor.tls.is_none() {
            read = match (&stream).read(&mut self.scratch) {
                Ok(count @ 1..) => &self.scratch[..count],
                Err(error) if is_not_yet(&error) => &[],
                // It is gone.
                _ => return,
            };
            // A bug that a request finds ends its own connection, here as in a task of its own.
            let judge = || {
                (!read.is_empty())
                    .then(|| visitor.judge(edge, read))
                    .flatten()
            };
            let Ok(judged) = catch_unwind(AssertUnwindSafe(judge)) else {
                return;
            };
            verdict = judged;
        }
        match verdict {
            Some(Verdict::Hold(place)) => {
                let shard = edge.shard_of(&place.id);
                let adoption = visitor.adoption(edge, place, stream, None);
                self.arrivals[shard].push(adoption);
            }
            verdict => {
                visitor.head = head.take();
                let serving = serve::serve(edge.clone(), stream, visitor, read.into(), verdict);
                tokio::spawn(serving);
            }
        }
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
        self.hand_over();
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

fn is_not_yet(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn is_exhaustion(error: &std::io::Error) -> bool {
    // EMFILE, ENFILE, ENOBUFS, ENOMEM (Linux numbers; elsewhere they retry at once).
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12))
}
