//! The settings of the process itself, whatever services it runs.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::LimitsConfig;
use crate::tls::ListenTlsConfig;

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
