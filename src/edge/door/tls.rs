//! What a TLS listener shows its clients: a certificate that can be exchanged while it runs, and the
//! rules of the handshake.
//!
//! No client certificates: whose id it is, is the route's affair. TLS 1.2 and 1.3. Clients that come
//! back resume by tickets that only they keep, so a storm of them costs no full handshakes and no
//! memory here. What happens on a connection is `session`'s affair.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// What a session is made of.
pub(in crate::edge) type TlsRules = Arc<ServerConfig>;

/// A certificate and its key, in files. Cloning shares what is loaded.
#[derive(Clone)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
}

/// Why a certificate is not shown.
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
    #[error("certificate and key do not make TLS: {0}; the key must be that of the certificate")]
    Unusable(String),
}

impl Tls {
    /// Reads the PEM files: the certificate with those between it and its authority, and its key.
    ///
    /// # Errors
    /// When a file cannot be read or lacks what it is for, or the two do not match.
    pub fn load(certificate: &Path, key: &Path) -> Result<Tls, TlsError> {
        let shown = Arc::new(Shown(RwLock::new(read(certificate, key)?)));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = ring::Ticketer::new().map_err(unusable)?;
        // A client has one stream to come back to.
        config.send_tls13_tickets = 1;
        Ok(Tls {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            shown,
            config: Arc::new(config),
        })
    }

    /// Reads the files again, without showing what is in them yet.
    pub(in crate::edge) fn read_again(&self) -> Result<Reloaded, TlsError> {
        let fresh = read(&self.certificate, &self.key)?;
        let shown = Arc::clone(&self.shown);
        Ok(Reloaded { shown, fresh })
    }

    pub(in crate::edge) fn config(&self) -> TlsRules {
        Arc::clone(&self.config)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({})", self.certificate.display())
    }
}

/// A certificate that has been read and is as good as shown.
pub(in crate::edge) struct Reloaded {
    shown: Arc<Shown>,
    fresh: Arc<CertifiedKey>,
}

impl Reloaded {
    /// From now on handshakes show it; who is connected does not notice.
    pub(in crate::edge) fn show(self) {
        // Nothing that can panic runs under the lock.
        *self.shown.0.write().expect("the lock is never poisoned") = self.fresh;
    }
}

#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.read().expect("the lock is never poisoned");
        Some(Arc::clone(&shown))
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let wrong = |path: &Path, needed, what| TlsError::File {
        path: path.to_owned(),
        needed,
        what,
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(certificate, "the certificate", error.to_string()))?;
    if chain.is_empty() {
        let what = "there is no certificate in it".to_owned();
        return Err(wrong(certificate, "the certificate", what));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| wrong(key, "the certificate's private key", error.to_string()))?;
    let private = ring::sign::any_supported_type(&private).map_err(unusable)?;
    let pair = CertifiedKey::new(chain, private);
    pair.keys_match().map_err(unusable)?;
    Ok(Arc::new(pair))
}

fn unusable(error: impl fmt::Display) -> TlsError {
    TlsError::Unusable(error.to_string())
}
