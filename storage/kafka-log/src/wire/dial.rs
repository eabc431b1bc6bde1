//! How a connection comes about: connect, encrypt, agree on versions, log in, all within one time limit.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;

use super::connection::Stream;
use super::{Connection, Error, sasl, tls};
use crate::config::{Config, Sasl};
use crate::error::ConnectError;

/// Makes connections to the brokers of one configuration. Clones share its files, which are read once.
#[derive(Clone)]
pub struct Dial {
    client_id: Arc<str>,
    tls: Option<Arc<rustls::ClientConfig>>,
    sasl: Option<Sasl>,
    connect_timeout: Duration,
}

impl std::fmt::Debug for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dial").field("client_id", &self.client_id).field("sasl", &self.sasl).finish_non_exhaustive()
    }
}

impl Dial {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// [`ConnectError::Config`] and [`ConnectError::Tls`].
    pub fn new(config: &Config) -> Result<Self, ConnectError> {
        config.check().map_err(ConnectError::Config)?;
        let tls = config.tls.as_ref().map(tls::client).transpose()?.map(Arc::new);
        let client_id = Arc::from(config.client_id.as_str());
        Ok(Self { client_id, tls, sasl: config.sasl.clone(), connect_timeout: config.connect_timeout })
    }

    /// Connects to a broker, `host:port`, within the configured time.
    ///
    /// # Errors
    /// It cannot be reached in time, or refuses.
    pub async fn connect(&self, broker: &str) -> Result<Connection, Error> {
        let within = timeout(self.connect_timeout, self.open(broker)).await;
        within.unwrap_or_else(|_| Err(Error::Timeout { broker: broker.to_owned(), after: self.connect_timeout }))
    }

    pub(crate) fn tls(&self) -> Option<&Arc<rustls::ClientConfig>> {
        self.tls.as_ref()
    }

    async fn open(&self, broker: &str) -> Result<Connection, Error> {
        let stream = self.stream(broker).await.map_err(|source| Error::Io { broker: broker.to_owned(), source })?;
        let mut connection = Connection::over(stream, broker, &self.client_id).await?;
        if let Some(sasl) = &self.sasl {
            sasl::log_in(&mut connection, sasl).await?;
        }
        Ok(connection)
    }

    async fn stream(&self, broker: &str) -> std::io::Result<Stream> {
        let stream = TcpStream::connect(broker).await?;
        // A request is one write; waiting for the acknowledgement of the one before would only delay it.
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Either::Left(stream)) };
        let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
        Ok(Either::Right(TlsConnector::from(tls.clone()).connect(name, stream).await?))
    }
}
