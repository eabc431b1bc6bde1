//! Sends nothing: says in the log what would be sent.

use super::{Mail, SendError, Sender};

/// The sender for those who have no mail server.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogSender;

#[tonic::async_trait]
impl Sender for LogSender {
    async fn send(&self, mail: &Mail) -> Result<(), SendError> {
        let Mail { order_id, recipient, subject, message_id, .. } = mail;
        tracing::info!(order_id, recipient, subject, message_id, "e-mail, not sent but logged");
        Ok(())
    }
}
