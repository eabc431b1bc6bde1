//! The port through which e-mails leave, with two implementations: the log, and a mail server.
//!
//! Nothing here remembers anything: what was sent is for the task to commit. A try may be repeated, and then carries the
//! same Message-ID.

mod log;
mod smtp;

use std::sync::Arc;

pub use log::LogSender;
pub use smtp::SmtpSender;

pub use crate::mail::Mail;
use crate::{Config, SenderKind};

/// Why an e-mail was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SendError {
    /// Why, for people; without credentials.
    pub reason: String,
    /// Whether another try makes no sense: this e-mail, not the server, is what is wrong.
    pub is_final: bool,
}

impl SendError {
    /// Worth another try.
    pub fn transient(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_final: false }
    }

    /// Not worth another try.
    pub fn permanent(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_final: true }
    }
}

/// Somebody who sends e-mails.
#[tonic::async_trait]
pub trait Sender: Send + Sync + std::fmt::Debug + 'static {
    /// Sends one e-mail, and returns when somebody else is responsible for it.
    ///
    /// # Errors
    /// [`SendError`]. After a broken connection it may have been taken all the same.
    async fn send(&self, mail: &Mail) -> Result<(), SendError>;
}

/// The sender that the configuration asks for.
///
/// # Errors
/// It cannot be used; says why, for people. No connection is made here.
pub fn from_config(config: &Config) -> Result<Arc<dyn Sender>, String> {
    Ok(match config.sender {
        SenderKind::Log => Arc::new(LogSender),
        SenderKind::Smtp => Arc::new(SmtpSender::new(config.from()?, &config.smtp, config.sends_at_once_max)?),
    })
}
