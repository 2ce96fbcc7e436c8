//! TLS at the calling end, over rustls: who a server must be, and who we are to it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    self, CryptoProvider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    WantsVerifier,
};

/// How servers are reached over TLS.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    /// The name that certificates are for; unset, the server's address.
    name: Option<ServerName<'static>>,
}

/// Who we are to servers that ask: a certificate with its chain, and its key, both PEM.
#[derive(Clone, Copy)]
pub struct Identity<'a> {
    /// Our certificate first, then those that signed it.
    pub chain: &'a [u8],
    /// The key of our certificate.
    pub key: &'a [u8],
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[error("TLS: {0}")]
pub struct TlsError(String);

fn failed(why: impl fmt::Display) -> TlsError {
    TlsError(why.to_string())
}

impl Tls {
    /// Servers whose certificates one of these authorities signed (PEM).
    ///
    /// # Errors
    /// If the text has no certificate, or one that is none; or if the identity is none.
    pub fn trusting(authorities: &[u8], identity: Option<Identity<'_>>) -> Result<Tls, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in certificates(authorities)? {
            roots.add(authority).map_err(failed)?;
        }
        let config = builder()?.with_root_certificates(roots);
        Tls::new(config, identity)
    }

    /// Any server, whoever it says it is: nobody can listen, but anybody can answer. Apache's clients do
    /// so unless they are told otherwise (`tls.test.mode.enable`).
    ///
    /// # Errors
    /// If the identity is none.
    pub fn trusting_anybody(identity: Option<Identity<'_>>) -> Result<Tls, TlsError> {
        let anybody = Anybody(Arc::new(crypto::ring::default_provider()));
        let config = builder()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(anybody));
        Tls::new(config, identity)
    }

    fn new(
        config: ConfigBuilder<ClientConfig, WantsClientCert>,
        identity: Option<Identity<'_>>,
    ) -> Result<Tls, TlsError> {
        let config = match identity {
            None => config.with_no_client_auth(),
            Some(Identity { chain, key }) => {
                let key = PrivateKeyDer::from_pem_slice(key).map_err(failed)?;
                let chain = certificates(chain)?;
                config.with_client_auth_cert(chain, key).map_err(failed)?
            }
        };
        Ok(Tls {
            connector: TlsConnector::from(Arc::new(config)),
            name: None,
        })
    }

    /// Certificates are for this name: routes name brokers by their addresses, certificates seldom do.
    ///
    /// # Errors
    /// If it is no name.
    pub fn named(mut self, name: &str) -> Result<Tls, TlsError> {
        let name = ServerName::try_from(name.to_owned()).map_err(failed)?;
        self.name = Some(name);
        Ok(self)
    }

    /// Shakes hands on a new connection.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => ServerName::IpAddress(address.ip().into()),
        };
        self.connector.connect(name, stream).await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TLS")
    }
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsError> {
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    config.with_safe_default_protocol_versions().map_err(failed)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(failed)?;
    match found.is_empty() {
        true => Err(failed("there is no certificate")),
        false => Ok(found),
    }
}

/// Takes every certificate, but not every signature: who answers has the key of what it shows.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
