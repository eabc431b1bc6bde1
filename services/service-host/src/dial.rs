//! Connections to other instances, all made in one place with the same settings.

use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use credentials::Secret;
use http::{HeaderValue, Request, Response, Uri};
use tonic::body::Body;
use tonic::transport::channel::ResponseFuture;
use tonic::transport::{Channel, Endpoint, Error};
use tower::Service;

use crate::headers;
use crate::tls::ClientTls;

/// A peer that does not answer a ping within the timeout is given up; a call that waits for it learns so.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Instances are near one another: who does not take a connection in this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// HTTP/2 windows of a connection for calls: few of their answers are larger, and those are taken at once.
const OF_CALLS: Windows = Windows { stream: 1 << 20, connection: 16 << 20 };
/// Of one for streams. Their readers are as slow as they like to be: however many take nothing, the window of the connection
/// stays open for the others, and what has come for each is little.
const OF_STREAMS: Windows = Windows { stream: 64 << 10, connection: (1 << 31) - 1 };
/// Headers or trailers of one answer. A refusal has all its details in them, in base64, and one that is over the limit cannot
/// be told from a connection that broke: an instance that has answered would be taken for one that is not there.
const HEADER_BYTES_MAX: u32 = 64 * 1024;

/// Bytes that may come ahead of what is read, on one stream and on all of a connection.
struct Windows {
    stream: u32,
    connection: u32,
}

/// What is given as the address of an instance is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address:?} is no address like host:port")]
pub struct AddressError {
    /// What was given.
    pub address: String,
}

/// A text that cannot stand in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret must be ASCII text without control characters")]
pub struct SecretError;

/// Whether what is sent there stays on this machine. Only then may a secret go in plain text.
#[must_use]
pub fn is_this_machine(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Makes connections to other instances. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Dialer {
    tls: Option<ClientTls>,
    secret: Option<HeaderValue>,
}

impl Dialer {
    /// Connections without encryption.
    #[must_use]
    pub fn plain() -> Self {
        Self::default()
    }

    /// Connections over TLS, or in plain text without one.
    #[must_use]
    pub fn over(tls: Option<ClientTls>) -> Self {
        Self { tls, secret: None }
    }

    /// The same with a secret that all instances share, which every call shows. An empty one is none.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn showing(self, secret: &Secret) -> Result<Self, SecretError> {
        if secret.is_empty() {
            return Ok(self);
        }
        let mut value = HeaderValue::from_str(secret.expose()).map_err(|_| SecretError)?;
        value.set_sensitive(true);
        Ok(Self { secret: Some(value), ..self })
    }

    /// One connection to an instance, for calls: made when it is needed, and made again when it breaks. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn channel(&self, address: &str) -> Result<PeerChannel, AddressError> {
        self.connection(address, &OF_CALLS)
    }

    /// The same for streams, whose readers may be slow. On a connection of calls they would keep the answers of others back.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn channel_for_streams(&self, address: &str) -> Result<PeerChannel, AddressError> {
        self.connection(address, &OF_STREAMS)
    }

    fn connection(&self, address: &str, windows: &Windows) -> Result<PeerChannel, AddressError> {
        let refuse = || AddressError { address: address.to_owned() };
        let authority: http::uri::Authority = address.parse().map_err(|_| refuse())?;
        if authority.port().is_none() || authority.host().is_empty() {
            return Err(refuse());
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{authority}")).map_err(|_| refuse())?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(windows.stream)
            .initial_connection_window_size(windows.connection)
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .tcp_nodelay(true);
        let channel = match &self.tls {
            None => endpoint.connect_lazy(),
            Some(tls) => tls.channel(&endpoint),
        };
        Ok(PeerChannel { channel, secret: self.secret.clone() })
    }
}

/// A connection to another instance. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PeerChannel {
    channel: Channel,
    secret: Option<HeaderValue>,
}

impl Service<Request<Body>> for PeerChannel {
    type Response = Response<Body>;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> ResponseFuture {
        if let Some(secret) = &self.secret {
            request.headers_mut().insert(headers::PEER_SECRET, secret.clone());
        }
        self.channel.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_address_is_refused() {
        assert!(Dialer::plain().channel("localhost:50052").is_ok());
        for address in ["", "localhost", ":1", "http://localhost:1", "a b:1"] {
            assert_eq!(Dialer::plain().channel(address).unwrap_err().address, address);
        }
    }

    #[test]
    fn a_secret_that_cannot_be_sent_is_refused_and_none_is_shown() {
        assert_eq!(Dialer::plain().showing(&Secret::new("a\nb")).unwrap_err(), SecretError);
        let shown = format!("{:?}", Dialer::plain().showing(&Secret::new("open sesame")).unwrap());
        assert!(shown.contains("Sensitive") && !shown.contains("sesame"), "{shown}");
    }
}
