//! Around every call that a server answers: how many at a time, until when, how long it took, what its errors say, and the
//! span of its trace.
//!
//! Always: a status that is not OK carries an `ErrorInfo`, an expired deadline is DEADLINE_EXCEEDED (also in the middle of
//! a stream), and a call counts until its last byte was handed over or the peer went away.

mod body;
mod methods;
pub(crate) mod taking;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower::{Service, ServiceExt};
use tracing::{Instrument, Span, field};

use crate::status::explain;
use crate::telemetry::TRACE_TARGET;
use crate::{Api, Problem, grpc_timeout, trace_context};
use body::CallBody;
use methods::{Method, Methods};

/// When the caller of a request stops listening; in the extensions of requests that came with a `grpc-timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallDeadline(pub Instant);

/// What the calls of a server may take together.
#[derive(Debug, Clone)]
pub(crate) struct CallLimits {
    /// Calls at a time; more are OVERLOADED.
    pub(crate) calls_max: usize,
    /// What metrics call the server.
    pub(crate) door: &'static str,
}

/// The calls of one server.
#[derive(Debug, Clone)]
pub(crate) struct Calls<S> {
    service: S,
    permits: Arc<Semaphore>,
    methods: Arc<Methods>,
}

impl<S> Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send,
{
    pub(crate) fn new(service: S, limits: &CallLimits, api: &Api) -> Self {
        let calls_max = limits.calls_max.min(Semaphore::MAX_PERMITS);
        Self { service, permits: Arc::new(Semaphore::new(calls_max)), methods: Arc::new(Methods::of(api, limits.door)) }
    }

    /// Answers one call.
    pub(crate) async fn answer(self, mut request: Request<Body>) -> Response<Body> {
        let received = Instant::now();
        let method = self.methods.find(request.uri().path());
        let span = span(method.name());
        if !span.is_disabled() {
            if let Some(caller) = trace_context::extract(request.headers()) {
                trace_context::set_parent(&span, caller);
            }
            // Whoever reads the header next, here or behind a forward, continues this span.
            trace_context::inject(&span, request.headers_mut());
        }
        let mut call = Ongoing { method, received, span, permit: None, ended: false };
        let Ok(permit) = self.permits.try_acquire_owned() else {
            return call.refuse(Problem::overloaded("the instance"));
        };
        call.permit = Some(permit);
        let deadline = match deadline(request.headers(), received) {
            Ok(deadline) => deadline,
            Err(problem) => return call.refuse(problem),
        };
        if let Some(at) = deadline {
            request.extensions_mut().insert(CallDeadline(at));
        }
        let answer = self.service.oneshot(request).instrument(call.span.clone());
        let Ok(mut response) = match deadline {
            None => answer.await,
            Some(at) => match tokio::time::timeout_at(at, answer).await {
                Ok(answer) => answer,
                Err(_) => return call.refuse(Problem::deadline_exceeded("handling")),
            },
        };
        if let Some(code) = end_in(response.headers_mut()) {
            call.end(code);
            return response;
        }
        response.map(|body| Body::new(CallBody::new(body, deadline, call)))
    }
}

/// A call that was received. Its permit is given back when this is dropped; dropped before its end, it was given up by its
/// caller.
#[derive(Debug)]
struct Ongoing {
    method: Method,
    received: Instant,
    span: Span,
    permit: Option<OwnedSemaphorePermit>,
    ended: bool,
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.end(tonic::Code::Cancelled);
    }
}

impl Ongoing {
    fn refuse(mut self, problem: Problem) -> Response<Body> {
        self.end(problem.code.into());
        problem.into_http()
    }

    /// Notes how the call ended; only the first end counts.
    fn end(&mut self, code: tonic::Code) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.method.ended(code, self.received.elapsed());
        if !self.span.is_disabled() {
            let name = if code == tonic::Code::Ok { "OK" } else { crate::Code::from(code).name() };
            self.span.record("rpc.response.status_code", name);
            if is_server_error(code) {
                self.span.record("otel.status_code", "ERROR");
                self.span.record("error.type", name);
            }
        }
    }
}

fn span(method: &str) -> Span {
    tracing::info_span!(
        target: TRACE_TARGET,
        "rpc",
        otel.name = method,
        otel.kind = "server",
        otel.status_code = field::Empty,
        rpc.system.name = "grpc",
        rpc.method = method,
        rpc.response.status_code = field::Empty,
        "error.type" = field::Empty,
        "enduser.id" = field::Empty,
        order_id = field::Empty,
        product_id = field::Empty,
    )
}

/// The codes that count as a fault of the server; the others are answers.
fn is_server_error(code: tonic::Code) -> bool {
    use tonic::Code;
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// When the call must be answered.
fn deadline(headers: &HeaderMap, received: Instant) -> Result<Option<Instant>, Problem> {
    let Some(header) = headers.get(grpc_timeout::HEADER) else { return Ok(None) };
    let timeout = grpc_timeout::parse(header.as_bytes()).ok_or_else(|| {
        Problem::invalid_field(grpc_timeout::HEADER, "must be 1 to 8 digits and one of H, M, S, m, u, n")
    })?;
    if timeout == Duration::ZERO {
        return Err(Problem::deadline_exceeded("received"));
    }
    // One that lies beyond the clock is none.
    Ok(received.checked_add(timeout))
}

/// The status in headers or trailers, with its details completed. `None` when none stands there.
fn end_in(headers: &mut HeaderMap) -> Option<tonic::Code> {
    let code = tonic::Code::from_bytes(headers.get(Status::GRPC_STATUS)?.as_bytes());
    // Details that are there were written by somebody who knew why, and are not ours to read.
    if code == tonic::Code::Ok || headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return Some(code);
    }
    let Some(problem) = Status::from_header_map(headers).as_ref().and_then(explain) else { return Some(code) };
    let code = problem.code.into();
    put_status(problem, headers);
    Some(code)
}

/// Writes a problem into headers or trailers, in place of the status that stands there.
fn put_status(problem: Problem, headers: &mut HeaderMap) {
    let status = Status::from(problem);
    if status.add_header(headers).is_err() {
        // Only a message that no header can hold gets here; the code alone still is an answer.
        headers.insert(Status::GRPC_STATUS, HeaderValue::from(i32::from(status.code())));
    }
}

#[cfg(test)]
mod tests;
