//! What an instance serves to the other ones: the services of its tasks, and the exchange of reports.
//!
//! Calls that come in here have passed a gateway, which has routed them and made their headers. Clients have no business here:
//! in a mesh with certificates they do not get in, and without them it listens on loopback unless somebody insists.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use gateway::LocalOwner;
use http::{Request, Response};
use membership::Exchange;
use service_host::Problem;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use crate::roles::Roles;

/// The services for other instances. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Door {
    roles: Arc<Roles>,
    peers: LocalOwner,
}

impl Door {
    pub(super) fn new(roles: Arc<Roles>, exchange: &Exchange) -> Self {
        Self { roles, peers: LocalOwner::new(exchange.server()) }
    }
}

type PeerServer = membership::PeerServer;

impl Service<Request<Body>> for Door {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let owner = if service == PeerServer::NAME { Some(&self.peers) } else { self.roles.service(service) };
        match owner {
            Some(owner) => {
                let answer = owner.call(request);
                Box::pin(async move { Ok(answer.await) })
            }
            None => {
                let refusal = Problem::unknown_method(path).into_http();
                Box::pin(std::future::ready(Ok(refusal)))
            }
        }
    }
}
