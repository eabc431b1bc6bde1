//! Connections to another instance. Each is one HTTP/2 connection with one worker, so that a few of them carry more than
//! one; a call takes the one with the fewest calls on it. Streams have connections of their own: one that nobody reads from
//! keeps what has come for it, and would leave calls no room.

mod answer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use service_host::{AddressError, Dialer, PeerChannel, Problem};
use tonic::ConnectError;
use tonic::body::Body;
use tower::ServiceExt;

use answer::{Counted, Passing};

/// Another instance.
#[derive(Clone)]
pub struct Upstream {
    address: Arc<str>,
    for_calls: Arc<[Connection]>,
    for_streams: Arc<[Connection]>,
}

struct Connection {
    channel: PeerChannel,
    calls: Arc<AtomicUsize>,
}

impl Upstream {
    /// An instance at this address; connections are made when they are needed, and made again when they break: so many for
    /// calls, and as many for streams. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What was given is no address.
    pub fn new(dialer: &Dialer, address: &str, connections: usize) -> Result<Self, AddressError> {
        let all = |dial: &dyn Fn() -> Result<PeerChannel, AddressError>| {
            let connection = |_| Ok(Connection { channel: dial()?, calls: Arc::default() });
            (0..connections.max(1)).map(connection).collect::<Result<_, _>>()
        };
        Ok(Self {
            address: Arc::from(address),
            for_calls: all(&|| dialer.channel(address))?,
            for_streams: all(&|| dialer.channel_for_streams(address))?,
        })
    }

    /// Sends a call for a stream. The answer passes as it comes.
    pub(crate) async fn stream(&self, request: Request<Body>) -> Result<Response<Body>, Unreachable> {
        Ok(self.send(&self.for_streams, request).await?.map(Body::new))
    }

    /// Sends a call and waits for the end of its answer: of one that breaks off nothing has been passed on, and none waits
    /// here for its caller. A large answer passes as it comes after all.
    pub(crate) async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Unreachable> {
        let mut answer = self.send(&self.for_calls, request).await?;
        answer.body_mut().hold().await.map_err(|error| {
            tracing::debug!(address = %self.address, %error, "owner broke off");
            Unreachable { never_left: false }
        })?;
        Ok(answer.map(Body::new))
    }

    async fn send(&self, connections: &[Connection], request: Request<Body>) -> Result<Response<Passing>, Unreachable> {
        let connection = connections.iter().min_by_key(|connection| connection.calls.load(Ordering::Relaxed));
        let connection = connection.expect("an upstream has at least one connection");
        let counted = Counted::new(&connection.calls);
        let response = connection.channel.clone().oneshot(request).await.map_err(|error| {
            tracing::debug!(address = %self.address, error = %service_host::Chain(&error), "owner is unreachable");
            Unreachable { never_left: was_never_connected(&error) }
        })?;
        Ok(response.map(|body| Passing::new(body, counted)))
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
