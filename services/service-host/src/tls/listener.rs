//! The TLS of a listener.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use credentials::{FileError, provider};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{ALPN, TlsError};
use crate::live::{Live, Renew};

/// How a listener encrypts, and whom it lets in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ListenerTls {
    live: Arc<Live<ServerConfig>>,
    /// The name that the certificate of a client must bear to count as certified.
    name: Option<ServerName<'static>>,
}

/// In the extensions of a request: it came over a connection whose client has a certificate of the listener's authority, and
/// bears the name that the listener asks for, if it asks for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certified;

impl ListenerTls {
    /// Anybody may connect, and sees the certificate of this process.
    ///
    /// # Errors
    /// The file that cannot be used.
    pub fn open(cert_file: &Path, key_file: &Path) -> Result<Self, FileError> {
        Self::read(cert_file, key_file, None)
    }

    /// Who connects needs a certificate of this authority.
    ///
    /// # Errors
    /// The file that cannot be used.
    pub fn for_certified(cert_file: &Path, key_file: &Path, ca_file: &Path) -> Result<Self, FileError> {
        Self::read(cert_file, key_file, Some(ca_file))
    }

    /// The same, but only those whose certificate bears this name are [`Certified`].
    ///
    /// # Errors
    /// [`TlsError::Name`].
    pub fn named(self, name: &str) -> Result<Self, TlsError> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))?;
        Ok(Self { name: Some(name), ..self })
    }

    fn read(cert_file: &Path, key_file: &Path, ca_file: Option<&Path>) -> Result<Self, FileError> {
        let (cert_file, key_file, ca_file) = (cert_file.to_owned(), key_file.to_owned(), ca_file.map(Path::to_owned));
        let files: Vec<PathBuf> = [&cert_file, &key_file].into_iter().chain(&ca_file).cloned().collect();
        let live = Live::open(files, move || config(&cert_file, &key_file, ca_file.as_deref()))?;
        Ok(Self { live: Arc::new(live), name: None })
    }

    /// What reads the files again.
    #[must_use]
    pub fn renewal(&self) -> Arc<dyn Renew> {
        self.live.clone()
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.live.current()).accept(stream).await
    }

    /// What the client has proved in the handshake.
    pub(crate) fn certified(&self, stream: &TlsStream<TcpStream>) -> Option<Certified> {
        let certificate = stream.get_ref().1.peer_certificates()?.first()?;
        match &self.name {
            None => Some(Certified),
            Some(name) => bears(certificate, name).then_some(Certified),
        }
    }
}

fn bears(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    ParsedCertificate::try_from(certificate).is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
}

fn config(cert_file: &Path, key_file: &Path, ca_file: Option<&Path>) -> Result<ServerConfig, FileError> {
    let us = credentials::identity(cert_file, key_file)?;
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.expect("the provider knows the default versions");
    let builder = match ca_file {
        None => builder.with_no_client_auth(),
        Some(ca_file) => {
            let roots: Arc<RootCertStore> = Arc::new(credentials::roots(ca_file)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| FileError::new(ca_file, error))?)
        }
    };
    let does_not_fit =
        |error| FileError::new(key_file, format_args!("it does not fit {}: {error}", cert_file.display()));
    let mut config = builder.with_single_cert(us.chain, us.key).map_err(does_not_fit)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}
