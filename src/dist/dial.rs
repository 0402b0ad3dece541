//! Dialling the nodes of `--connect`, again and again until they are there.
//!
//! One task for each. Erlang dials us by itself on its first `!`; this is for those who want the
//! link before, or have no EPMD to find us by. A lost link is dialled at once, a failed attempt after
//! a pause that doubles, with jitter, so that many edges do not dial one restarted node in step.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::epmd;
use super::handshake::{self, Failure, Local};
use super::link::IntoStream;
use super::name::Peer;
use super::registry::{Attempt, Registry};
use super::tls::Tls;

/// The first pause after a failure: a node that restarts is back in about a second.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// The longest pause: what an operator who just started the peer is willing to wait.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What every dialling task needs.
pub(crate) struct Dialler {
    pub(crate) registry: Arc<Registry>,
    pub(crate) local: Local,
    pub(crate) tls: Option<Tls>,
    pub(crate) epmd_port: Option<u16>,
    pub(crate) handshake_timeout: Duration,
}

/// Why an attempt did not become a link.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error(transparent)]
    Epmd(#[from] epmd::Failure),
    #[error("EPMD on its host does not know it: it is not running, or has another name there")]
    Unknown,
    #[error("it cannot be reached at port {port}: {source}")]
    Unreachable { port: u16, source: std::io::Error },
    #[error(transparent)]
    Handshake(#[from] Failure),
}

impl Dialler {
    /// Keeps a link to `peer`, until the task is dropped.
    pub(crate) async fn keep(self: Arc<Self>, peer: Peer) {
        let mut changes = self.registry.changes();
        let mut pause = PAUSE_MIN;
        let mut last = String::new();
        loop {
            changes.borrow_and_update();
            if self.registry.is_up(&peer.name) {
                pause = PAUSE_MIN;
                last.clear();
                if changes.changed().await.is_err() {
                    return;
                }
                continue;
            }
            match self.attempt(&peer).await {
                Ok(true) => continue,
                // Somebody else's attempt counts, or the node is stopping: look again later.
                Ok(false) => {}
                Err(error) => {
                    self.report(&peer, &error, &mut last);
                }
            }
            // A link that the peer makes meanwhile ends the pause.
            let arrival = async {
                while !self.registry.is_up(&peer.name) && changes.changed().await.is_ok() {}
            };
            let _ = timeout(jittered(pause), arrival).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn attempt(&self, peer: &Peer) -> Result<bool, DialError> {
        let Some(attempt) = self.registry.dial(&peer.name) else {
            return Ok(false);
        };
        let port = match (peer.port, self.epmd_port) {
            (Some(port), _) => port,
            (None, Some(epmd_port)) => epmd::lookup(&peer.name, epmd_port)
                .await?
                .ok_or(DialError::Unknown)?,
            (None, None) => return Err(DialError::Unknown),
        };
        let limit = self.handshake_timeout;
        timeout(limit, self.meet(peer, port, attempt))
            .await
            .unwrap_or(Err(Failure::Timeout(limit).into()))
    }

    async fn meet(&self, peer: &Peer, port: u16, attempt: Attempt) -> Result<bool, DialError> {
        let unreachable = |source| DialError::Unreachable { port, source };
        let stream = TcpStream::connect((peer.name.host(), port))
            .await
            .map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        match &self.tls {
            Some(tls) => {
                let stream = tls.connect(stream, &peer.name).await;
                self.greet(peer, stream.map_err(Failure::Tls)?, attempt)
                    .await
            }
            None => self.greet(peer, stream, attempt).await,
        }
    }

    async fn greet<S>(&self, peer: &Peer, stream: S, attempt: Attempt) -> Result<bool, DialError>
    where
        S: AsyncRead + AsyncWrite + Unpin + IntoStream,
    {
        let is_wanted = || attempt.is_dialling();
        let (stream, remote) = handshake::dial(stream, &self.local, &peer.name, is_wanted).await?;
        if !attempt.dialled() {
            return Ok(false);
        }
        let stream = stream.into_stream().map_err(Failure::Io)?;
        Ok(attempt.start_link(stream, remote))
    }

    /// A line in the log when the reason is new: attempts go on for as long as the peer is away.
    fn report(&self, peer: &Peer, error: &DialError, last: &mut String) {
        if let DialError::Handshake(failure) = error {
            let Some(metric) = failure.metric() else {
                debug!(peer = %peer.name, "{failure}");
                return;
            };
            self.registry
                .metrics()
                .handshakes_failed
                .of(metric)
                .increment();
        }
        let message = error.to_string();
        if message != *last {
            warn!(peer = %peer.name, "no link, trying again: {message}");
            *last = message;
        }
    }
}

/// Between half of the pause and all of it.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}
