//! How this instance and the others of its mesh reach each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use membership::{ExchangeConfig, GroupConfig};
use serde::{Deserialize, Serialize};
use service_host::config::Secret;

/// The other instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeersConfig {
    /// Where this instance listens for the others. Clients have no business there. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the others reach it, `host:port`; the address that it listens on when absent.
    pub advertise: Option<String>,
    /// All instances that run tasks by name, each `host:port`, itself included; each runs all services. When empty, the
    /// brokers' group says who is there.
    pub instances: BTreeMap<String, String>,
    /// How often each instance tells the others of itself.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// An instance that was not heard for so long is given up, and its tasks are taken over. One that came back from that lately is
    /// given up after up to four times as long.
    #[serde(with = "humantime_serde")]
    pub silent_after: Duration,
    /// An instance that the brokers' group coordinator has not heard for so long is no member any more. The brokers have limits
    /// for it.
    #[serde(with = "humantime_serde")]
    pub group_session: Duration,
    /// How often the coordinator hears of each instance. Changes of the placement take about as long.
    #[serde(with = "humantime_serde")]
    pub group_heartbeat: Duration,
    /// What every call between instances must show; nothing when empty. All instances have the same one.
    pub secret: Secret,
    /// Encrypts between instances, and tells them from others.
    pub tls: PeersTlsConfig,
}

/// TLS between instances. It is on with `ca_file`: then each instance needs a certificate, as a server and as a client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeersTlsConfig {
    /// PEM file of the authorities of the instances. Whoever has a certificate of them is taken for an instance, unless
    /// there is a `server_name` too.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate chain of this instance; the one that clients see when absent.
    pub cert_file: Option<PathBuf>,
    /// PEM file of its private key.
    pub key_file: Option<PathBuf>,
    /// Name that the certificate of every instance bears, on both sides of a connection. When absent, that of a server must
    /// bear the host of its address, and that of a client any name.
    pub server_name: Option<String>,
}

impl Default for PeersConfig {
    fn default() -> Self {
        let ExchangeConfig { interval, silent_after } = ExchangeConfig::default();
        let GroupConfig { session, heartbeat, .. } = GroupConfig::new("", Vec::new(), 1, BTreeMap::new());
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            instances: BTreeMap::new(),
            interval,
            silent_after,
            group_session: session,
            group_heartbeat: heartbeat,
            secret: Secret::default(),
            tls: PeersTlsConfig::default(),
        }
    }
}

impl PeersConfig {
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.interval < Duration::from_millis(10) {
            return Err(format!("peers.interval is {:?}; it must be at least 10ms", self.interval));
        }
        if self.silent_after < self.interval * 3 {
            return Err(format!(
                "peers.silent_after is {:?}; it must be at least three times peers.interval",
                self.silent_after
            ));
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(300)).contains(&self.group_session) {
            return Err(format!("peers.group_session is {:?}; it must be 1s to 5m", self.group_session));
        }
        if !(Duration::from_millis(50)..=self.group_session / 3).contains(&self.group_heartbeat) {
            return Err(format!(
                "peers.group_heartbeat is {:?}; it must be at least 50ms, and at most a third of peers.group_session",
                self.group_heartbeat
            ));
        }
        Ok(())
    }

    /// Checks the list against the name that this instance has, if there is a list: who is not on it would never get a task, and
    /// whoever is on it is given some, which nobody else takes.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub fn check_place(&self, instance: &str, has_tasks: bool) -> Result<(), String> {
        if self.instances.is_empty() || self.instances.contains_key(instance) == has_tasks {
            return Ok(());
        }
        let names = self.instances.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        Err(match has_tasks {
            true => format!(
                "this instance is called {instance}, and peers.instances lists {names}: give it one of these names with --instance, or \
                 add it to the list of every instance"
            ),
            false => format!(
                "this gateway is called {instance}, which is an instance with tasks in peers.instances ({names}): give it another name \
                 with --instance, or take it off the list of every instance"
            ),
        })
    }

    pub(super) fn exchange(&self) -> ExchangeConfig {
        ExchangeConfig { interval: self.interval, silent_after: self.silent_after }
    }
}
