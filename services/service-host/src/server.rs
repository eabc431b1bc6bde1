//! The gRPC server of a process: accepts, limits, serves, drains.
//!
//! It runs hyper directly, since tonic's own server ends deadlines with CANCELLED, waits for ever for silent peers when it
//! stops, and sets no options on accepted sockets. Every limit is set here, for the defaults below us are "none" or change.

mod connection;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::server::conn::http2;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;

use crate::Api;
use crate::call::taking::{self, Streams};
use crate::call::{CallLimits, Calls};
use crate::config::{LimitsConfig, ListenConfig};
use crate::tls::ListenerTls;

/// How long to wait when no connection can be accepted, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Streams of a connection that may be reset because of faults of the peer, in its whole life: h2's own limit (RUSTSEC-2024-0003).
/// A process that stood still meets faults that are none, when it works off what its callers have given up meanwhile.
const LOCAL_RESETS_MAX: usize = 1_024;
/// Largest frame that is accepted: what gRPC uses by default.
const FRAME_BYTES_MAX: u32 = 16 << 10;

/// What metrics call the server that clients use, and the one for other instances.
pub(crate) const CLIENTS: &str = "clients";
const INSTANCES: &str = "instances";

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Binds an address.
///
/// # Errors
/// Says which address cannot be bound, and why.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, source })
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still busy when the drain timeout was over, and were cut.
    pub connections_cut: usize,
}

/// The other end of the connection that a request came over; in the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// A gRPC server, configured.
#[derive(Debug)]
pub struct Server {
    drain_timeout: Duration,
    limits: LimitsConfig,
    http: http2::Builder<Streams>,
    tls: Option<ListenerTls>,
    api: Api,
    door: &'static str,
}

impl Server {
    /// Configures a server.
    pub fn new(listen: &ListenConfig, limits: &LimitsConfig) -> Self {
        // Streams that a peer may open and reset before they are looked at ("rapid reset"). A process that stood still for some
        // seconds finds everything in a heap that its callers have given up meanwhile, which is no attack: the connection must
        // not end, with all who still wait on it. As many as may be open at a time take no more memory than those may.
        let pending_resets_max = limits.streams_per_connection_max as usize;
        let mut http = http2::Builder::new(Streams { send_timeout: limits.send_timeout });
        http.timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams_per_connection_max)
            .initial_connection_window_size(limits.connection_window_bytes)
            .initial_stream_window_size(limits.stream_window_bytes)
            .max_frame_size(FRAME_BYTES_MAX)
            .max_header_list_size(limits.header_bytes_max)
            .keep_alive_interval(limits.keepalive_interval)
            .keep_alive_timeout(limits.keepalive_timeout)
            .max_pending_accept_reset_streams(pending_resets_max)
            .max_local_error_reset_streams(LOCAL_RESETS_MAX)
            .auto_date_header(false);
        Self {
            drain_timeout: listen.drain_timeout,
            limits: limits.clone(),
            http,
            tls: None,
            api: Api::of_the_mesh(),
            door: CLIENTS,
        }
    }

    /// The same over TLS; in plain text without one.
    #[must_use]
    pub fn over(self, tls: Option<ListenerTls>) -> Self {
        Self { tls, ..self }
    }

    /// The same for the other instances of a mesh: metrics tell its calls from those of clients, most of which an instance forwards.
    #[must_use]
    pub fn for_instances(self) -> Self {
        Self { door: INSTANCES, ..self }
    }

    /// The same for what else the process answers: metrics and spans name its methods.
    #[must_use]
    pub fn answering(self, api: Api) -> Self {
        Self { api, ..self }
    }

    /// Serves until `shutdown`, then drains: accepts no more, tells every peer to go away, lets calls end for at most the
    /// drain timeout, and cuts what is left. Tell the health service before `shutdown`, so that peers look elsewhere in time.
    ///
    /// Metrics are registered here: install the recorder before.
    pub async fn serve<S>(self, listener: TcpListener, service: S, shutdown: CancellationToken) -> Drained
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        let calls = Calls::new(service, &CallLimits { calls_max: self.limits.calls_max, door: self.door }, &self.api);
        let slots = Arc::new(Semaphore::new(self.limits.connections_max));
        metrics::describe_counter!(
            connection::REFUSED_HANDSHAKES,
            "connections that did not get through the TLS handshake"
        );
        metrics::describe_counter!(taking::RESET, "streams that were reset because their callers took nothing");
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(slot) = slots.clone().try_acquire_owned() else {
                metrics::counter!("ordermesh_connections_refused_total").increment(1);
                continue;
            };
            // Requests are small and answers awaited: waiting to fill a segment would cost up to 40 ms each.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%peer, %error, "connection is gone already");
                continue;
            }
            let connection = connection::Connection {
                http: self.http.clone(),
                calls: calls.clone(),
                handshake_timeout: self.limits.handshake_timeout,
                tls: self.tls.clone(),
                drain: shutdown.clone(),
            };
            connections.spawn(async move {
                connection.run(stream, peer).await;
                drop(slot);
            });
        }
        // Closed before the calls have ended: nobody shall connect to a server that will not answer.
        drop(listener);
        let _ =
            tokio::time::timeout(self.drain_timeout, async { while connections.join_next().await.is_some() {} }).await;
        let connections_cut = connections.len();
        connections.shutdown().await;
        Drained { connections_cut }
    }
}

#[cfg(test)]
mod tests;
