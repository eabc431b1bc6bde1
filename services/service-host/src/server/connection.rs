//! One accepted connection, from its first bytes to its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;

use super::PeerAddress;
use crate::call::Calls;
use crate::call::taking::Streams;
use crate::error::Chain;
use crate::tls::{Certified, ListenerTls, Prefaced};

/// Connections that did not get through the TLS handshake.
pub(super) const REFUSED_HANDSHAKES: &str = "ordermesh_tls_handshakes_refused_total";
/// What every HTTP/2 client sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How often a preface that comes in pieces is looked at again.
const PREFACE_RECHECK: Duration = Duration::from_millis(10);

pub(super) struct Connection<S> {
    pub(super) http: http2::Builder<Streams>,
    pub(super) calls: Calls<S>,
    /// How long TLS and the first bytes of HTTP/2 may take together.
    pub(super) handshake_timeout: Duration,
    pub(super) tls: Option<ListenerTls>,
    pub(super) drain: CancellationToken,
}

impl<S> Connection<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    pub(super) async fn run(self, stream: TcpStream, peer: SocketAddr) {
        let drain = self.drain.clone();
        let spoke = async {
            match &self.tls {
                None => preface_has_come(&stream).await.then_some(Spoken::Plain(stream)),
                Some(tls) => encrypted(tls, stream, peer).await,
            }
        };
        let spoken = tokio::select! {
            spoke = tokio::time::timeout(self.handshake_timeout, spoke) => spoke.ok().flatten(),
            () = drain.cancelled() => return,
        };
        match spoken {
            Some(Spoken::Plain(stream)) => self.serve(stream, peer, None).await,
            Some(Spoken::Tls(stream, certified)) => self.serve(stream, peer, certified).await,
            None => tracing::debug!(%peer, "connection never spoke HTTP/2"),
        }
    }

    async fn serve<I>(self, stream: I, peer: SocketAddr, certified: Option<Certified>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let calls = self.calls;
        let service = service_fn(move |request: Request<Incoming>| {
            let calls = calls.clone();
            async move {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(PeerAddress(peer));
                if let Some(certified) = certified {
                    request.extensions_mut().insert(certified);
                }
                Ok::<_, Infallible>(calls.answer(request).await)
            }
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let mut draining = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        // Peers vanish, and some send nonsense: neither is news.
                        tracing::debug!(%peer, error = %Chain(&error), "connection ended early");
                    }
                    return;
                }
                () = self.drain.cancelled(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// A connection whose peer has begun to speak HTTP/2.
enum Spoken {
    Plain(TcpStream),
    /// Boxed, for it is far larger.
    Tls(Box<EncryptedStream>, Option<Certified>),
}

type EncryptedStream = Prefaced<TlsStream<TcpStream>, { PREFACE.len() }>;

/// `None` when the peer does not get through the handshake, or does not speak HTTP/2 behind it.
async fn encrypted(tls: &ListenerTls, stream: TcpStream, peer: SocketAddr) -> Option<Spoken> {
    let mut stream = match tls.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            metrics::counter!(REFUSED_HANDSHAKES).increment(1);
            // Not louder: whoever can connect could fill the log.
            tracing::debug!(%peer, %error, "connection did not get through the TLS handshake");
            return None;
        }
    };
    let certified = tls.certified(&stream);
    let mut first = [0; PREFACE.len()];
    stream.read_exact(&mut first).await.ok()?;
    (first == PREFACE).then(|| Spoken::Tls(Box::new(Prefaced::new(first, stream)), certified))
}

/// Waits until the peer has sent as much as a preface, or something that is none: then hyper says so. A peer that sends
/// nothing would hold its connection, and a drain, for ever. `false` when the peer hung up.
async fn preface_has_come(stream: &TcpStream) -> bool {
    let mut first = [0; PREFACE.len()];
    loop {
        match stream.peek(&mut first).await {
            Ok(0) | Err(_) => return false,
            Ok(len) if len == PREFACE.len() || first[..len] != PREFACE[..len] => return true,
            Ok(_) => tokio::time::sleep(PREFACE_RECHECK).await,
        }
    }
}
