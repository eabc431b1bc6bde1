//! Against a real server, over real connections: the envelope, the bytes, TLS, login, and what refusals mean.

use service_host::config::Secret;
use testkit::{MailServer, MailTls, Misbehaviour};

use super::*;

fn mail(order_id: &str) -> Mail {
    Mail {
        order_id: order_id.into(),
        recipient: "ada@example.org".into(),
        subject: format!("Your order {order_id}"),
        body: "Dear Ada Lovelace,\n\n.a line that begins with a dot\nÄpfel\n".into(),
        message_id: format!("<order.{order_id}@shop.example>"),
        created_ms: 1_790_000_000_000,
    }
}

fn config(server: &MailServer, tls: TlsMode) -> SmtpConfig {
    SmtpConfig { port: server.port(), tls, timeout: Duration::from_secs(10), ..SmtpConfig::default() }
}

fn sender(config: &SmtpConfig) -> SmtpSender {
    SmtpSender::new("Shop <orders@shop.example>".parse().unwrap(), config, 2).unwrap()
}

/// A configuration that trusts the server's certificate; the file lives as long as the directory.
fn trusting(server: &MailServer, tls: TlsMode) -> (tempfile::TempDir, SmtpConfig) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, server.certificate()).unwrap();
    (directory, SmtpConfig { ca_file: Some(file), ..config(server, tls) })
}

#[tokio::test]
async fn an_e_mail_arrives_as_it_was_written_and_every_try_is_the_same() {
    let server = MailServer::start(MailTls::None).await;
    let sender = sender(&config(&server, TlsMode::None));
    sender.send(&mail("o-1")).await.unwrap();
    sender.send(&mail("o-1")).await.unwrap();
    let mails = server.mails();
    assert_eq!((mails.len(), &mails[0]), (2, &mails[1]));
    let first = &mails[0];
    assert_eq!(
        (first.from.as_str(), first.to.as_slice()),
        ("orders@shop.example", &["ada@example.org".to_owned()][..])
    );
    assert_eq!(first.header("Message-ID"), Some("<order.o-1@shop.example>"));
    assert_eq!(first.header("Subject"), Some("Your order o-1"));
    assert_eq!(first.header("Date"), Some("Mon, 21 Sep 2026 14:13:20 +0000"));
    assert!(first.data.contains("\r\n.a line that begins with a dot\r\n"), "{}", first.data);
    assert!(!first.encrypted && !first.logged_in);
}

#[tokio::test]
async fn tls_is_kept_and_the_login_goes_only_over_it() {
    for (of_server, tls) in [(MailTls::StartTls, TlsMode::StartTls), (MailTls::Tls, TlsMode::Tls)] {
        let server = MailServer::start(of_server).await;
        let (_directory, config) = trusting(&server, tls);
        let config = SmtpConfig { username: "shop".into(), password: Secret::new("open sesame"), ..config };
        sender(&config).send(&mail("o-1")).await.unwrap();
        let mails = server.mails();
        assert_eq!((mails.len(), mails[0].encrypted, mails[0].logged_in), (1, true, true), "{tls:?}");
    }
}

#[tokio::test]
async fn there_is_no_way_around_tls() {
    // The server does not offer it, or shows a certificate that nobody vouches for: nothing is said to it.
    let plain = MailServer::start(MailTls::None).await;
    let (_directory, trusted) = trusting(&plain, TlsMode::StartTls);
    let unknown = MailServer::start(MailTls::StartTls).await;
    for (server, config) in [(&plain, trusted), (&unknown, config(&unknown, TlsMode::StartTls))] {
        let config = SmtpConfig { username: "shop".into(), password: Secret::new("open sesame"), ..config };
        let error = sender(&config).send(&mail("o-1")).await.unwrap_err();
        assert!(!error.is_final, "an operator can put it right: {error}");
        assert!(!error.reason.contains("sesame"));
        assert_eq!(server.mails(), []);
    }
}

#[tokio::test]
async fn only_an_answer_about_the_e_mail_itself_is_final() {
    let server = MailServer::start(MailTls::None).await;
    let sender = sender(&config(&server, TlsMode::None));
    let cases = [
        ("450 the mailbox is busy", false),
        ("550 no such user", true),
        ("554 not wanted", true),
        ("530 log in", false),
    ];
    server.misbehave(cases.map(|(answer, _)| Misbehaviour::Refuse(answer)));
    for (answer, is_final) in cases {
        let error = sender.send(&mail("o-1")).await.unwrap_err();
        assert_eq!(error.is_final, is_final, "{answer}");
        assert!(error.reason.contains(&answer[4..]), "{error} does not say {answer}");
    }
    assert_eq!(server.mails(), []);
    sender.send(&mail("o-1")).await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_and_a_server_that_is_away_are_worth_another_try() {
    let server = MailServer::start(MailTls::None).await;
    let config = config(&server, TlsMode::None);
    server.misbehave([Misbehaviour::LoseAnswer]);
    assert!(!sender(&config).send(&mail("o-1")).await.unwrap_err().is_final);
    assert_eq!(server.mails().len(), 1, "it was taken all the same");
    drop(server);
    assert!(!sender(&config).send(&mail("o-1")).await.unwrap_err().is_final);
}

#[tokio::test]
async fn an_address_that_is_none_is_given_up_without_a_connection() {
    let config = SmtpConfig { port: 1, tls: TlsMode::None, ..SmtpConfig::default() };
    for recipient in ["", "nobody", "a b@example.org", "ada@example.org\r\nBcc: eve@example.org"] {
        let mail = Mail { recipient: recipient.into(), ..mail("o-1") };
        assert!(sender(&config).send(&mail).await.unwrap_err().is_final, "{recipient:?}");
    }
}

#[test]
fn a_certificate_file_that_is_none_is_named() {
    let config = SmtpConfig { ca_file: Some("/nowhere/ca.pem".into()), ..SmtpConfig::default() };
    let error = SmtpSender::new("orders@shop.example".parse().unwrap(), &config, 1).unwrap_err();
    assert!(error.contains("/nowhere/ca.pem"), "{error}");
}
