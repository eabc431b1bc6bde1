//! Who answers for a partition, and how a call gets there: the same tower call for an owner in this process and for one
//! at the other end of a connection.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};
use tokio::sync::watch;
use tonic::body::Body;
use tower::{Service, ServiceExt};

use crate::Upstream;
use crate::upstream::Unreachable;

/// Knows the owners. It is asked for each call, so that a move of ownership shows at once.
pub trait Owners: Send + Sync + fmt::Debug + 'static {
    /// Number of partitions that every role has.
    fn partitions(&self) -> u32;

    /// The partition of a key.
    fn partition_of(&self, key: &[u8]) -> u32;

    /// Who answers for this partition now.
    ///
    /// # Errors
    /// [`NoOwner`] when nobody does at present.
    fn owner(&self, role: &str, partition: u32) -> Result<Current, NoOwner>;

    /// Who follows this partition, the least behind first: for reads that need no owner, while there is none.
    fn standbys(&self, _role: &str, _partition: u32) -> Vec<Owner> {
        Vec::new()
    }

    /// An instance said that it does not own the partition, and what it knows of who does.
    fn heed(&self, _role: &str, _partition: u32, _hint: &Hint) {}

    /// The owner of a claim could not be reached. Until it is heard again it should not be named as one.
    fn unreachable(&self, _claim: &Claim) {}

    /// Changes its value whenever an owner may be another than before.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// The owner of a partition and the claim by which it is one.
#[derive(Debug, Clone)]
pub struct Current {
    /// Where its calls go.
    pub owner: Owner,
    /// Its claim.
    pub claim: Claim,
}

/// One instance's ownership of one partition: another instance, or the same one after an interruption, has another claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The instance.
    pub instance: Arc<str>,
    /// Number of the claim.
    pub epoch: u64,
}

/// What an instance that is no owner says about who is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The newest claim that it knows of.
    pub claim: Claim,
    /// Where its owner is reached; empty when that was not said.
    pub address: String,
}

/// A partition has no owner at present: it is moving, or the role runs nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody owns the partition")]
pub struct NoOwner;

/// Where the calls for a partition go. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Owner {
    /// To this process.
    Local(LocalOwner),
    /// To another instance.
    Remote(Upstream),
}

impl Owner {
    /// Sends a call and waits for its answer.
    ///
    /// # Errors
    /// It did not get there, or the connection broke before the answer ended.
    pub(crate) async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Unreachable> {
        match self {
            Self::Local(owner) => Ok(owner.call(request).await),
            Self::Remote(upstream) => Box::pin(upstream.call(request)).await,
        }
    }

    /// Sends a call for a stream.
    ///
    /// # Errors
    /// It did not get there, or the connection broke before the stream began.
    pub(crate) async fn stream(&self, request: Request<Body>) -> Result<Response<Body>, Unreachable> {
        match self {
            Self::Local(owner) => Ok(owner.call(request).await),
            Self::Remote(upstream) => Box::pin(upstream.stream(request)).await,
        }
    }
}

type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// gRPC services of this process.
#[derive(Clone)]
pub struct LocalOwner(Arc<dyn Fn(Request<Body>) -> Answer + Send + Sync>);

impl LocalOwner {
    /// The owner that answers with these services.
    pub fn new<S>(services: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        Self(Arc::new(move |request| {
            let answer = services.clone().oneshot(request);
            Box::pin(async move {
                match answer.await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            })
        }))
    }

    /// Answers a call.
    pub fn call(&self, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send + use<> {
        (self.0)(request)
    }
}

impl fmt::Debug for LocalOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalOwner")
    }
}
