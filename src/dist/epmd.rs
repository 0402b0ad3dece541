//! EPMD, through `erl_dist`: being found by name, and finding others.
//!
//! The registration lives as long as its connection. When EPMD goes away the node goes on, and
//! registers again when it is back, as OTP does; the creation that the first registration gave
//! stays. EPMD takes registrations from its own machine only. Spec: OTP "Distribution Protocol",
//! section "EPMD Protocol".

use std::io;
use std::sync::Arc;
use std::time::Duration;

use erl_dist::epmd::{EpmdClient, EpmdError, NodeEntry};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use tracing::{info, warn};

use super::name::NodeName;
use crate::metrics::Metrics;

/// How long one question to EPMD may take. It answers from memory; OTP waits 5 s as well.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Between attempts to register again: OTP's own pause.
const REGISTER_PAUSE: Duration = Duration::from_secs(2);

/// Why EPMD did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody listens there, or it hung up.
    #[error("EPMD cannot be reached at {host}:{port}: {source}")]
    Unreachable {
        /// Where EPMD should be.
        host: String,
        /// On which port.
        port: u16,
        /// What the socket said.
        source: io::Error,
    },
    /// The name is registered already.
    #[error("EPMD has a node called {0:?} already: stop it, or choose another --name")]
    NameTaken(String),
    /// It answers something else than EPMD would.
    #[error("what listens at {host}:{port} does not answer as EPMD does: {reason}")]
    NotEpmd {
        /// Where EPMD should be.
        host: String,
        /// On which port.
        port: u16,
        /// What was wrong.
        reason: String,
    },
}

/// A registration: the connection that keeps it alive, and the creation it came with.
pub(crate) struct Registration {
    connection: TcpStream,
    pub(crate) creation: u32,
}

/// What is registered, and where.
#[derive(Clone, Debug)]
pub(crate) struct Registrar {
    pub(crate) epmd_port: u16,
    pub(crate) name: NodeName,
    pub(crate) listen_port: u16,
}

/// EPMD takes registrations from its own machine only.
const HERE: &str = "127.0.0.1";

impl Registrar {
    /// Registers once.
    pub(crate) async fn register(&self) -> Result<Registration, Failure> {
        let entry = NodeEntry::new_hidden(self.name.short(), self.listen_port);
        let registered = ask(HERE, self.epmd_port, |client| client.register(entry)).await;
        match registered {
            Ok((connection, creation)) => Ok(Registration {
                connection: connection.into_inner(),
                creation: creation.get(),
            }),
            Err(Asked::Refused) => Err(Failure::NameTaken(self.name.short().to_owned())),
            Err(Asked::Failed(failure)) => Err(failure),
        }
    }

    /// Keeps the name registered until the task is dropped.
    pub(crate) async fn keep(self, mut registration: Registration, metrics: Arc<Metrics>) {
        loop {
            metrics.epmd_registrations.increment();
            // EPMD never writes on this connection: whatever ends the read ends the registration.
            let _ = registration.connection.read(&mut [0]).await;
            warn!("EPMD went away: links stay, new peers find this node when it is back");
            registration = self.register_again().await;
            info!(name = %self.name, "registered with EPMD again");
        }
    }

    async fn register_again(&self) -> Registration {
        let mut last = String::new();
        loop {
            sleep(REGISTER_PAUSE).await;
            match self.register().await {
                Ok(registration) => return registration,
                Err(failure) => {
                    // Said once for as long as it stays the same.
                    let message = failure.to_string();
                    if message != last {
                        warn!("not registered with EPMD, trying again: {message}");
                        last = message;
                    }
                }
            }
        }
    }
}

/// The port of the node's listener, `None` when EPMD on its host does not know it.
pub(crate) async fn lookup(peer: &NodeName, epmd_port: u16) -> Result<Option<u16>, Failure> {
    match ask(peer.host(), epmd_port, |client| {
        client.get_node(peer.short())
    })
    .await
    {
        Ok(entry) => Ok(entry.map(|entry| entry.port)),
        Err(Asked::Refused) => Ok(None),
        Err(Asked::Failed(failure)) => Err(failure),
    }
}

/// How a question ended other than with an answer.
enum Asked {
    /// EPMD says no.
    Refused,
    Failed(Failure),
}

async fn ask<T, F>(
    host: &str,
    port: u16,
    question: impl FnOnce(EpmdClient<Compat<TcpStream>>) -> F,
) -> Result<T, Asked>
where
    F: Future<Output = Result<T, EpmdError>>,
{
    let unreachable = |source| {
        Asked::Failed(Failure::Unreachable {
            host: host.to_owned(),
            port,
            source,
        })
    };
    let asked = timeout(ANSWER_TIME_MAX, async {
        let stream = TcpStream::connect((host, port)).await?;
        question(EpmdClient::new(stream.compat())).await
    });
    match asked.await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(EpmdError::Io(source))) => Err(unreachable(source)),
        Ok(Err(EpmdError::RegisterNodeError { .. } | EpmdError::GetNodeEntryError { .. })) => {
            Err(Asked::Refused)
        }
        Ok(Err(other)) => Err(Asked::Failed(Failure::NotEpmd {
            host: host.to_owned(),
            port,
            reason: other.to_string(),
        })),
        Err(_) => Err(unreachable(io::ErrorKind::TimedOut.into())),
    }
}
