//! Connections to other instances, all made in one place with the same settings.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

/// A peer that does not answer a ping within the timeout is given up; a call that waits for it learns so.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Instances are near one another: who does not take a connection in this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// HTTP/2 windows. The connection's is far larger than a stream's, so that a few slow readers do not stall the others.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// What is given as the address of an instance is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address:?} is no address like host:port")]
pub struct AddressError {
    /// What was given.
    pub address: String,
}

/// Makes connections to other instances. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dialer(());

impl Dialer {
    /// Connections without encryption.
    #[must_use]
    pub fn plain() -> Self {
        Self(())
    }

    /// One connection to an instance: made when it is needed, and made again when it breaks. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn channel(&self, address: &str) -> Result<Channel, AddressError> {
        let refuse = || AddressError { address: address.to_owned() };
        let authority: http::uri::Authority = address.parse().map_err(|_| refuse())?;
        if authority.port().is_none() || authority.host().is_empty() {
            return Err(refuse());
        }
        let endpoint = Endpoint::from_shared(format!("http://{authority}")).map_err(|_| refuse())?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .tcp_nodelay(true);
        Ok(endpoint.connect_lazy())
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
}
