//! What a process proves itself with, and checks others against: secrets from the configuration, certificates and keys from
//! PEM files, and the one provider of cryptography that the whole tree uses.
//!
//! Always: a secret is never shown, and a file that cannot be used is named together with its fault.

mod pem;
mod secret;
#[cfg(feature = "testing")]
pub mod testing;

pub use pem::{FileError, Identity, identity, roots};
pub use secret::Secret;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The provider of cryptography. It is named wherever TLS is set up, since a process that has a second one in its tree would
/// otherwise have no default.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
