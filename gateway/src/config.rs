//! Limits of the gateway.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What the gateway allows, and how long it tries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Bytes of requests that are held in memory at one time for calls that are under way; more is answered OVERLOADED.
    /// At least the largest message.
    pub request_bytes_max: usize,
    /// Deadline of a unary call that comes without one; and how long the request of any call may take to come.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// How long calls that are under way may go on once the process drains. Those that wait longer are told to come back.
    #[serde(with = "humantime_serde")]
    pub drain_grace: Duration,
    /// How often a call that may be repeated is tried at most, the first time included.
    pub tries_max: u32,
    /// How long a call waits at the most for a partition to get an owner; its deadline may end the wait earlier.
    #[serde(with = "humantime_serde")]
    pub takeover_wait: Duration,
    /// Repeated tries in per cent of all calls, in the last ten seconds; a few each second are always allowed.
    pub retry_percent: u32,
    /// Bytes of one page of a list. Clients take 4 MiB at most unless they are told otherwise.
    pub page_bytes_max: usize,
    /// Connections to one other instance for calls, and as many more for streams.
    pub connections_per_upstream: usize,
    /// File of the bearer tokens that callers must have one of. Nobody needs one when absent.
    pub tokens_file: Option<PathBuf>,
    /// How often one caller may call.
    pub rate_limit: RateLimitConfig,
}

/// How often one caller may call: whoever shows the same token, or, where none are needed, calls from the same address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimitConfig {
    /// Calls of one caller in a second, in the long run; more are RATE_LIMITED. 0 sets no limit.
    pub calls_per_second: u32,
    /// Calls that a caller who has been silent may make at once.
    pub burst: u32,
    /// Callers that are remembered at one time; those beyond share what one may do.
    pub callers_max: usize,
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self { calls_per_second: 0, burst: 100, callers_max: 10_000 }
    }
}

impl RateLimitConfig {
    fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: u64, least: u64| {
            if (least..=1_000_000).contains(&value) {
                return Ok(());
            }
            Err(format!("gateway.rate_limit.{name} is {value}; it must be {least} to 1000000"))
        };
        within("calls_per_second", self.calls_per_second.into(), 0)?;
        within("burst", self.burst.into(), 1)?;
        within("callers_max", self.callers_max as u64, 1)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            request_bytes_max: 64 * 1024 * 1024,
            deadline: Duration::from_secs(30),
            drain_grace: Duration::from_secs(1),
            tries_max: 4,
            takeover_wait: Duration::from_secs(30),
            retry_percent: 10,
            page_bytes_max: 3 * 1024 * 1024,
            connections_per_upstream: 2,
            tokens_file: None,
            rate_limit: RateLimitConfig::default(),
        }
    }
}

impl Config {
    /// Checks what types cannot say. `message_bytes_max` is the largest message that the server takes.
    ///
    /// # Errors
    /// The first value that makes no sense, with what would.
    pub fn check(&self, message_bytes_max: usize) -> Result<(), String> {
        let at_least = |name: &str, value: usize, least: usize| {
            if value < least { Err(format!("gateway.{name} is {value}; it must be at least {least}")) } else { Ok(()) }
        };
        at_least("request_bytes_max", self.request_bytes_max, message_bytes_max.saturating_add(1024))?;
        at_least("tries_max", self.tries_max as usize, 1)?;
        at_least("page_bytes_max", self.page_bytes_max, 1024)?;
        at_least("connections_per_upstream", self.connections_per_upstream, 1)?;
        if self.retry_percent > 1000 {
            return Err(format!("gateway.retry_percent is {}; it must be at most 1000", self.retry_percent));
        }
        if self.deadline < Duration::from_millis(10) {
            return Err(format!("gateway.deadline is {:?}; it must be at least 10ms", self.deadline));
        }
        self.rate_limit.check()
    }
}
