//! TLS of connections, on both sides: who we are, whom we trust, and what a peer has proved.
//!
//! Always: only HTTP/2 is spoken, with TLS 1.2 or 1.3, and nothing falls back to plain text. A listener with an authority for
//! clients lets nobody in without a certificate of it.

mod client;
mod listener;
mod stream;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use client::ClientTls;
pub use listener::{Certified, ListenerTls};
pub(crate) use stream::Prefaced;

use credentials::FileError;

/// The name of the protocol in TLS: gRPC is HTTP/2 only.
const ALPN: &[u8] = b"h2";

/// How rustls begins to tell what the other side refused.
const ALERT: &str = "received fatal alert";

/// Certificate and key of this process. Both or none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenTlsConfig {
    /// PEM file of the certificate chain of this process.
    pub cert_file: Option<PathBuf>,
    /// PEM file of its private key.
    pub key_file: Option<PathBuf>,
    /// PEM file of the authorities of clients: with it, a client needs a certificate to get in.
    pub client_ca_file: Option<PathBuf>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A name that nobody can be certified for.
    #[error("{0:?} is no name of a server")]
    Name(String),
}

/// Whether TLS is why a connection did not come about or broke: no trust, no name, no certificate. Trying again is no use then.
#[must_use]
pub fn is_at_fault(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        // Once the handshake is over for us, what the other side thinks of our certificate comes as text only.
        if error.is::<rustls::Error>()
            || error.to_string().contains(ALERT)
            || inner.is_some_and(|inner| is_at_fault(inner))
        {
            return true;
        }
        cause = error.source();
    }
    false
}
