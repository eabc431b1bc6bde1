//! One accepted connection, from its first bytes to its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;

use crate::call::Calls;
use crate::error::Chain;

/// What every HTTP/2 client sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How often a preface that comes in pieces is looked at again.
const PREFACE_RECHECK: Duration = Duration::from_millis(10);

pub(super) struct Connection<S> {
    pub(super) http: http2::Builder<TokioExecutor>,
    pub(super) calls: Calls<S>,
    pub(super) handshake_timeout: Duration,
    pub(super) drain: CancellationToken,
}

impl<S> Connection<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    pub(super) async fn run(self, stream: TcpStream, peer: SocketAddr) {
        tokio::select! {
            spoke = tokio::time::timeout(self.handshake_timeout, preface_has_come(&stream)) => {
                if !matches!(spoke, Ok(true)) {
                    tracing::debug!(%peer, "connection never spoke HTTP/2");
                    return;
                }
            }
            () = self.drain.cancelled() => return,
        }
        let calls = self.calls;
        let service = service_fn(move |request: Request<Incoming>| {
            let calls = calls.clone();
            async move { Ok::<_, Infallible>(calls.answer(request.map(Body::new)).await) }
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
