//! Limits of the gRPC server.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::FieldLimits;
use crate::validate::{ID_CHARS_MAX, TEXT_BYTES_MAX};

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
    /// How long a caller may take nothing of an answer of which there is more for it; then the call is reset.
    #[serde(with = "humantime_serde")]
    pub send_timeout: Duration,
    /// Silence after which a connection is asked whether it still lives.
    #[serde(with = "humantime_serde")]
    pub keepalive_interval: Duration,
    /// How long it may take to say so.
    #[serde(with = "humantime_serde")]
    pub keepalive_timeout: Duration,
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
            send_timeout: Duration::from_secs(60),
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

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// The first limit that makes no sense, with what would.
    pub fn check(&self) -> Result<(), String> {
        // The services' own servers take no more than 4 MiB.
        within("message_bytes_max", self.message_bytes_max, 1024..=4 << 20)?;
        within("connections_max", self.connections_max, 1..=1_000_000)?;
        within("streams_per_connection_max", self.streams_per_connection_max, 1..=1_000_000)?;
        within("calls_max", self.calls_max, 1..=10_000_000)?;
        // Ids that the gateway makes must be let in.
        within("id_chars_max", self.id_chars_max, 36..=ID_CHARS_MAX)?;
        within("text_bytes_max", self.text_bytes_max, 64..=TEXT_BYTES_MAX)?;
        within("header_bytes_max", self.header_bytes_max, 1024..=1 << 20)?;
        within("connection_window_bytes", self.connection_window_bytes, WINDOW_LEAST..=WINDOW_MOST)?;
        within("stream_window_bytes", self.stream_window_bytes, WINDOW_LEAST..=WINDOW_MOST)?;
        lasts("log_wait_max", self.log_wait_max, LOG_WAIT_LEAST)?;
        lasts("handshake_timeout", self.handshake_timeout, TIME_LEAST)?;
        lasts("send_timeout", self.send_timeout, TIME_LEAST)?;
        lasts("keepalive_interval", self.keepalive_interval, TIME_LEAST)?;
        lasts("keepalive_timeout", self.keepalive_timeout, TIME_LEAST)
    }
}

/// What every connection begins with (RFC 9113, section 6.9.2), and the most that the protocol knows.
const WINDOW_LEAST: u32 = 65_535;
const WINDOW_MOST: u32 = (1 << 31) - 1;
/// A moment less is over before anybody can have done anything.
const TIME_LEAST: Duration = Duration::from_millis(10);
/// Before that nobody can tell a log that is away from one that is slow.
const LOG_WAIT_LEAST: Duration = Duration::from_secs(2);
const TIME_MOST: Duration = Duration::from_secs(24 * 60 * 60);

fn within<N: PartialOrd + Display>(name: &str, value: N, range: RangeInclusive<N>) -> Result<(), String> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(format!("limits.{name} is {value}; it must be {} to {}", range.start(), range.end()))
}

fn lasts(name: &str, value: Duration, least: Duration) -> Result<(), String> {
    if (least..=TIME_MOST).contains(&value) {
        return Ok(());
    }
    Err(format!("limits.{name} is {value:?}; it must be {least:?} to 24h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_make_sense() {
        LimitsConfig::default().check().unwrap();
    }

    #[test]
    fn a_limit_that_makes_no_sense_is_named_with_those_that_would() {
        let refused = |change: fn(&mut LimitsConfig)| {
            let mut limits = LimitsConfig::default();
            change(&mut limits);
            limits.check().unwrap_err()
        };
        let zero = "limits.connections_max is 0; it must be 1 to 1000000";
        assert_eq!(refused(|limits| limits.connections_max = 0), zero);
        let window = "limits.stream_window_bytes is 2147483648; it must be 65535 to 2147483647";
        assert_eq!(refused(|limits| limits.stream_window_bytes = 1 << 31), window);
        let time = "limits.handshake_timeout is 0ns; it must be 10ms to 24h";
        assert_eq!(refused(|limits| limits.handshake_timeout = Duration::ZERO), time);
        let others: [fn(&mut LimitsConfig); 12] = [
            |limits| limits.message_bytes_max = 1023,
            |limits| limits.streams_per_connection_max = 0,
            |limits| limits.calls_max = 0,
            |limits| limits.id_chars_max = 35,
            |limits| limits.text_bytes_max = 63,
            |limits| limits.header_bytes_max = u32::MAX,
            |limits| limits.connection_window_bytes = 65_534,
            |limits| limits.log_wait_max = Duration::from_millis(1_999),
            |limits| limits.send_timeout = Duration::ZERO,
            |limits| limits.keepalive_interval = Duration::ZERO,
            |limits| limits.keepalive_interval = Duration::MAX,
            |limits| limits.keepalive_timeout = Duration::ZERO,
        ];
        for change in others {
            let said = refused(change);
            assert!(said.starts_with("limits.") && said.contains("it must be"), "{said}");
        }
    }
}
