//! The TLS side of a connection: who is trusted, and who we say we are.

use credentials::{FileError, provider};
use rustls::ClientConfig;

use crate::config::Tls;
use crate::error::ConnectError;

pub(super) fn client(settings: &Tls) -> Result<ClientConfig, ConnectError> {
    let roots = credentials::roots(&settings.ca_file).map_err(unusable)?;
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| ConnectError::Tls(error.to_string()))?.with_root_certificates(roots);
    let (Some(cert_file), Some(key_file)) = (&settings.cert_file, &settings.key_file) else {
        return Ok(builder.with_no_client_auth());
    };
    let us = credentials::identity(cert_file, key_file).map_err(unusable)?;
    let config = builder.with_client_auth_cert(us.chain, us.key);
    config.map_err(|error| unusable(FileError::new(cert_file, error)))
}

fn unusable(error: FileError) -> ConnectError {
    ConnectError::Tls(error.to_string())
}
