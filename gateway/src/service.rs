//! The gateway as one tower service: from a request on the wire to the answer of its owner.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use service_host::access::Standing;
use service_host::{AccessTokens, Problem, headers};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;

use crate::deadline::Deadline;
use crate::forward::{Forward, Outgoing};
use crate::guard::Guard;
use crate::key::{key_path, route};
use crate::message::{Memory, Message, UNSUPPORTED_COMPRESSION, framed};
use crate::scan::find;
use crate::streams::Until;
use crate::table::{Method, Routing, Table};
use crate::{Config, LocalOwner, Owners, StartError, list, streams};

/// Services whose names begin like this are gRPC's own, such as health and reflection.
const OPERATIONS: &str = "/grpc.";

/// The client-facing edge. Cheap to clone; every connection gets a clone.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
    /// Without one everybody may do everything.
    guard: Option<Arc<Guard>>,
}

struct Shared {
    table: Arc<Table>,
    forward: Arc<Forward>,
    /// Answers gRPC's own services.
    operations: LocalOwner,
    memory: Memory,
    message_bytes_max: usize,
    draining: CancellationToken,
    config: Config,
}

/// What a gateway is made of.
#[derive(Debug)]
pub struct Setup<'a> {
    /// Its limits.
    pub config: Config,
    /// Largest request message in bytes.
    pub message_bytes_max: usize,
    /// The public API as a serialised `FileDescriptorSet`.
    pub descriptors: &'a [u8],
    /// Who answers.
    pub owners: Arc<dyn Owners>,
    /// Answers gRPC's own services: health and reflection.
    pub operations: LocalOwner,
    /// Tokens that callers must have one of; none are needed when absent.
    pub tokens: Option<AccessTokens>,
    /// Cancelled when the process begins to drain.
    pub draining: CancellationToken,
}

impl Gateway {
    /// Makes a gateway.
    ///
    /// # Errors
    /// A method is not annotated as it must be, or the configuration makes no sense.
    pub fn new(setup: Setup<'_>) -> Result<Self, StartError> {
        let Setup { config, message_bytes_max, descriptors, owners, operations, tokens, draining } = setup;
        config.check(message_bytes_max).map_err(StartError::Config)?;
        let guard = Guard::new(tokens, &config.rate_limit).map(Arc::new);
        let shared = Shared {
            table: Arc::new(Table::new(descriptors)?),
            forward: Arc::new(Forward::new(owners, &config)),
            operations,
            memory: Memory::new(config.request_bytes_max),
            message_bytes_max,
            draining,
            config,
        };
        Ok(Self { shared: Arc::new(shared), guard })
    }

    /// The same for this process itself, which needs no token to call its own mesh, and may call as often as it likes.
    #[must_use]
    pub fn unguarded(&self) -> Self {
        Self { shared: self.shared.clone(), guard: None }
    }

    /// The methods of the public API, as they are called: `/ordermesh.orders.v1.OrderService/GetOrder`.
    pub fn methods(&self) -> impl Iterator<Item = &str> {
        self.shared.table.methods().map(|method| method.uri.path())
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("forward", &self.shared.forward).finish_non_exhaustive()
    }
}

impl tower::Service<Request<Body>> for Gateway {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { shared, guard } = self.clone();
        Box::pin(async move { Ok(shared.answer(guard.as_deref(), request).await) })
    }
}

impl Shared {
    async fn answer(&self, guard: Option<&Guard>, request: Request<Body>) -> Response<Body> {
        if !is_grpc(request.headers()) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return response;
        }
        let path = request.uri().path();
        let method = self.table.get(path);
        let standing = match guard.map(|guard| guard.admit(&request, method)).transpose() {
            Ok(standing) => standing.flatten(),
            Err(refused) => return refused.into_http(),
        };
        let Some(method) = method else {
            if path.starts_with(OPERATIONS) {
                return self.operations.call(request).await;
            }
            if self.table.is_internal(path) {
                return Problem::internal_method(path).into_http();
            }
            return Problem::unknown_method(path).into_http();
        };
        if matches!(method.routing, Routing::ThisInstance) {
            return self.operations.call(request).await;
        }
        tokio::select! {
            biased;
            answer = self.answer_method(method, request, standing) => answer.unwrap_or_else(refuse),
            () = self.drained() => refuse(Problem::shutting_down()),
        }
    }

    /// When a stream must end that could go on.
    fn until(&self, standing: Option<Standing>) -> Until {
        Until::new(self.draining.clone(), standing)
    }

    /// Returns when calls had their time to end: whoever still waits then is told so instead of being cut off.
    async fn drained(&self) {
        self.draining.cancelled().await;
        tokio::time::sleep(self.config.drain_grace).await;
    }

    /// Each way is boxed: a call takes the memory of its own, not of the largest, and not twice where a limit is put around it.
    async fn answer_method(
        &self,
        method: &Method,
        request: Request<Body>,
        standing: Option<Standing>,
    ) -> Result<Response<Body>, Problem> {
        let (head, body) = request.into_parts();
        let default = (!method.server_streaming).then_some(self.config.deadline);
        let deadline = Deadline::of(&head.extensions, default);
        let message = Message::read(&head.headers, body, &self.memory, self.message_bytes_max);
        // Half a request holds memory that all share, however long its caller would wait for the answer.
        let reading = deadline.at_most(self.config.deadline);
        let message = reading.limit("reading the request", message).await??;
        let request_id = method.request_id.map(|number| find(message.payload(), &[number]));
        let has_request_id = matches!(request_id, Some(Ok(Some(id))) if !id.is_empty());
        let mut call = Outgoing {
            method,
            headers: passed_on(head.headers),
            frame: message.frame(),
            deadline,
            repeatable: method.no_side_effects || has_request_id,
            may_be_stale: method.consistency.is_some_and(|number| may_be_stale(message.payload(), number)),
        };
        match &method.routing {
            Routing::Key { path, alternative, generate } => {
                let key = (key_path(path, alternative.as_ref(), message.payload()), *generate);
                let to = route(method, key, &call.headers, message.payload(), self.forward.owners())?;
                if let Some(generated) = to.generated {
                    call.headers.insert(headers::GENERATED_KEY, generated);
                }
                let sent = Box::pin(self.forward.send(&call, to.partition));
                let answer = deadline.limit("waiting for the owner", sent).await?;
                if method.server_streaming {
                    return answer.map(|answer| streams::pass(answer, self.until(standing)));
                }
                answer
            }
            Routing::AllPartitions(shape) => {
                // The owners' pages are joined as bytes, so that they must not be compressed.
                call.headers.remove(GRPC_ACCEPT_ENCODING);
                let page = list::list(&self.forward, &call, shape, message.payload(), self.config.page_bytes_max);
                Ok(answer_of(deadline.limit("listing", Box::pin(page)).await??))
            }
            Routing::AllStreams(shape) => {
                call.headers.remove(GRPC_ACCEPT_ENCODING);
                let call = streams::Call {
                    forward: self.forward.clone(),
                    table: self.table.clone(),
                    path: method.uri.path().to_owned(),
                    shape: *shape,
                    headers: call.headers,
                    request: bytes::Bytes::copy_from_slice(message.payload()),
                    deadline,
                };
                Box::pin(streams::merge(call, self.until(standing))).await
            }
            // Answered before its message was read.
            Routing::ThisInstance => Err(Problem::internal()),
        }
    }
}

/// Numbers of the bounds in ReadConsistency: the strong one, and those that a standby may meet.
const STRONG: u32 = 1;
const WEAK: [u32; 3] = [2, 3, 4];

/// Whether a read says that an instance which is not the owner may answer it. That instance reads the bound again, and
/// exactly.
fn may_be_stale(message: &[u8], consistency: u32) -> bool {
    let says = |bound: u32| matches!(find(message, &[consistency, bound]), Ok(Some(_)));
    !says(STRONG) && WEAK.into_iter().any(says)
}

const GRPC_ACCEPT_ENCODING: &str = "grpc-accept-encoding";

fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map_or(b"".as_slice(), HeaderValue::as_bytes);
    matches!(content_type, b"application/grpc" | b"application/grpc+proto")
        || content_type.starts_with(b"application/grpc;")
}

/// What an owner gets of the caller's headers. Who calls was checked here, so that tokens go no further.
fn passed_on(mut headers: HeaderMap) -> HeaderMap {
    for internal in [headers::GENERATED_KEY, headers::PARTITION, headers::PEER_SECRET] {
        headers.remove(internal);
    }
    headers.remove(header::AUTHORIZATION);
    headers.remove(header::CONTENT_LENGTH);
    headers
}

/// A successful unary answer of this message with its prefix.
fn answer_of(frame: bytes::Bytes) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    let body = framed(frame).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn refuse(problem: Problem) -> Response<Body> {
    let is_about_compression = problem.reason == UNSUPPORTED_COMPRESSION;
    let mut response = problem.into_http();
    if is_about_compression {
        response.headers_mut().insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of<'a, F>(_: impl FnOnce(&'a Shared, Option<&'a Guard>, Request<Body>) -> F) -> usize {
        size_of::<F>()
    }

    fn bytes_of_sending<'a, F>(_: impl FnOnce(&'a Forward, &'a Outgoing<'a>, u32) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_call_on_its_way_takes_little_memory() {
        let (answering, sending) = (bytes_of(Shared::answer), bytes_of_sending(Forward::send));
        assert!(answering <= 2_560, "{answering} bytes of each call");
        assert!(sending <= 2_048, "{sending} more of each that goes to an owner");
    }
}
