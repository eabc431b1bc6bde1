//! Sends through a mail server. A connection is used for several e-mails, and the TLS mode is kept: there is no fallback to
//! plain text.

use std::time::{Duration, UNIX_EPOCH};

use lettre::message::{Mailbox, Message, header::ContentType};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::{Category, Severity};
use lettre::transport::smtp::{self, PoolConfig};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::{Mail, SendError, Sender};
use crate::{SmtpConfig, TlsMode};

/// How long an idle connection is kept. Servers cut idle ones after minutes.
const IDLE: Duration = Duration::from_secs(30);

/// The sender through a mail server.
#[derive(Debug)]
pub struct SmtpSender {
    from: Mailbox,
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl SmtpSender {
    /// A sender through this server with at most so many connections. It connects with the first e-mail.
    ///
    /// # Errors
    /// The certificate file cannot be used; says why, for people.
    pub fn new(from: Mailbox, config: &SmtpConfig, connections_max: usize) -> Result<Self, String> {
        let (tls, usual_port) = match config.tls {
            TlsMode::Tls => (Tls::Wrapper(tls_parameters(config)?), smtp::SUBMISSIONS_PORT),
            TlsMode::StartTls => (Tls::Required(tls_parameters(config)?), smtp::SUBMISSION_PORT),
            TlsMode::None => (Tls::None, smtp::SMTP_PORT),
        };
        let port = if config.port == 0 { usual_port } else { config.port };
        let pool = PoolConfig::new().max_size(u32::try_from(connections_max).unwrap_or(u32::MAX)).idle_timeout(IDLE);
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(config.host.as_str())
            .port(port)
            .tls(tls)
            .timeout(Some(config.timeout))
            .hello_name(ClientId::Domain(config.hello_name.clone()))
            .pool_config(pool);
        if !config.username.is_empty() {
            let password = config.password.expose().to_owned();
            builder = builder.credentials(Credentials::new(config.username.clone(), password));
        }
        Ok(Self { from, transport: builder.build() })
    }
}

#[tonic::async_trait]
impl Sender for SmtpSender {
    async fn send(&self, mail: &Mail) -> Result<(), SendError> {
        let message = message(&self.from, mail)?;
        match self.transport.send(message).await {
            Ok(_) => Ok(()),
            Err(error) => Err(failed(&error)),
        }
    }
}

fn tls_parameters(config: &SmtpConfig) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(config.host.clone());
    if let Some(file) = &config.ca_file {
        let wrong = |why: &dyn std::fmt::Display| format!("notifications.smtp.ca_file {}: {why}", file.display());
        let pem = std::fs::read(file).map_err(|error| wrong(&error))?;
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| wrong(&error))?);
    }
    builder.build_rustls().map_err(|error| format!("TLS to the mail server cannot be set up: {error}"))
}

/// The e-mail as it goes over the wire: the same bytes in every try.
fn message(from: &Mailbox, mail: &Mail) -> Result<Message, SendError> {
    if mail.recipient.is_empty() {
        return Err(SendError::permanent("the customer has no e-mail address"));
    }
    let address: Address = mail
        .recipient
        .parse()
        .map_err(|error| SendError::permanent(format!("{} is no e-mail address: {error}", mail.recipient)))?;
    let date = UNIX_EPOCH + Duration::from_millis(u64::try_from(mail.created_ms).unwrap_or(0));
    Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, address))
        .subject(mail.subject.clone())
        .date(date)
        .message_id(Some(mail.message_id.clone()))
        .header(ContentType::TEXT_PLAIN)
        .body(mail.body.clone())
        .map_err(|error| SendError::permanent(format!("it cannot be written as an e-mail: {error}")))
}

/// What a failure means. Only a server that speaks of the e-mail itself (55x) makes it final: a server that cannot be
/// reached, wants another login or is misconfigured can be put right, and the e-mail with it.
fn failed(error: &smtp::Error) -> SendError {
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    let about_the_mail = error.status().is_some_and(|code| {
        code.severity == Severity::PermanentNegativeCompletion && code.category == Category::MailSystem
    });
    SendError { reason, is_final: about_the_mail }
}

#[cfg(test)]
mod tests;
