//! Connections to another instance. Each is one HTTP/2 connection with one worker, so that a few of them carry more than
//! one; a call takes the one with the fewest calls on it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri};
use http_body::{Frame, SizeHint};
use service_host::{Code, Problem};
use tonic::Status;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt;

/// A peer that does not answer a ping within the timeout is given up; a call that waits for it learns so.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// HTTP/2 windows. The connection's is far larger than a stream's, so that a few slow readers do not stall the others.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Another instance.
#[derive(Clone)]
pub struct Upstream {
    address: Arc<Uri>,
    connections: Arc<[Connection]>,
}

struct Connection {
    channel: Channel,
    calls: Arc<AtomicUsize>,
}

impl Upstream {
    /// An instance at this address; connections are made when they are needed, and made again when they break.
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn new(address: Uri, connections: usize) -> Self {
        let endpoint = Endpoint::from(address.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .tcp_nodelay(true);
        let connection = || Connection { channel: endpoint.connect_lazy(), calls: Arc::default() };
        Self { address: Arc::new(address), connections: (0..connections.max(1)).map(|_| connection()).collect() }
    }

    pub(crate) async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Problem> {
        let connection = self.connections.iter().min_by_key(|connection| connection.calls.load(Ordering::Relaxed));
        let connection = connection.expect("an upstream has at least one connection");
        let counted = Counted::new(&connection.calls);
        let response = connection.channel.clone().oneshot(request).await.map_err(|error| {
            tracing::debug!(address = %self.address, error = %service_host::Chain(&error), "owner is unreachable");
            Problem::new(Code::Unavailable, OWNER_UNREACHABLE, "the owner of the partition cannot be reached")
        })?;
        Ok(response.map(|body| Body::new(Passing { body, _counted: counted })))
    }
}

/// Reason when the way to an owner is broken. Whether the call had an effect is not known.
pub(crate) const OWNER_UNREACHABLE: &str = "OWNER_UNREACHABLE";

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A call counts until its answer has been read.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(calls: &Arc<AtomicUsize>) -> Self {
        calls.fetch_add(1, Ordering::Relaxed);
        Self(calls.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn broken_off() -> HeaderMap {
    let message = "the owner broke off in the middle of its answer";
    let mut trailers = HeaderMap::new();
    let written = Status::from(Problem::new(Code::Unavailable, OWNER_UNREACHABLE, message)).add_header(&mut trailers);
    written.expect("a constant message can be a header");
    trailers
}

/// An answer on its way through.
struct Passing {
    body: Body,
    _counted: Counted,
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(%error, "owner broke off");
                this.body = Body::empty();
                // A caller understands a status better than a reset.
                Poll::Ready(Some(Ok(Frame::trailers(broken_off()))))
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
