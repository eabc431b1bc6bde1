//! The TLS side of a connection: who is trusted, and who we say we are.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::Tls;
use crate::error::ConnectError;

pub(super) fn client(settings: &Tls) -> Result<ClientConfig, ConnectError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&settings.ca_file)? {
        roots.add(certificate).map_err(|error| unusable(&settings.ca_file, &error))?;
    }
    // Named, since a process that has a second provider in its tree would otherwise have no default.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| ConnectError::Tls(error.to_string()))?.with_root_certificates(roots);
    let (Some(cert_file), Some(key_file)) = (&settings.cert_file, &settings.key_file) else {
        return Ok(builder.with_no_client_auth());
    };
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| unusable(key_file, &error))?;
    let chain = certificates(cert_file)?;
    builder.with_client_auth_cert(chain, key).map_err(|error| unusable(cert_file, &error))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| unusable(file, &error))?;
    if found.is_empty() { Err(unusable(file, &"it has no certificate")) } else { Ok(found) }
}

fn unusable(file: &Path, reason: &dyn std::fmt::Display) -> ConnectError {
    ConnectError::Tls(format!("{}: {reason}", file.display()))
}
