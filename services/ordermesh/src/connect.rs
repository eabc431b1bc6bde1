//! How this program reaches a mesh as a client: in plain text or over TLS, and with which token.
//!
//! Always: a token is not sent in plain text beyond this machine unless the user insists.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use http::Uri;
use service_host::config::Secret;
use service_host::tls::{self, ClientTls, TlsError};
use service_host::{FileError, is_this_machine};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Whom we trust, and who we say we are.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TlsFlags {
    /// Authorities of the server's certificate (PEM) [default: those that browsers trust]
    #[arg(long, global = true, help_heading = "Connection", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Our own certificate (PEM), for a mesh that asks for one
    #[arg(long, global = true, help_heading = "Connection", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert (PEM)
    #[arg(long, global = true, help_heading = "Connection", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Name that the server's certificate must bear [default: the host of the address]
    #[arg(long, global = true, help_heading = "Connection", value_name = "NAME")]
    tls_name: Option<String>,
}

/// Which token, and where it may go.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TokenFlags {
    /// Bearer token for a mesh that wants one
    #[arg(
        long,
        global = true,
        help_heading = "Connection",
        value_name = "TOKEN",
        env = "ORDERMESH_TOKEN",
        hide_env_values = true
    )]
    token: Option<Secret>,
    /// File with the bearer token, which then stands in no list of processes; it wins over --token
    #[arg(long, global = true, help_heading = "Connection", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Sends the token in plain text to another machine too
    #[arg(long, global = true, help_heading = "Connection")]
    insecure: bool,
}

/// Shows a token with every call, if there is one.
#[derive(Debug, Clone)]
pub(crate) struct Bearer(pub(crate) Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(authorization) = &self.0 {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        Ok(request)
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The address is none.
    #[error("{addr} is no address of a mesh")]
    Address {
        /// What was given.
        addr: String,
    },
    /// TLS is wanted, and the address says otherwise.
    #[error("{addr} is in plain text: flags of TLS go with https://")]
    Plain {
        /// What was given.
        addr: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be used")]
    Tls(#[from] TlsError),
    /// Nobody answers there.
    #[error("no mesh answers at {addr}; is it running, and is --addr right?")]
    Unreachable {
        /// Where.
        addr: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// Somebody answers there, and one of us does not trust the other.
    #[error("the mesh at {addr} and this program do not trust each other: see --tls-ca, --tls-name and --tls-cert")]
    Distrust {
        /// Where.
        addr: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The token cannot be used.
    #[error("the token cannot be used: {0}")]
    Token(String),
    /// The token would be read by others.
    #[error("the token would go in plain text to {addr}, where others can read it: use https://, or say --insecure")]
    TokenInPlainText {
        /// Where.
        addr: String,
    },
}

/// What is to be said of a call whose connection broke; nothing of one that ended otherwise. What an encrypted mesh does with
/// plain text looks like any connection that breaks.
pub(crate) fn broken(status: &Status) -> Option<&'static str> {
    let mut causes = std::iter::successors(std::error::Error::source(status), |cause| cause.source());
    let broke = causes.clone().next().is_some_and(<dyn std::error::Error>::is::<tonic::transport::Error>);
    // A deadline that passes here before the answer comes is told in the same way.
    let is_late = causes.any(<dyn std::error::Error>::is::<tonic::TimeoutExpired>);
    (broke && !is_late)
        .then_some("the connection broke; a mesh that is encrypted is reached with https:// and --tls-ca")
}

impl TlsFlags {
    fn are_given(&self) -> bool {
        self.tls_ca.is_some() || self.tls_cert.is_some() || self.tls_name.is_some()
    }

    /// The URL of an address: host and port alone are in plain text, or with flags of TLS encrypted.
    ///
    /// # Errors
    /// [`ConnectError::Address`], [`ConnectError::Plain`].
    pub(crate) fn url(&self, addr: &str) -> Result<Uri, ConnectError> {
        let scheme = if self.are_given() { "https" } else { "http" };
        let url = if addr.contains("://") { addr.to_owned() } else { format!("{scheme}://{addr}") };
        let url: Uri = url.parse().map_err(|_| ConnectError::Address { addr: addr.to_owned() })?;
        match url.scheme_str() {
            Some("https") => Ok(url),
            Some("http") if self.are_given() => Err(ConnectError::Plain { addr: addr.to_owned() }),
            Some("http") => Ok(url),
            _ => Err(ConnectError::Address { addr: addr.to_owned() }),
        }
    }

    /// Connects.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub(crate) async fn connect(&self, url: &Uri, timeout: Duration) -> Result<Channel, ConnectError> {
        let endpoint = Endpoint::from(url.clone()).connect_timeout(timeout);
        let connected = if url.scheme_str() == Some("https") {
            let us = self.tls_cert.as_deref().zip(self.tls_key.as_deref());
            let mut trust = ClientTls::open(self.tls_ca.as_deref(), us).map_err(TlsError::from)?;
            if let Some(name) = &self.tls_name {
                trust = trust.named(name)?;
            }
            trust.connect(&endpoint).await
        } else {
            endpoint.connect().await
        };
        let addr = shown(url);
        connected.map_err(|source| match tls::is_at_fault(&source) {
            true => ConnectError::Distrust { addr, source },
            false => ConnectError::Unreachable { addr, source },
        })
    }
}

impl TokenFlags {
    /// What to send to this address in the header `authorization`, if there is a token.
    ///
    /// # Errors
    /// [`ConnectError::Token`], [`ConnectError::TokenInPlainText`].
    pub(crate) fn authorization(&self, url: &Uri) -> Result<Option<MetadataValue<Ascii>>, ConnectError> {
        let token = match (&self.token_file, &self.token) {
            (Some(file), _) => read(file).map_err(|error| ConnectError::Token(error.to_string()))?,
            (None, Some(token)) => token.clone(),
            (None, None) => return Ok(None),
        };
        if url.scheme_str() != Some("https") && !self.insecure && !is_this_machine(url) {
            return Err(ConnectError::TokenInPlainText { addr: shown(url) });
        }
        let mut value: MetadataValue<Ascii> = format!("Bearer {}", token.expose().trim())
            .parse()
            .map_err(|_| ConnectError::Token("it must be ASCII text without control characters".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn read(file: &Path) -> Result<Secret, FileError> {
    std::fs::read_to_string(file).map(Secret::new).map_err(|error| FileError::new(file, error))
}

/// An address as people write it.
fn shown(url: &Uri) -> String {
    url.to_string().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_token(insecure: bool) -> TokenFlags {
        TokenFlags { token: Some(Secret::new("0123456789abcdef")), token_file: None, insecure }
    }

    #[test]
    fn a_token_does_not_leave_this_machine_in_plain_text() {
        let sends = |url: &str, insecure| with_token(insecure).authorization(&url.parse().unwrap());
        for url in ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://mesh.example.org:1"] {
            assert_eq!(sends(url, false).unwrap().unwrap().to_str().unwrap(), "Bearer 0123456789abcdef", "{url}");
        }
        for url in ["http://10.0.0.7:1", "http://mesh.example.org:1", "http://localhost.example.org:1"] {
            let refused = sends(url, false).unwrap_err().to_string();
            assert!(refused.contains("--insecure") && !refused.contains("0123456789"), "{refused}");
            assert!(sends(url, true).unwrap().is_some());
        }
        assert!(TokenFlags::default().authorization(&"http://10.0.0.7:1".parse().unwrap()).unwrap().is_none());
    }

    #[test]
    fn flags_of_tls_make_an_address_encrypted() {
        let tls = TlsFlags { tls_ca: Some("ca.pem".into()), ..TlsFlags::default() };
        assert_eq!(tls.url("10.0.0.7:50051").unwrap().scheme_str(), Some("https"));
        assert_eq!(TlsFlags::default().url("10.0.0.7:50051").unwrap().scheme_str(), Some("http"));
        assert_eq!(TlsFlags::default().url("https://a:1").unwrap().scheme_str(), Some("https"));
        assert!(matches!(tls.url("http://10.0.0.7:50051"), Err(ConnectError::Plain { .. })));
        for addr in ["", "a b", "ftp://a:1"] {
            assert!(matches!(TlsFlags::default().url(addr), Err(ConnectError::Address { .. })), "{addr}");
        }
    }

    #[test]
    fn a_token_comes_from_a_file_without_its_line_end_and_is_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, "fedcba9876543210\n").unwrap();
        let flags = TokenFlags { token_file: Some(file), ..with_token(false) };
        let sent = flags.authorization(&"http://127.0.0.1:1".parse().unwrap()).unwrap().unwrap();
        assert_eq!(sent.to_str().unwrap(), "Bearer fedcba9876543210");
        assert!(!format!("{flags:?} {sent:?}").contains("0123456789"), "{flags:?}");
        let missing = TokenFlags { token_file: Some("/nowhere/token".into()), ..TokenFlags::default() };
        let refused = missing.authorization(&"http://127.0.0.1:1".parse().unwrap()).unwrap_err().to_string();
        assert!(refused.contains("/nowhere/token"), "{refused}");
    }
}
