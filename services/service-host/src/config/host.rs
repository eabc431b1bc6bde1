//! The settings of the process itself, whatever services it runs.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::FieldLimits;
use crate::tls::ListenTlsConfig;
use crate::validate::{ID_CHARS_MAX, TEXT_BYTES_MAX};

/// Settings of the process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostConfig {
    /// Where it listens, and for how long it goes on after it was told to stop.
    pub listen: ListenConfig,
    /// What one caller can make it hold.
    pub limits: LimitsConfig,
    /// What it writes to its standard error.
    pub log: LogConfig,
    /// What it tells other programs about itself.
    pub telemetry: TelemetryConfig,
}

/// Where the process listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenConfig {
    /// Address for gRPC. Port 0 takes a free one.
    pub address: SocketAddr,
    /// How long calls may go on after the process was told to stop.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
    /// Encrypts what goes over the address.
    pub tls: ListenTlsConfig,
}

/// Limits of the gRPC server. Beyond each, the caller is refused or waits; nothing grows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Largest request or response message.
    pub message_bytes_max: usize,
    /// Connections at a time; more are closed at once.
    pub connections_max: usize,
    /// Calls at a time on one connection; more wait at the client.
    pub streams_per_connection_max: u32,
    /// Calls at a time altogether; more are OVERLOADED.
    pub calls_max: usize,
    /// Longest id that clients choose, in characters: 36, as generated ids have, to 64.
    pub id_chars_max: usize,
    /// Longest text, in bytes: up to 4 KiB.
    pub text_bytes_max: usize,
    /// All headers of one call.
    pub header_bytes_max: u32,
    /// Bytes that one connection may send ahead of what is read. Small frames are cheap for the sender only within half
    /// of it, so that it must be large.
    pub connection_window_bytes: u32,
    /// Bytes that one call may send ahead of what is read.
    pub stream_window_bytes: u32,
    /// How long calls wait for a log that does not answer, before they end with LOG_UNAVAILABLE (2 seconds or more).
    #[serde(with = "humantime_serde")]
    pub log_wait_max: Duration,
    /// How long a new connection may take until it speaks HTTP/2.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// Silence after which a connection is asked whether it still lives.
    #[serde(with = "humantime_serde")]
    pub keepalive_interval: Duration,
    /// How long it may take to say so.
    #[serde(with = "humantime_serde")]
    pub keepalive_timeout: Duration,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// For people or for programs.
    pub format: LogFormat,
    /// What is logged, in the notation of `tracing`, such as `info` or `info,orders=debug`.
    pub level: String,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object each.
    Json,
}

/// Traces and metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Address that serves metrics to Prometheus, in plain text to whoever asks. None when absent.
    pub metrics: Option<SocketAddr>,
    /// URL of an OTLP collector (gRPC), such as `http://127.0.0.1:4317`. No traces when absent.
    pub otlp: Option<String>,
    /// Share of traces that begin here and are recorded, from 0 to 1. Callers that bring a trace decide for themselves.
    pub trace_sample_ratio: f64,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 50051)),
            drain_timeout: Duration::from_secs(10),
            tls: ListenTlsConfig::default(),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            message_bytes_max: 1 << 20,
            connections_max: 16_384,
            streams_per_connection_max: 1000,
            calls_max: 50_000,
            id_chars_max: ID_CHARS_MAX,
            text_bytes_max: TEXT_BYTES_MAX,
            header_bytes_max: 16 << 10,
            connection_window_bytes: 16 << 20,
            stream_window_bytes: 1 << 20,
            log_wait_max: Duration::from_secs(4),
            handshake_timeout: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(20),
        }
    }
}

impl LimitsConfig {
    /// The limits of fields.
    #[must_use]
    pub fn fields(&self) -> FieldLimits {
        FieldLimits { id_chars_max: self.id_chars_max, text_bytes_max: self.text_bytes_max }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Human, level: "info".to_owned() }
    }
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { metrics: None, otlp: None, trace_sample_ratio: 1.0 }
    }
}
