//! An authority of a test's own, and certificates of it in files. Only with the feature `testing`.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

/// An authority whose files lie in a directory of the test.
#[derive(Debug)]
pub struct Authority {
    directory: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// Files of one certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority in a directory that is made.
    ///
    /// # Panics
    /// The directory cannot be written, which fails the test.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        fs::create_dir_all(directory).expect("a test can write its directory");
        let mut params = CertificateParams::default();
        // Of two authorities with one name, each would be tried for what the other has signed.
        params.distinguished_name.push(DnType::CommonName, directory.display().to_string());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority can certify itself");
        fs::write(directory.join("ca.pem"), issuer.pem()).expect("a test can write its directory");
        Self { directory: directory.to_owned(), issuer }
    }

    /// The file of its own certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Certifies a server and client that is reached by these names or addresses, in files called after `label`.
    ///
    /// # Panics
    /// A name is none.
    #[must_use]
    pub fn issue(&self, label: &str, names: &[&str]) -> Issued {
        self.issue_until(label, names, 4096)
    }

    /// The same with a certificate whose time is over.
    ///
    /// # Panics
    /// A name is none.
    #[must_use]
    pub fn issue_expired(&self, label: &str, names: &[&str]) -> Issued {
        self.issue_until(label, names, 2020)
    }

    fn issue_until(&self, label: &str, names: &[&str], year: i32) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("a test's names are names");
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key can be made");
        let made = params.signed_by(&key, &self.issuer).expect("an authority can certify others");
        let file = |ending: &str| self.directory.join(format!("{label}.{ending}"));
        let issued = Issued { cert: file("pem"), key: file("key") };
        fs::write(&issued.cert, made.pem()).expect("a test can write its directory");
        fs::write(&issued.key, key.serialize_pem()).expect("a test can write its directory");
        issued
    }
}
