//! The TLS of connections that we make.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use credentials::{FileError, provider};
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use super::{ALPN, TlsError};
use crate::live::{Live, Renew};

/// Whom we trust, and who we say we are. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ClientTls {
    live: Arc<Live<ClientConfig>>,
    /// The name that the certificate of every server must bear; the host of its address when absent.
    name: Option<ServerName<'static>>,
}

impl ClientTls {
    /// Servers need a certificate of this authority; of one that browsers trust when absent. `us` is certificate and key, for
    /// servers that ask who we are.
    ///
    /// # Errors
    /// The file that cannot be used.
    pub fn open(ca_file: Option<&Path>, us: Option<(&Path, &Path)>) -> Result<Self, FileError> {
        let (ca_file, us) = (ca_file.map(Path::to_owned), us.map(|(cert, key)| (cert.to_owned(), key.to_owned())));
        let mut files: Vec<PathBuf> = ca_file.iter().cloned().collect();
        if let Some((cert, key)) = &us {
            files.extend([cert.clone(), key.clone()]);
        }
        let live = Live::open(files, move || config(ca_file.as_deref(), us.as_ref()))?;
        Ok(Self { live: Arc::new(live), name: None })
    }

    /// The same for servers whose certificates all bear this name, whatever their address is.
    ///
    /// # Errors
    /// [`TlsError::Name`].
    pub fn named(self, name: &str) -> Result<Self, TlsError> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))?;
        Ok(Self { name: Some(name), ..self })
    }

    /// What reads the files again. Connections that are open stay as they are.
    #[must_use]
    pub fn renewal(&self) -> Arc<dyn Renew> {
        self.live.clone()
    }

    /// A connection to an endpoint whose URL says `https`: made when it is needed, and made again when it breaks. Must be
    /// called within a tokio runtime.
    #[must_use]
    pub fn channel(&self, endpoint: &Endpoint) -> Channel {
        endpoint.connect_with_connector_lazy(self.connector())
    }

    /// A connection that is made now.
    ///
    /// # Errors
    /// Nobody is there, or it is not who it should be.
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<Channel, tonic::transport::Error> {
        endpoint.connect_with_connector(self.connector()).await
    }

    fn connector(
        &self,
    ) -> impl tower::Service<Uri, Response = TokioIo<TlsStream<TcpStream>>, Error = io::Error, Future: Send> + Send + use<>
    {
        let tls = self.clone();
        tower::service_fn(move |uri: Uri| {
            let tls = tls.clone();
            async move { tls.dial(&uri).await.map(TokioIo::new) }
        })
    }

    async fn dial(&self, uri: &Uri) -> io::Result<TlsStream<TcpStream>> {
        let no_address = || io::Error::new(io::ErrorKind::InvalidInput, "the address has no host");
        let host = uri.host().ok_or_else(no_address)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = match &self.name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
        };
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(HTTPS))).await?;
        // A request is one write; waiting for the acknowledgement of the one before would only delay it.
        stream.set_nodelay(true)?;
        TlsConnector::from(self.live.current()).connect(name, stream).await
    }
}

/// The port of URLs that name none.
const HTTPS: u16 = 443;

fn config(ca_file: Option<&Path>, us: Option<&(PathBuf, PathBuf)>) -> Result<ClientConfig, FileError> {
    let roots = match ca_file {
        Some(ca_file) => credentials::roots(ca_file)?,
        None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
    };
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.expect("the provider knows the default versions").with_root_certificates(roots);
    let mut config = match us {
        None => builder.with_no_client_auth(),
        Some((cert_file, key_file)) => {
            let us = credentials::identity(cert_file, key_file)?;
            let does_not_fit =
                |error| FileError::new(key_file, format_args!("it does not fit {}: {error}", cert_file.display()));
            builder.with_client_auth_cert(us.chain, us.key).map_err(does_not_fit)?
        }
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}
