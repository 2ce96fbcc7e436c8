//! Whom receivers must be known to: the authorities of this machine, or those of a file.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::Failed;

/// Who vouches for receivers. Read when the first is called.
pub(super) struct Authorities {
    file: Option<PathBuf>,
    connector: Mutex<Option<TlsConnector>>,
}

impl Authorities {
    pub fn new(file: Option<PathBuf>) -> Authorities {
        Authorities {
            file,
            connector: Mutex::default(),
        }
    }

    /// Shakes hands with a receiver that must be who it is meant to be.
    pub async fn secure(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Failed> {
        let unreachable = |why: String| Failed::Unreachable(format!("TLS: {why}"));
        let connector = self.connector().await.map_err(unreachable)?;
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| unreachable(error.to_string()))?;
        let shaken = connector.connect(name, stream).await;
        shaken.map_err(|error| unreachable(error.to_string()))
    }

    async fn connector(&self) -> Result<TlsConnector, String> {
        let mut known = self.connector.lock().await;
        if let Some(known) = &*known {
            return Ok(known.clone());
        }
        let file = self.file.clone();
        // A system's list is long.
        let made = tokio::task::spawn_blocking(move || connector(file)).await;
        let made = made.map_err(|error| error.to_string())??;
        Ok(known.insert(made).clone())
    }
}

fn connector(file: Option<PathBuf>) -> Result<TlsConnector, String> {
    let pem = match &file {
        Some(file) => std::fs::read(file),
        None => posthouse_client::system_authorities(),
    };
    let pem = pem.map_err(|error| match &file {
        Some(file) => format!("{}: {error}", file.display()),
        None => error.to_string(),
    })?;
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_slice_iter(&pem).flatten();
    // A system's list may have some that are too old to be read.
    let (taken, _) = roots.add_parsable_certificates(found);
    if taken == 0 {
        return Err("whom receivers must be known to has no certificates".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
