//! Connections to another instance. Each is one HTTP/2 connection with one worker, so that a few of them carry more than
//! one; a call takes the one with the fewest calls on it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use service_host::{AddressError, Dialer, PeerChannel, Problem};
use tonic::body::Body;
use tonic::{ConnectError, Status};
use tower::ServiceExt;

/// Another instance.
#[derive(Clone)]
pub struct Upstream {
    address: Arc<str>,
    connections: Arc<[Connection]>,
}

struct Connection {
    channel: PeerChannel,
    calls: Arc<AtomicUsize>,
}

impl Upstream {
    /// An instance at this address; connections are made when they are needed, and made again when they break.
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What was given is no address.
    pub fn new(dialer: &Dialer, address: &str, connections: usize) -> Result<Self, AddressError> {
        let connection = |_| Ok(Connection { channel: dialer.channel(address)?, calls: Arc::default() });
        let connections = (0..connections.max(1)).map(connection).collect::<Result<_, _>>()?;
        Ok(Self { address: Arc::from(address), connections })
    }

    /// Sends a call. The answer passes as it comes.
    pub(crate) async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Unreachable> {
        let (answer, counted) = self.send(request).await?;
        Ok(answer.map(|body| Body::new(Passing { body, _counted: counted })))
    }

    /// Sends a call and waits for the end of its answer: of one that breaks off nothing has been passed on.
    pub(crate) async fn call_whole(&self, request: Request<Body>) -> Result<Response<Body>, Unreachable> {
        let (answer, _counted) = self.send(request).await?;
        let (head, body) = answer.into_parts();
        let whole = body.collect().await.map_err(|error| {
            tracing::debug!(address = %self.address, %error, "owner broke off");
            Unreachable { never_left: false }
        })?;
        Ok(Response::from_parts(head, Body::new(whole)))
    }

    async fn send(&self, request: Request<Body>) -> Result<(Response<Body>, Counted), Unreachable> {
        let connection = self.connections.iter().min_by_key(|connection| connection.calls.load(Ordering::Relaxed));
        let connection = connection.expect("an upstream has at least one connection");
        let counted = Counted::new(&connection.calls);
        let response = connection.channel.clone().oneshot(request).await.map_err(|error| {
            tracing::debug!(address = %self.address, error = %service_host::Chain(&error), "owner is unreachable");
            Unreachable { never_left: was_never_connected(&error) }
        })?;
        Ok((response, counted))
    }
}

/// The way to an owner is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreachable {
    /// There was no connection to send the call on: it had no effect.
    pub(crate) never_left: bool,
}

impl From<Unreachable> for Problem {
    fn from(_: Unreachable) -> Self {
        Self::owner_unreachable()
    }
}

fn was_never_connected(error: &tonic::transport::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

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
    let problem = Problem {
        message: "the owner broke off in the middle of its answer".to_owned(),
        ..Problem::owner_unreachable()
    };
    let mut trailers = HeaderMap::new();
    let written = Status::from(problem).add_header(&mut trailers);
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
