//! Services that a program adds to those of the mesh: they are roles like the others, and whoever wrote them needs no other
//! runtime, gateway, membership or command line than these.

use std::fmt;
use std::sync::Arc;

use gateway::LocalOwner;
use http::{Request, Response};
use service_host::{Api, Owner, Watches};
use task_runtime::Definition;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

type Serve = Arc<dyn Fn(Owner, &Watches) -> Served + Send + Sync>;

/// A service of one's own: what its tasks do, and the gRPC service in front of them.
#[derive(Clone)]
pub struct Addition {
    descriptors: &'static [u8],
    definition: Definition,
    serve: Serve,
}

impl Addition {
    /// A service whose role is called like its definition.
    ///
    /// `descriptors` is the serialised `FileDescriptorSet` of its API, with custom options: the gateway routes by those of
    /// `ordermesh/options/v1/routing.proto`, and every message that the definition names as an output must be described there or in
    /// the mesh's own API. `server` puts the gRPC service before the tasks that this process has.
    pub fn new<S>(
        descriptors: &'static [u8],
        definition: Definition,
        server: impl Fn(Owner, &Watches) -> S + Send + Sync + 'static,
    ) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = std::convert::Infallible> + NamedService,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        let serve: Serve = Arc::new(move |owner, watches| Served::by(server(owner, watches)));
        Self { descriptors, definition, serve }
    }

    /// Name of the service.
    #[must_use]
    pub fn service(&self) -> &'static str {
        self.definition.service()
    }

    pub(crate) fn definition(&self) -> Definition {
        self.definition.clone()
    }

    pub(crate) fn serve(&self, owner: Owner, watches: &Watches) -> Served {
        (self.serve)(owner, watches)
    }
}

impl fmt::Debug for Addition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Addition").field(&self.service()).finish()
    }
}

/// The services that a program adds. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Additions(Arc<[Addition]>);

impl Additions {
    /// Everything that a process with these answers.
    pub(crate) fn api(&self) -> Api {
        self.0.iter().fold(Api::of_the_mesh(), |api, addition| api.and(addition.descriptors))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Addition> {
        self.0.iter()
    }
}

impl FromIterator<Addition> for Additions {
    fn from_iter<I: IntoIterator<Item = Addition>>(additions: I) -> Self {
        Self(additions.into_iter().collect())
    }
}

impl PartialEq for Additions {
    /// What a service does cannot be compared: the same names are the same services.
    fn eq(&self, other: &Self) -> bool {
        self.iter().map(Addition::service).eq(other.iter().map(Addition::service))
    }
}

/// A gRPC service that answers here.
pub(crate) struct Served {
    /// Such as `ordermesh.orders.v1.OrderService`.
    pub(crate) name: &'static str,
    pub(crate) owner: LocalOwner,
}

impl Served {
    pub(crate) fn by<S>(server: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = std::convert::Infallible> + NamedService,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        Self { name: S::NAME, owner: LocalOwner::new(server) }
    }
}
