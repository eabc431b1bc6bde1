//! A call is one span: it continues its caller's trace, and whoever is called next continues it.

#![expect(clippy::disallowed_methods, reason = "statuses of others, which are explained here")]

use http_body_util::BodyExt;
use opentelemetry::trace::Status as SpanStatus;
use opentelemetry_sdk::trace::SpanData;
use tower::service_fn;

use super::*;
use crate::Code;
use crate::recorded::{attribute, recorded};
use crate::server::CLIENTS;

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The one span of a call of `path` that a service answers with `answer`, and the `traceparent` that the service saw.
fn span_of(path: &str, answer: fn() -> Response<Body>) -> (SpanData, String) {
    let (sender, seen) = std::sync::mpsc::sync_channel(1);
    let spans = recorded(|| {
        let service = service_fn(move |request: Request<Body>| {
            let header = request.headers()[trace_context::TRACEPARENT].to_str().unwrap().to_owned();
            sender.send(header).unwrap();
            async move { Ok(answer()) }
        });
        let calls = Calls::new(service, &CallLimits { calls_max: 1, door: CLIENTS }, &Api::of_the_mesh());
        let request = Request::post(path).header("traceparent", CALLER).body(Body::empty()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { calls.answer(request).await.into_body().collect().await.unwrap() });
    });
    let [span] = spans.as_slice() else { panic!("{spans:?}") };
    (span.clone(), seen.recv().unwrap())
}

#[test]
fn call_continues_the_trace_of_its_caller_and_hands_it_on() {
    let (span, seen) =
        span_of("/ordermesh.orders.v1.OrderService/GetOrder", || Problem::not_found("order", "o").into_http());
    assert_eq!(span.name, "ordermesh.orders.v1.OrderService/GetOrder");
    assert_eq!(trace_context::format(&span.span_context), seen);
    assert_eq!(span.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some("NOT_FOUND"));
    assert_eq!(span.status, SpanStatus::Unset, "a refusal is an answer");
}

#[test]
fn faults_of_the_server_are_errors_of_the_span() {
    let (span, _) = span_of("/ordermesh.orders.v1.OrderService/GetOrder", || Problem::internal().into_http());
    assert!(matches!(span.status, SpanStatus::Error { .. }), "{span:?}");
    assert_eq!(attribute(&span, "error.type").as_deref(), Some("INTERNAL"));
}

#[test]
fn invented_methods_have_no_name_of_their_own() {
    let (span, _) = span_of("/some/invention", || Problem::unknown_method("/some/invention").into_http());
    assert_eq!((span.name.as_ref(), attribute(&span, "rpc.method").as_deref()), ("_OTHER", Some("_OTHER")));
}

#[test]
fn statuses_that_the_library_made_are_explained_and_others_stay() {
    let mut headers = HeaderMap::new();
    assert_eq!(end_in(&mut headers), None);
    Status::new(tonic::Code::OutOfRange, "decoded message length too large: found 9 bytes, the limit is: 8 bytes")
        .add_header(&mut headers)
        .unwrap();
    assert_eq!(end_in(&mut headers), Some(tonic::Code::ResourceExhausted));
    let explained = Problem::from(&Status::from_header_map(&headers).unwrap());
    assert_eq!(explained, Problem::message_too_large(Some(8)));
    assert_eq!(explained.code, Code::ResourceExhausted);
    // Whatever stands in the details of somebody else is not read, for it may be anything.
    headers.insert(Status::GRPC_STATUS_DETAILS, HeaderValue::from_static("!!! no base64"));
    assert_eq!(end_in(&mut headers), Some(tonic::Code::ResourceExhausted));
}
