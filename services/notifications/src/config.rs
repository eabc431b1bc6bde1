//! What an operator can choose about notifications: how often to try, and through whom to send.

use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};
use service_host::config::Secret;

use crate::domain::delivery::Policy;

/// Configuration of notifications.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who sends e-mails.
    pub sender: SenderKind,
    /// Who they come from, such as `Shop <orders@example.org>`.
    pub from: String,
    /// What stands behind the `@` of each Message-ID. Chosen once: with another one, a receiver cannot recognise an e-mail
    /// that was on its way when it was changed.
    pub message_id_domain: String,
    /// Tries before an e-mail is given up and goes to the dead letters.
    pub tries_max: u32,
    /// Pause behind the first try that failed; doubles with each.
    #[serde(with = "humantime_serde")]
    pub retry_pause: Duration,
    /// Longest pause between tries.
    #[serde(with = "humantime_serde")]
    pub retry_pause_max: Duration,
    /// E-mails that are sent at the same time for each partition.
    pub sends_at_once_max: usize,
    /// Most rows that one page of a list looks at.
    pub list_rows_max: usize,
    /// The mail server, for the sender `smtp`.
    pub smtp: SmtpConfig,
}

/// Who sends e-mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SenderKind {
    /// Nobody: each e-mail is a line in the log, and counts as sent.
    Log,
    /// A mail server.
    Smtp,
}

/// How the connection to a mail server is protected. None of them falls back to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// TLS from the first byte (port 465).
    Tls,
    /// A plain connection that must turn to TLS before anything is said (port 587).
    StartTls,
    /// Plain text (port 25): for a server on this machine or in a network that is trusted.
    None,
}

/// A mail server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmtpConfig {
    /// Its name, which its certificate must have.
    pub host: String,
    /// Its port; 0 for the usual one of the TLS mode.
    pub port: u16,
    /// How the connection is protected.
    pub tls: TlsMode,
    /// PEM file with further authorities that may have issued its certificate, beside the public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Who logs in; nobody when empty.
    pub username: String,
    /// The password.
    pub password: Secret,
    /// What this process calls itself.
    pub hello_name: String,
    /// How long each step of a conversation may take.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sender: SenderKind::Log,
            from: "Ordermesh <orders@localhost>".to_owned(),
            message_id_domain: "ordermesh".to_owned(),
            tries_max: 12,
            retry_pause: Duration::from_secs(5),
            retry_pause_max: Duration::from_secs(3600),
            sends_at_once_max: 4,
            list_rows_max: 2_000,
            smtp: SmtpConfig::default(),
        }
    }
}

impl Default for SmtpConfig {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: 0,
            tls: TlsMode::StartTls,
            ca_file: None,
            username: String::new(),
            password: Secret::default(),
            hello_name: "localhost".to_owned(),
            timeout: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// Whether notifications can work with it.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: usize, range: std::ops::RangeInclusive<usize>| {
            if range.contains(&value) {
                return Ok(());
            }
            Err(format!("notifications.{name} must be {} to {}, not {value}", range.start(), range.end()))
        };
        self.from()?;
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
        if self.message_id_domain.is_empty() || !is_plain(&self.message_id_domain) {
            return Err("notifications.message_id_domain must be a name of letters, digits, '.' and '-'".to_owned());
        }
        within("tries_max", self.tries_max as usize, 1..=1_000)?;
        within("sends_at_once_max", self.sends_at_once_max, 1..=64)?;
        within("list_rows_max", self.list_rows_max, 1..=100_000)?;
        let (first, longest) = (self.retry_pause.as_millis(), self.retry_pause_max.as_millis());
        if first == 0 || first > longest || longest > 7 * 24 * 3_600_000 {
            let order =
                "notifications.retry_pause must be above 0 and not above retry_pause_max, and that at most 7 days";
            return Err(order.to_owned());
        }
        self.smtp.check()
    }

    /// Who the e-mails come from.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(crate) fn from(&self) -> Result<Mailbox, String> {
        self.from.parse().map_err(|error| format!("notifications.from is no mail address: {error}"))
    }

    pub(crate) fn policy(&self) -> Policy {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Policy { tries_max: self.tries_max, pause_ms: ms(self.retry_pause), pause_max_ms: ms(self.retry_pause_max) }
    }
}

impl SmtpConfig {
    fn check(&self) -> Result<(), String> {
        if self.host.is_empty() {
            return Err("notifications.smtp.host must not be empty".to_owned());
        }
        if self.username.is_empty() != self.password.expose().is_empty() {
            return Err("notifications.smtp.username and password must be set together".to_owned());
        }
        if !(1..=600).contains(&self.timeout.as_secs()) {
            return Err("notifications.smtp.timeout must be 1 second to 10 minutes".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Config)) -> Result<(), String> {
        let mut config = Config::default();
        change(&mut config);
        config.check()
    }

    #[test]
    fn the_defaults_are_in_order_and_nonsense_is_not() {
        assert_eq!(with(|_| {}), Ok(()));
        for nonsense in [
            with(|config| config.from = "nobody".to_owned()),
            with(|config| config.message_id_domain = "a b>".to_owned()),
            with(|config| config.tries_max = 0),
            with(|config| config.sends_at_once_max = 0),
            with(|config| config.list_rows_max = 0),
            with(|config| config.retry_pause = Duration::ZERO),
            with(|config| config.retry_pause_max = Duration::from_secs(1)),
            with(|config| config.smtp.host.clear()),
            with(|config| config.smtp.username = "shop".to_owned()),
            with(|config| config.smtp.timeout = Duration::ZERO),
        ] {
            assert!(nonsense.unwrap_err().starts_with("notifications."));
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let mut config = Config::default();
        config.smtp.password = Secret::new("open sesame");
        assert!(!format!("{config:?}").contains("sesame"));
    }
}
