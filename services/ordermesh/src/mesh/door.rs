//! What an instance serves to the other ones: the services of its tasks, the exchange of reports, and a look into its stores.
//!
//! Calls that come in here have passed a gateway, which has checked who calls, routed them and made their headers. Clients have
//! no business here: in a mesh with certificates they do not get in, with a secret they are refused, and with neither the
//! address is on loopback unless somebody insists.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use gateway::LocalOwner;
use http::{Request, Response};
use membership::Exchange;
use proto::mesh::v1::replica_service_server::ReplicaServiceServer;
use service_host::access::shows;
use service_host::config::Secret;
use service_host::tls::Certified;
use service_host::{Code, Problem};
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use super::digests::Replicas;
use crate::roles::Roles;

/// The services for other instances. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Door {
    roles: Arc<Roles>,
    peers: LocalOwner,
    replicas: LocalOwner,
    admission: Admission,
}

/// What a call must come with to count as one of an instance.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    /// A certificate of an instance.
    pub(super) certificate: bool,
    /// The secret of the instances, unless it is empty.
    pub(super) secret: Secret,
}

impl Admission {
    fn check(&self, request: &Request<Body>) -> Result<(), Problem> {
        if self.certificate && request.extensions().get::<Certified>().is_none() {
            let message = "the certificate is not one of an instance of this mesh";
            return Err(Problem::not_an_instance(Code::PermissionDenied, message));
        }
        if !shows(request.headers(), &self.secret) {
            let message = "this address is for instances of the mesh, which show its secret";
            return Err(Problem::not_an_instance(Code::Unauthenticated, message));
        }
        Ok(())
    }
}

impl Door {
    pub(super) fn new(roles: Arc<Roles>, exchange: &Exchange, replicas: Replicas, admission: Admission) -> Self {
        let (peers, replicas) = (LocalOwner::new(exchange.server()), LocalOwner::new(replicas.server()));
        Self { roles, peers, replicas, admission }
    }

    /// What answers for a gRPC service.
    fn service(&self, name: &str) -> Option<&LocalOwner> {
        match name {
            PeerServer::NAME => Some(&self.peers),
            ReplicaServer::NAME => Some(&self.replicas),
            _ => self.roles.service(name),
        }
    }
}

type PeerServer = membership::PeerServer;
type ReplicaServer = ReplicaServiceServer<Replicas>;

impl Service<Request<Body>> for Door {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if let Err(refusal) = self.admission.check(&request) {
            tracing::debug!(reason = %refusal, "call between instances is refused");
            return Box::pin(std::future::ready(Ok(refusal.into_http())));
        }
        let path = request.uri().path();
        let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        match self.service(service) {
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
