//! TLS for distribution: our certificate, whom we trust, and the TLS handshake in both roles.
//!
//! Both sides prove themselves: an Erlang node that dials must show a certificate of our authority,
//! one that we dial also a certificate for its host. What is said inside is `handshake`'s affair.
//! TLS 1.2 and 1.3, because OTP 25 and 27 offer only the former for distribution. No resumption:
//! links are few and live long. Spec: OTP "Using TLS for Erlang Distribution".

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::name::NodeName;

/// What is needed to speak TLS with Erlang nodes. Cloning shares it.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that is not there, or not PEM.
    #[error("{}: {what}; give a PEM file that has {needed}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What should be in it.
        needed: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The files are there but do not go together.
    #[error(
        "certificate, key and ca do not make TLS: {0}; the key must be that of the certificate"
    )]
    Unusable(String),
}

impl Tls {
    /// Reads the PEM files: our certificate and those between it and the authority, its key, and the
    /// certificates of the authorities that peers must have theirs from.
    ///
    /// # Errors
    /// When a file cannot be read or lacks what it is for, or key and certificate do not match.
    pub fn load(certificate: &Path, key: &Path, ca: &Path) -> Result<Tls, TlsError> {
        let chain = certificates(certificate, "the node's certificate")?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::File {
            path: key.to_owned(),
            needed: "the certificate's private key",
            what: error.to_string(),
        })?;
        let mut roots = RootCertStore::empty();
        for root in certificates(ca, "the certificates of authorities")? {
            roots.add(root).map_err(unusable)?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_client_cert_verifier(verifier.build().map_err(unusable)?)
            .with_single_cert(chain.clone(), private.clone_key())
            .map_err(unusable)?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, private)
            .map_err(unusable)?;
        client.resumption = Resumption::disabled();
        Ok(Tls {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
        })
    }

    /// In the role of the side that was dialled: the peer has shown a certificate of our authority.
    pub(crate) async fn accept(&self, tcp: TcpStream) -> io::Result<server::TlsStream<TcpStream>> {
        self.acceptor.accept(tcp).await
    }

    /// In the role of the dialling side: the peer has shown a certificate for its host, too.
    pub(crate) async fn connect(
        &self,
        tcp: TcpStream,
        peer: &NodeName,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let host = ServerName::try_from(peer.host().to_owned()).map_err(io::Error::other)?;
        self.connector.connect(host, tcp).await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}

fn unusable(error: impl fmt::Display) -> TlsError {
    TlsError::Unusable(error.to_string())
}

fn certificates(
    path: &Path,
    needed: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |what: String| TlsError::File {
        path: path.to_owned(),
        needed,
        what,
    };
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() {
        return Err(wrong("there is no certificate in it".to_owned()));
    }
    Ok(found)
}
