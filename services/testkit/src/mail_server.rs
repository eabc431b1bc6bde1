//! A mail server that speaks SMTP over a real connection, plain, with STARTTLS or in TLS, and keeps what it is given. It can be
//! told to refuse, or to lose its answer, so that tests see what a sender makes of it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// An e-mail as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMail {
    /// The sender of the envelope.
    pub from: String,
    /// The recipients of the envelope.
    pub to: Vec<String>,
    /// Headers and text, with `\r\n`.
    pub data: String,
    /// Whether it came over TLS.
    pub encrypted: bool,
    /// Whether its sender had logged in.
    pub logged_in: bool,
}

impl ReceivedMail {
    /// The value of a header that is on one line.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.data.lines().take_while(|line| !line.is_empty());
        let mut headers = lines.filter_map(|line| line.split_once(": "));
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// How its connections are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// Not at all.
    None,
    /// Plain until the client asks for TLS.
    StartTls,
    /// From the first byte.
    Tls,
}

/// What it does with an e-mail instead of taking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Answers the recipient with this, such as `550 no such user`.
    Refuse(&'static str),
    /// Takes the e-mail, and cuts the connection instead of saying so.
    LoseAnswer,
}

#[derive(Debug, Default)]
struct Shared {
    mails: Mutex<Vec<ReceivedMail>>,
    misbehaviour: Mutex<VecDeque<Misbehaviour>>,
}

/// A server that listens until it is dropped.
#[derive(Debug)]
pub struct MailServer {
    address: SocketAddr,
    certificate: String,
    shared: Arc<Shared>,
    job: JoinHandle<()>,
}

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Where one conversation stands.
#[derive(Default)]
struct Session {
    from: String,
    to: Vec<String>,
    encrypted: bool,
    logged_in: bool,
    lose_answer: bool,
}

impl MailServer {
    /// Listens on a free port of this machine. Its certificate is for `localhost`.
    ///
    /// # Panics
    /// There is no free port.
    pub async fn start(tls: MailTls) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port can be bound");
        let address = listener.local_addr().expect("a listener has an address");
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a name can be certified");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows the default versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .expect("a certificate fits its own key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let shared = Arc::new(Shared::default());
        let job = tokio::spawn(accept(listener, acceptor, tls, Arc::clone(&shared)));
        Self { address, certificate: made.cert.pem(), shared, job }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its certificate in PEM, which is its own authority.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// What it was given so far.
    #[must_use]
    pub fn mails(&self) -> Vec<ReceivedMail> {
        self.shared.mails.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has it misbehave with the next e-mails, one after the other.
    pub fn misbehave(&self, misbehaviour: impl IntoIterator<Item = Misbehaviour>) {
        self.shared.misbehaviour.lock().unwrap_or_else(PoisonError::into_inner).extend(misbehaviour);
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.job.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, tls: MailTls, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            // A client that breaks off has its own reasons.
            let _ = talk(stream, acceptor, tls, &shared).await;
        });
    }
}

async fn talk(stream: TcpStream, acceptor: TlsAcceptor, tls: MailTls, shared: &Shared) -> std::io::Result<()> {
    let mut session = Session { encrypted: tls == MailTls::Tls, ..Session::default() };
    if tls == MailTls::Tls {
        let stream: Box<dyn Connection> = Box::new(acceptor.accept(stream).await?);
        return converse(&mut BufReader::new(stream), &mut session, false, true, shared).await.map(|_| ());
    }
    let mut plain: BufReader<Box<dyn Connection>> = BufReader::new(Box::new(stream));
    if converse(&mut plain, &mut session, tls == MailTls::StartTls, true, shared).await? {
        let stream: Box<dyn Connection> = Box::new(acceptor.accept(plain.into_inner()).await?);
        session = Session { encrypted: true, ..Session::default() };
        converse(&mut BufReader::new(stream), &mut session, false, false, shared).await?;
    }
    Ok(())
}

/// Answers until the client leaves; true if it wants TLS from now on.
async fn converse(
    stream: &mut BufReader<Box<dyn Connection>>,
    session: &mut Session,
    offers_tls: bool,
    greets: bool,
    shared: &Shared,
) -> std::io::Result<bool> {
    if greets {
        say(stream, "220 localhost at your service").await?;
    }
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(false);
        }
        let command = line.trim_end();
        let verb = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" if offers_tls => "250-localhost\r\n250-STARTTLS\r\n250 8BITMIME".to_owned(),
            "EHLO" => "250-localhost\r\n250-AUTH PLAIN\r\n250 8BITMIME".to_owned(),
            "HELO" | "NOOP" => "250 ok".to_owned(),
            "RSET" => {
                (session.from, session.to) = (String::new(), Vec::new());
                "250 ok".to_owned()
            }
            "AUTH" => {
                session.logged_in = true;
                "235 welcome".to_owned()
            }
            "MAIL" => {
                (session.from, session.to) = (address(command), Vec::new());
                "250 ok".to_owned()
            }
            "RCPT" => recipient(session, address(command), shared),
            "STARTTLS" if offers_tls => {
                say(stream, "220 go ahead").await?;
                return Ok(true);
            }
            "DATA" => match take(stream, session, shared).await? {
                true => "250 taken".to_owned(),
                false => return Ok(false),
            },
            "QUIT" => {
                say(stream, "221 bye").await?;
                return Ok(false);
            }
            _ => "502 not known here".to_owned(),
        };
        say(stream, &answer).await?;
    }
}

fn recipient(session: &mut Session, address: String, shared: &Shared) -> String {
    let next = shared.misbehaviour.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    session.lose_answer = next == Some(Misbehaviour::LoseAnswer);
    match next {
        Some(Misbehaviour::Refuse(answer)) => answer.to_owned(),
        _ => {
            session.to.push(address);
            "250 ok".to_owned()
        }
    }
}

/// Reads an e-mail and keeps it; false if the client is not to hear of it.
async fn take(
    stream: &mut BufReader<Box<dyn Connection>>,
    session: &mut Session,
    shared: &Shared,
) -> std::io::Result<bool> {
    say(stream, "354 go on").await?;
    let (mut data, mut line) = (String::new(), String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(false);
        }
        if line == ".\r\n" {
            break;
        }
        data.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
    let Session { encrypted, logged_in, .. } = *session;
    let (from, to) = (std::mem::take(&mut session.from), std::mem::take(&mut session.to));
    let mail = ReceivedMail { from, to, data, encrypted, logged_in };
    shared.mails.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
    Ok(!session.lose_answer)
}

/// What stands in angle brackets.
fn address(command: &str) -> String {
    let inside = command.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or_else(String::new, |(address, _)| address.to_owned())
}

async fn say(stream: &mut BufReader<Box<dyn Connection>>, answer: &str) -> std::io::Result<()> {
    stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    stream.flush().await
}
