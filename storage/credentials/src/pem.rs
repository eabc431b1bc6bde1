//! Certificates and private keys in PEM files.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", file.display())]
pub struct FileError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it. Never holds anything of its content.
    pub reason: String,
}

impl FileError {
    /// A fault of a file.
    pub fn new(file: &Path, reason: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), reason: reason.to_string() }
    }
}

/// A chain of certificates and the private key of the first of them.
pub struct Identity {
    /// The certificate of the process, then those that lead to its authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// Reads who we are. Whether key and certificate belong together shows when TLS is set up with them.
///
/// # Errors
/// The file that cannot be read, or has no certificate or no key.
pub fn identity(cert_file: &Path, key_file: &Path) -> Result<Identity, FileError> {
    let chain = certificates(cert_file)?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| unreadable(key_file, error, "private key"))?;
    Ok(Identity { chain, key })
}

/// Reads the authorities that certificates of others are checked against.
///
/// # Errors
/// The file cannot be read, has no certificate, or one that is none.
pub fn roots(ca_file: &Path) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_file)? {
        roots.add(certificate).map_err(|error| FileError::new(ca_file, error))?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| unreadable(file, error, "certificate"))?;
    if found.is_empty() { Err(FileError::new(file, "it has no certificate")) } else { Ok(found) }
}

fn unreadable(file: &Path, error: rustls::pki_types::pem::Error, what: &str) -> FileError {
    use rustls::pki_types::pem::Error;
    match error {
        Error::Io(error) => FileError::new(file, error),
        Error::NoItemsFound => FileError::new(file, format_args!("it has no {what}")),
        other => FileError::new(file, format_args!("it is no PEM file with a {what}: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_be_used_are_named_with_their_fault() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = directory.path().join(name);
            std::fs::write(&file, text).unwrap();
            file
        };
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let cert = write("cert.pem", &made.cert.pem());
        let key = write("key.pem", &made.signing_key.serialize_pem());
        let empty = write("empty.pem", "");
        let garbage = write("garbage.pem", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
        let no_certificate = write("no.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let missing = directory.path().join("missing.pem");

        assert_eq!(identity(&cert, &key).unwrap().chain.len(), 1);
        assert_eq!(roots(&cert).unwrap().len(), 1);
        let cases: [(FileError, &Path, &str); 7] = [
            (identity(&missing, &key).unwrap_err(), &missing, "No such file"),
            (identity(&cert, &missing).unwrap_err(), &missing, "No such file"),
            (identity(&empty, &key).unwrap_err(), &empty, "no certificate"),
            (identity(&cert, &cert).unwrap_err(), &cert, "no private key"),
            (identity(&garbage, &key).unwrap_err(), &garbage, "no PEM file"),
            (roots(&key).unwrap_err(), &key, "no certificate"),
            (roots(&no_certificate).unwrap_err(), &no_certificate, ""),
        ];
        for (error, file, part) in cases {
            let shown = error.to_string();
            assert!(error.file == file && shown.contains(part), "{shown}");
            assert!(shown.starts_with(&file.display().to_string()), "{shown}");
        }
    }

    #[test]
    fn an_identity_does_not_show_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let (cert, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        assert_eq!(format!("{:?}", identity(&cert, &key).unwrap()), "Identity { certificates: 1, .. }");
    }
}
