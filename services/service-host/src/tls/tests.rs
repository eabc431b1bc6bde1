//! Real handshakes between a server and the connections that instances make.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use credentials::testing::{Authority, Issued};
use http::{Request, Response};
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::ServiceExt;

use super::*;
use crate::config::{LimitsConfig, ListenConfig};
use crate::{Code, Dialer, Problem, Server, server};

/// For what must happen; never waited for when it does.
const SOON: Duration = Duration::from_secs(20);

struct Place {
    directory: TempDir,
    authority: Authority,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new(&directory.path().join("ours"));
        Self { directory, authority }
    }

    fn stranger(&self) -> Authority {
        Authority::new(&self.directory.path().join("theirs"))
    }
}

/// A server that answers each call with OK or PERMISSION_DENIED, as the client is certified or not.
async fn serve(tls: Option<ListenerTls>) -> SocketAddr {
    let listener = server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = tower::service_fn(|request: Request<Body>| async move {
        let code = match request.extensions().get::<Certified>() {
            Some(Certified) => Code::Cancelled,
            None => Code::Aborted,
        };
        Ok::<Response<Body>, Infallible>(Problem::new(code, "SEEN", "seen").into_http())
    });
    let limits = LimitsConfig { handshake_timeout: Duration::from_millis(200), ..LimitsConfig::default() };
    let server = Server::new(&ListenConfig::default(), &limits).over(tls);
    tokio::spawn(server.serve(listener, service, CancellationToken::new()));
    address
}

/// Whether the server counts us as certified, or why there is no answer.
async fn call(tls: Option<ClientTls>, address: &str) -> Result<bool, Box<dyn Error + Send + Sync>> {
    let mut channel = Dialer::over(tls).channel(address)?;
    let mut request = Request::new(Body::empty());
    *request.method_mut() = http::Method::POST;
    let answer = tokio::time::timeout(SOON, channel.ready().await?.oneshot(request)).await??;
    let status = tonic::Status::from_header_map(answer.headers()).ok_or("no status")?;
    Ok(status.code() == tonic::Code::Cancelled)
}

fn us(issued: &Issued) -> Option<(&std::path::Path, &std::path::Path)> {
    Some((&issued.cert, &issued.key))
}

fn shown(error: &(dyn Error + 'static)) -> String {
    crate::Chain(error).to_string()
}

#[tokio::test]
async fn a_server_is_believed_only_with_a_certificate_of_our_authority_for_its_name() {
    let place = Place::new();
    let server = place.authority.issue("server", &["localhost", "127.0.0.1"]);
    let address = serve(Some(ListenerTls::open(&server.cert, &server.key).unwrap())).await;
    let trust = |ca: &Authority| ClientTls::open(Some(&ca.ca()), None).unwrap();
    assert!(!call(Some(trust(&place.authority)), &address.to_string()).await.unwrap());
    assert!(!call(Some(trust(&place.authority)), &format!("localhost:{}", address.port())).await.unwrap());
    assert!(!call(Some(trust(&place.authority).named("localhost").unwrap()), &address.to_string()).await.unwrap());

    let named = trust(&place.authority).named("elsewhere").unwrap();
    let cases = [
        (trust(&place.stranger()), "UnknownIssuer"),
        (ClientTls::open(None, None).unwrap(), "UnknownIssuer"),
        (named, "not valid for name"),
    ];
    for (tls, part) in cases {
        let error = call(Some(tls), &address.to_string()).await.unwrap_err();
        assert!(is_at_fault(&*error), "{}", shown(&*error));
        assert!(shown(&*error).contains(part), "{}", shown(&*error));
    }
    assert!(matches!(trust(&place.authority).named("not a name"), Err(TlsError::Name(name)) if name == "not a name"));
}

#[tokio::test]
async fn a_certificate_whose_time_is_over_is_believed_on_neither_side() {
    let place = Place::new();
    let ca = place.authority.ca();
    let (old, good) =
        (place.authority.issue_expired("old", &["127.0.0.1"]), place.authority.issue("good", &["127.0.0.1"]));
    let expired = serve(Some(ListenerTls::open(&old.cert, &old.key).unwrap())).await.to_string();
    let error = call(Some(ClientTls::open(Some(&ca), None).unwrap()), &expired).await.unwrap_err();
    assert!(is_at_fault(&*error) && shown(&*error).contains("expired"), "{}", shown(&*error));

    let address = serve(Some(ListenerTls::for_certified(&good.cert, &good.key, &ca).unwrap())).await.to_string();
    let error = call(Some(ClientTls::open(Some(&ca), us(&old)).unwrap()), &address).await.unwrap_err();
    assert!(is_at_fault(&*error), "{}", shown(&*error));
}

#[tokio::test]
async fn nothing_falls_back_to_plain_text() {
    let place = Place::new();
    let server = place.authority.issue("server", &["127.0.0.1"]);
    let encrypted = serve(Some(ListenerTls::open(&server.cert, &server.key).unwrap())).await.to_string();
    assert!(call(None, &encrypted).await.is_err());
    let plain = serve(None).await.to_string();
    assert!(!call(None, &plain).await.unwrap());
    let tls = ClientTls::open(Some(&place.authority.ca()), None).unwrap();
    assert!(call(Some(tls), &plain).await.is_err());
}

#[tokio::test]
async fn a_client_without_a_certificate_of_the_authority_does_not_get_in() {
    let place = Place::new();
    let (server, client) =
        (place.authority.issue("server", &["127.0.0.1"]), place.authority.issue("us", &["i-1.mesh"]));
    let (ca, theirs) = (place.authority.ca(), place.stranger().issue("them", &["i-1.mesh"]));
    let tls = ListenerTls::for_certified(&server.cert, &server.key, &ca).unwrap();
    let address = serve(Some(tls)).await.to_string();
    assert!(call(Some(ClientTls::open(Some(&ca), us(&client)).unwrap()), &address).await.unwrap());
    for other in [None, us(&theirs)] {
        let error = call(Some(ClientTls::open(Some(&ca), other).unwrap()), &address).await.unwrap_err();
        assert!(is_at_fault(&*error), "{}", shown(&*error));
    }
}

#[tokio::test]
async fn a_client_of_the_authority_without_the_name_is_not_certified() {
    let place = Place::new();
    let server = place.authority.issue("server", &["127.0.0.1"]);
    let (member, other) = (place.authority.issue("member", &["mesh"]), place.authority.issue("other", &["shop"]));
    let ca = place.authority.ca();
    let tls = ListenerTls::for_certified(&server.cert, &server.key, &ca).unwrap().named("mesh").unwrap();
    let address = serve(Some(tls)).await.to_string();
    assert!(call(Some(ClientTls::open(Some(&ca), us(&member)).unwrap()), &address).await.unwrap());
    assert!(!call(Some(ClientTls::open(Some(&ca), us(&other)).unwrap()), &address).await.unwrap());
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_whoever_connects_next() {
    let place = Place::new();
    let server = place.authority.issue("server", &["127.0.0.1"]);
    let tls = ListenerTls::open(&server.cert, &server.key).unwrap();
    let address = serve(Some(tls.clone())).await.to_string();
    let trust = || ClientTls::open(Some(&place.authority.ca()), None).unwrap().named("new.mesh").unwrap();
    assert!(call(Some(trust()), &address).await.is_err());

    let _ = place.authority.issue("server", &["new.mesh"]);
    assert!(tls.renewal().renew().unwrap());
    assert!(!call(Some(trust()), &address).await.unwrap());

    // Half of a renewal is none: the certificate is another one already, its key is not.
    let other = place.authority.issue("other", &["127.0.0.1"]);
    std::fs::copy(&other.cert, &server.cert).unwrap();
    assert_eq!(tls.renewal().renew().unwrap_err().file, server.key);
    assert!(!call(Some(trust()), &address).await.unwrap());
}

#[test]
fn a_key_that_does_not_fit_is_refused_by_name() {
    let place = Place::new();
    let (one, two) = (place.authority.issue("one", &["a"]), place.authority.issue("two", &["b"]));
    let refused = ListenerTls::open(&one.cert, &two.key).unwrap_err();
    assert_eq!(refused.file, two.key);
    assert!(refused.to_string().contains("does not fit"), "{refused}");
    let refused = ClientTls::open(Some(&place.authority.ca()), Some((&one.cert, &two.key))).unwrap_err();
    assert_eq!(refused.file, two.key);
    let missing = place.directory.path().join("missing.pem");
    assert_eq!(ListenerTls::for_certified(&one.cert, &one.key, &missing).unwrap_err().file, missing);
}

#[tokio::test]
async fn who_shakes_hands_and_then_speaks_no_http_2_is_sent_away() {
    let place = Place::new();
    let server = place.authority.issue("server", &["127.0.0.1"]);
    let address = serve(Some(ListenerTls::open(&server.cert, &server.key).unwrap())).await;
    for said in [b"".as_slice(), b"PRI", b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"] {
        let provider = rustls::ClientConfig::builder_with_provider(credentials::provider());
        let config = provider.with_safe_default_protocol_versions().unwrap();
        let config =
            config.with_root_certificates(credentials::roots(&place.authority.ca()).unwrap()).with_no_client_auth();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("it is closed");
        assert!(ended.is_err() || answer.is_empty(), "{answer:?}");
    }
}
