//! How the brokers are reached and how long they are waited for. Everything has a default but the brokers' addresses.

use std::path::PathBuf;
use std::time::Duration;

use credentials::Secret;
use serde::{Deserialize, Serialize};

/// Set-up of a [`KafkaLog`](crate::KafkaLog).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Brokers to ask first, each `host:port`. They name the others.
    pub brokers: Vec<String>,
    /// What this process calls itself; brokers log it and tie quotas to it.
    pub client_id: String,
    /// Encrypts the connections.
    pub tls: Option<Tls>,
    /// Logs in.
    pub sasl: Option<Sasl>,
    /// Replicas of the topics that are created; 0 leaves it to the brokers' `default.replication.factor`.
    pub replication_factor: u16,
    /// Replicas that must have a record before it is acknowledged, of the topics that are created; 0 leaves it to the
    /// brokers' `min.insync.replicas`.
    pub min_insync_replicas: u16,
    /// Largest append in bytes, keys, headers and framing included: what the brokers' `message.max.bytes` says.
    pub append_bytes_max: usize,
    /// Longest time to connect, encrypt and log in.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Longest time that one request may take.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// Longest time that one call of the port may take, with its wait behind others and all that it tries again. A waiting
    /// fetch adds its wait, and an append that shares a request with later ones waits for its answer as long as they do.
    #[serde(with = "humantime_serde")]
    pub operation_timeout: Duration,
    /// Longest wait that one fetch asks of a broker. Records end it at once; it only bounds how late a broker that hangs
    /// is noticed.
    #[serde(with = "humantime_serde")]
    pub poll_wait: Duration,
    /// Connections that may be open at once, without those of appends that share no request. Those that lie idle end when
    /// others are needed.
    pub connections_max: usize,
}

/// How connections are encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the authorities that the brokers' certificates are checked against.
    pub ca_file: PathBuf,
    /// PEM file of our own certificate chain, where the brokers ask for one.
    #[serde(default)]
    pub cert_file: Option<PathBuf>,
    /// PEM file of its private key.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
}

/// How we log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    /// The mechanism.
    pub mechanism: Mechanism,
    /// Name of the user.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

/// A way to prove a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mechanism {
    /// The password itself: only over TLS.
    #[serde(rename = "PLAIN")]
    Plain,
    /// A salted proof with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// A salted proof with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl Mechanism {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            brokers: Vec::new(),
            client_id: "ordermesh".to_owned(),
            tls: None,
            sasl: None,
            replication_factor: 0,
            min_insync_replicas: 0,
            append_bytes_max: 1_048_588,
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(4),
            operation_timeout: Duration::from_secs(5),
            poll_wait: Duration::from_secs(5),
            connections_max: 2_048,
        }
    }
}

impl Config {
    /// The defaults with these brokers, each `host:port`.
    pub fn new(brokers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { brokers: brokers.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// The first setting that makes no sense, with what would.
    pub fn check(&self) -> Result<(), String> {
        if self.brokers.is_empty() {
            return Err("brokers is empty; it must name at least one host:port".to_owned());
        }
        for broker in &self.brokers {
            let port =
                broker.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(1..))) {
                return Err(format!("brokers has {broker:?}; each must be host:port"));
            }
        }
        if !(1..=249).contains(&self.client_id.len()) {
            return Err("client_id must have 1 to 249 bytes".to_owned());
        }
        let times = [
            ("connect_timeout", self.connect_timeout),
            ("request_timeout", self.request_timeout),
            ("operation_timeout", self.operation_timeout),
            ("poll_wait", self.poll_wait),
        ];
        for (name, time) in times {
            if !(Duration::from_millis(10)..=Duration::from_secs(300)).contains(&time) {
                return Err(format!("{name} is {time:?}; it must be 10ms to 5m"));
            }
        }
        if !(1_024..=64 << 20).contains(&self.append_bytes_max) {
            return Err(format!("append_bytes_max is {}; it must be 1024 to 67108864", self.append_bytes_max));
        }
        if !(16..=65_536).contains(&self.connections_max) {
            return Err(format!("connections_max is {}; it must be 16 to 65536", self.connections_max));
        }
        match &self.tls {
            Some(tls) if tls.cert_file.is_some() != tls.key_file.is_some() => {
                Err("tls.cert_file and tls.key_file go together".to_owned())
            }
            None if self.sasl.as_ref().is_some_and(|sasl| sasl.mechanism == Mechanism::Plain) => {
                Err("sasl.mechanism PLAIN sends the password itself; it needs tls".to_owned())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_settings_are_named() {
        let good = Config::new(["localhost:9092", "[::1]:9093"]);
        good.check().unwrap();
        let plain = Sasl { mechanism: Mechanism::Plain, username: "u".to_owned(), password: Secret::new("p") };
        let tls = Tls { ca_file: "ca.pem".into(), cert_file: Some("cert.pem".into()), key_file: None };
        let cases: [(Config, &str); 8] = [
            (Config::default(), "brokers"),
            (Config::new(["localhost"]), "host:port"),
            (Config::new([":9092"]), "host:port"),
            (Config::new(["kafka:0"]), "host:port"),
            (Config { request_timeout: Duration::ZERO, ..good.clone() }, "request_timeout"),
            (Config { append_bytes_max: 0, ..good.clone() }, "append_bytes_max"),
            (Config { sasl: Some(plain), ..good.clone() }, "PLAIN"),
            (Config { tls: Some(tls), ..good.clone() }, "key_file"),
        ];
        for (config, part) in cases {
            let refused = config.check().unwrap_err();
            assert!(refused.contains(part), "{refused}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let sasl = Sasl { mechanism: Mechanism::ScramSha512, username: "u".into(), password: Secret::new("hidden") };
        let config = Config { sasl: Some(sasl), ..Config::new(["a:1"]) };
        assert!(!format!("{config:?}").contains("hidden"));
    }
}
