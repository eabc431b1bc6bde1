//! What protects a process: TLS to clients and between instances, tokens at its gateway, and the rule where it may listen
//! without them.
//!
//! Always: files are read before anything starts, so that a process runs with all the protection it was told to have or does
//! not run at all.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use service_host::config::Secret;
use service_host::tls::{ClientTls, ListenerTls, TlsError};
use service_host::{AccessTokens, Dialer, FileError, Renew, SecretError};

use crate::Config;

/// Shortest secret of the instances that is not easily guessed, in characters.
const PEER_SECRET_LEN_MIN: usize = 16;

/// What protects a process, read from its files.
#[derive(Debug, Clone, Default)]
pub struct Security {
    /// TLS to clients.
    pub(crate) clients: Option<ListenerTls>,
    /// TLS to other instances that call this one.
    pub(crate) instances: Option<ListenerTls>,
    /// What other instances must show; nothing when empty.
    pub(crate) peer_secret: Secret,
    /// How this instance calls the others.
    pub(crate) dialer: Dialer,
    /// What clients must show at the gateway.
    pub(crate) tokens: Option<AccessTokens>,
    /// What reads the files again while the process runs.
    pub(crate) renewals: Vec<Arc<dyn Renew>>,
}

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// A file cannot be used.
    #[error("{setting} cannot be used")]
    File {
        /// The setting, or section of settings, that names it.
        setting: &'static str,
        /// The file, and what is wrong with it.
        #[source]
        source: FileError,
    },
    /// The name of the instances is none.
    #[error("peers.tls.server_name cannot be used")]
    Name(#[source] TlsError),
    /// The secret of the instances cannot be sent.
    #[error("peers.secret cannot be used")]
    Secret(#[source] SecretError),
}

impl Security {
    /// Reads everything that a configuration names.
    ///
    /// # Errors
    /// [`SecurityError`], with the file and its fault.
    pub fn open(config: &Config) -> Result<Self, SecurityError> {
        let of = |setting| move |source| SecurityError::File { setting, source };
        let listen = &config.listen.tls;
        let clients = match (identity(&listen.cert_file, &listen.key_file), &listen.client_ca_file) {
            (None, _) => None,
            (Some((cert, key)), None) => Some(ListenerTls::open(cert, key)),
            (Some((cert, key)), Some(ca)) => Some(ListenerTls::for_certified(cert, key, ca)),
        };
        let clients = clients.transpose().map_err(of("listen.tls"))?;
        let tokens = config.gateway.tokens_file.as_deref().map(AccessTokens::open).transpose();
        let tokens = tokens.map_err(of("gateway.tokens_file"))?;
        let mut renewals: Vec<Arc<dyn Renew>> = Vec::new();
        renewals.extend(clients.iter().map(ListenerTls::renewal));
        renewals.extend(tokens.iter().map(AccessTokens::renewal));

        let (mut instances, mut dialed) = (None, None);
        if let (Some(ca), Some((cert, key))) = (&config.peers.tls.ca_file, peer_identity(config)) {
            let mut door = ListenerTls::for_certified(cert, key, ca).map_err(of("peers.tls"))?;
            let mut client = ClientTls::open(Some(ca), Some((cert, key))).map_err(of("peers.tls"))?;
            if let Some(name) = &config.peers.tls.server_name {
                door = door.named(name).map_err(SecurityError::Name)?;
                client = client.named(name).map_err(SecurityError::Name)?;
            }
            renewals.extend([door.renewal(), client.renewal()]);
            (instances, dialed) = (Some(door), Some(client));
        }
        let peer_secret = config.peers.secret.clone();
        let dialer = Dialer::over(dialed).showing(&peer_secret).map_err(SecurityError::Secret)?;
        if !config.listen.address.ip().is_loopback() && tokens.is_none() && listen.client_ca_file.is_none() {
            let address = config.listen.address;
            tracing::warn!(%address, "whoever reaches this address may call every method: there are no tokens and no client certificates");
        }
        Ok(Self { clients, instances, peer_secret, dialer, tokens, renewals })
    }
}

/// Checks what types cannot say: what goes together, and where it may listen unprotected.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    let (listen, peers) = (&config.listen.tls, &config.peers.tls);
    for (section, cert, key) in
        [("listen.tls", &listen.cert_file, &listen.key_file), ("peers.tls", &peers.cert_file, &peers.key_file)]
    {
        if cert.is_some() != key.is_some() {
            return Err(format!("{section}.cert_file and {section}.key_file go together"));
        }
    }
    if listen.client_ca_file.is_some() && listen.cert_file.is_none() {
        return Err(
            "listen.tls.client_ca_file needs listen.tls.cert_file and key_file (--tls-cert, --tls-key)".to_owned()
        );
    }
    if peers.ca_file.is_some() && peer_identity(config).is_none() {
        return Err(
            "peers.tls.ca_file needs a certificate of this instance: --tls-cert and --tls-key, or peers.tls.cert_file \
                    and key_file"
                .to_owned(),
        );
    }
    if peers.ca_file.is_none() && (peers.server_name.is_some() || peers.cert_file.is_some()) {
        return Err("peers.tls needs peers.tls.ca_file (--peer-ca): without it nothing is encrypted between instances"
            .to_owned());
    }
    if !config.peers.secret.is_empty() && config.peers.secret.expose().len() < PEER_SECRET_LEN_MIN {
        return Err(format!("peers.secret is too short; it must have at least {PEER_SECRET_LEN_MIN} characters"));
    }
    may_listen(
        config,
        "listen.address",
        config.listen.address,
        listen.cert_file.is_some(),
        "--tls-cert and --tls-key",
    )?;
    may_listen(config, "peers.listen", config.peers.listen, peers.ca_file.is_some(), "--peer-ca")?;
    match config.telemetry.metrics {
        Some(address) if !address.ip().is_loopback() && !config.mesh.insecure => Err(format!(
            "telemetry.metrics is {address}, where others could read how the mesh fares: serve them on loopback, or say --insecure"
        )),
        _ => Ok(()),
    }
}

fn may_listen(config: &Config, name: &str, address: SocketAddr, is_encrypted: bool, by: &str) -> Result<(), String> {
    if address.ip().is_loopback() || is_encrypted || config.mesh.insecure {
        return Ok(());
    }
    Err(format!(
        "{name} is {address}, where others could read and change everything: listen on loopback, encrypt with {by}, or say --insecure"
    ))
}

/// The certificate that this instance shows to others: one for it alone, or the one that clients see.
fn peer_identity(config: &Config) -> Option<(&Path, &Path)> {
    let (own, clients) = (&config.peers.tls, &config.listen.tls);
    identity(&own.cert_file, &own.key_file).or_else(|| identity(&clients.cert_file, &clients.key_file))
}

fn identity<'a>(cert_file: &'a Option<PathBuf>, key_file: &'a Option<PathBuf>) -> Option<(&'a Path, &'a Path)> {
    cert_file.as_deref().zip(key_file.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::default();
        change(&mut config);
        config
    }

    fn elsewhere() -> SocketAddr {
        ([0, 0, 0, 0], 50051).into()
    }

    fn with_certificate(config: &mut Config) {
        config.listen.tls.cert_file = Some("cert.pem".into());
        config.listen.tls.key_file = Some("key.pem".into());
    }

    #[test]
    fn other_addresses_than_loopback_need_tls_or_the_users_word() {
        type Change = fn(&mut Config);
        let cases: [(Change, Option<&str>); 12] = [
            (|_| {}, None),
            (|config| config.listen.address = elsewhere(), Some("listen.address")),
            (|config| config.peers.listen = elsewhere(), Some("peers.listen")),
            (|config| (config.listen.address, config.mesh.insecure) = (elsewhere(), true), None),
            (|config| (config.peers.listen, config.mesh.insecure) = (elsewhere(), true), None),
            (
                |config| {
                    config.listen.address = elsewhere();
                    with_certificate(config)
                },
                None,
            ),
            // Metrics are never encrypted, whatever clients see.
            (|config| config.telemetry.metrics = Some(([127, 0, 0, 1], 9464).into()), None),
            (
                |config| {
                    config.telemetry.metrics = Some(elsewhere());
                    with_certificate(config)
                },
                Some("telemetry.metrics"),
            ),
            (|config| (config.telemetry.metrics, config.mesh.insecure) = (Some(elsewhere()), true), None),
            // What clients see encrypted is no protection between instances, and tokens are no encryption.
            (
                |config| {
                    config.peers.listen = elsewhere();
                    with_certificate(config)
                },
                Some("peers.listen"),
            ),
            (
                |config| {
                    config.listen.address = elsewhere();
                    config.gateway.tokens_file = Some("tokens".into())
                },
                Some("--insecure"),
            ),
            (
                |config| {
                    config.peers.listen = elsewhere();
                    with_certificate(config);
                    config.peers.tls.ca_file = Some("ca.pem".into())
                },
                None,
            ),
        ];
        for (number, (change, refused)) in cases.into_iter().enumerate() {
            match (check(&config(change)), refused) {
                (Ok(()), None) => {}
                (Err(reason), Some(part)) => assert!(reason.contains(part), "{number}: {reason}"),
                (got, _) => panic!("{number}: {got:?}"),
            }
        }
    }

    #[test]
    fn settings_that_go_together_are_asked_for_by_name() {
        type Change = fn(&mut Config);
        let cases: [(Change, &str); 6] = [
            (|config| config.listen.tls.cert_file = Some("cert.pem".into()), "listen.tls.key_file"),
            (|config| config.peers.tls.key_file = Some("key.pem".into()), "peers.tls.cert_file"),
            (|config| config.listen.tls.client_ca_file = Some("ca.pem".into()), "--tls-cert"),
            (|config| config.peers.tls.ca_file = Some("ca.pem".into()), "--tls-key"),
            (|config| config.peers.tls.server_name = Some("mesh".into()), "--peer-ca"),
            (|config| config.peers.secret = Secret::new("short"), "at least 16"),
        ];
        for (change, part) in cases {
            let refused = check(&config(change)).unwrap_err();
            assert!(refused.contains(part), "{refused}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_its_setting_and_its_fault() {
        let missing = config(|config| {
            with_certificate(config);
            config.listen.tls.cert_file = Some("/nowhere/cert.pem".into());
        });
        let refused = format!("{:#}", anyhow::Error::new(Security::open(&missing).unwrap_err()));
        assert_eq!(refused, "listen.tls cannot be used: /nowhere/cert.pem: No such file or directory (os error 2)");
        let missing = config(|config| config.gateway.tokens_file = Some("/nowhere/tokens".into()));
        let refused = format!("{:#}", anyhow::Error::new(Security::open(&missing).unwrap_err()));
        assert!(refused.starts_with("gateway.tokens_file cannot be used: /nowhere/tokens"), "{refused}");
    }
}
