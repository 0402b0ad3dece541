//! Accepting Erlang nodes: the listener, and a bounded number of handshakes at a time.
//!
//! Nothing here is trusted before its digest is right. A handshake too many is closed at once: a
//! peer of good will dials again, one of bad will does not keep others out for longer than the
//! deadline of a handshake. Where TLS is
//! configured there is nothing else: a peer that speaks plain TCP is refused.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::handshake::{Failure, Greeted, Local};
use super::link::IntoStream;
use super::name::NodeName;
use super::registry::Registry;
use super::throttle::Throttle;
use super::tls::Tls;
use crate::metrics::HandshakeFailed;

/// After a failed accept, most often for want of open files: long enough for some to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Acceptor {
    pub(crate) registry: Arc<Registry>,
    pub(crate) local: Local,
    pub(crate) tls: Option<Tls>,
    /// Empty: whoever knows the cookie.
    pub(crate) allow: Vec<NodeName>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) handshakes_max: usize,
    pub(crate) failures: Throttle,
}

impl Acceptor {
    /// Accepts until the task is dropped; unfinished handshakes end with it.
    pub(crate) async fn run(self, listener: TcpListener) {
        let this = Arc::new(self);
        let permits = Arc::new(Semaphore::new(this.handshakes_max));
        let mut handshakes = JoinSet::new();
        loop {
            // Finished tasks are taken out as new ones come, so the set stays below the limit.
            while handshakes.try_join_next().is_some() {}
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!("accepting Erlang nodes pauses: {error}");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                this.count(
                    HandshakeFailed::Limit,
                    address,
                    "too many handshakes at once",
                );
                continue;
            };
            let this = Arc::clone(&this);
            handshakes.spawn(async move {
                this.one(stream, address).await;
                drop(permit);
            });
        }
    }

    async fn one(&self, stream: TcpStream, address: SocketAddr) {
        let limit = self.handshake_timeout;
        let failure = match timeout(limit, self.handshake(stream)).await {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Timeout(limit),
        };
        match failure.metric() {
            Some(metric) => self.count(metric, address, &failure.to_string()),
            None => debug!(%address, "{failure}"),
        }
    }

    async fn handshake(&self, tcp: TcpStream) -> Result<(), Failure> {
        tcp.set_nodelay(true)?;
        match &self.tls {
            Some(tls) => {
                self.meet(tls.accept(tcp).await.map_err(Failure::Tls)?)
                    .await
            }
            None => self.meet(tcp).await,
        }
    }

    async fn meet<S>(&self, stream: S) -> Result<(), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + IntoStream,
    {
        let greeted = Greeted::read(stream, &self.local).await?;
        let peer = greeted.remote().name.clone();
        if !self.allow.is_empty() && !self.allow.contains(&peer) {
            return Err(greeted.refuse().await);
        }
        let verdict = self.registry.verdict(&peer);
        let verified = greeted.answer(verdict).await?;
        let attempt = self.registry.accepted(&verified.remote().name);
        let (stream, remote) = verified.acknowledge().await?;
        attempt.start_link(stream.into_stream()?, remote);
        Ok(())
    }

    fn count(&self, reason: HandshakeFailed, address: SocketAddr, message: &str) {
        self.registry
            .metrics()
            .handshakes_failed
            .of(reason)
            .increment();
        if let Some(suppressed) = self.failures.pass() {
            warn!(%address, suppressed, "refused an Erlang node: {message}");
        }
    }
}
