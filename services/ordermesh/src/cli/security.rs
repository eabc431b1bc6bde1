//! Flags that protect a process, and what they set.

use std::path::PathBuf;

use clap::Args;
use service_host::config::Overrides;

/// TLS and tokens for clients.
#[derive(Debug, Default, Args)]
pub(crate) struct SecurityFlags {
    /// Encrypts with this certificate chain (PEM); read again when it changes
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert (PEM)
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Lets in only clients with a certificate of these authorities (PEM)
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Lets in only calls with a bearer token of this file: NAME TOKEN [ROLE] in each line
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
}

/// TLS between instances.
#[derive(Debug, Default, Args)]
pub(crate) struct PeerFlags {
    /// Encrypts between instances; each must have a certificate of these authorities (PEM)
    #[arg(long, value_name = "FILE")]
    peer_ca: Option<PathBuf>,
    /// Name that the certificate of every instance must bear [default: the host of its address]
    #[arg(long, value_name = "NAME")]
    peer_name: Option<String>,
}

impl SecurityFlags {
    pub(super) fn apply(&self, overrides: Overrides) -> Overrides {
        overrides
            .set("listen.tls.cert_file", self.tls_cert.as_ref())
            .set("listen.tls.key_file", self.tls_key.as_ref())
            .set("listen.tls.client_ca_file", self.tls_client_ca.as_ref())
            .set("gateway.tokens_file", self.tokens.as_ref())
    }
}

impl PeerFlags {
    pub(super) fn apply(&self, overrides: Overrides) -> Overrides {
        overrides.set("peers.tls.ca_file", self.peer_ca.as_ref()).set("peers.tls.server_name", self.peer_name.as_ref())
    }
}
