//! What is refused before any owner hears of it.

use std::time::Duration;

use bytes::Bytes;
use gateway::Config;
use http::StatusCode;
use prost::Message;
use proto::orders::v1::GetOrderRequest;
use tonic::Code;

use crate::fixture::{Fixture, GET_ORDER, LIST_ORDERS, MESSAGE_BYTES_MAX, Scripted, WATCH_ORDER, framed};

async fn fixture() -> (Scripted, Fixture) {
    let owner = Scripted::answering(&());
    let config = Config { request_bytes_max: 4096, ..Config::default() };
    let gateway = Fixture::configured(&owner, config).await;
    (owner, gateway)
}

fn invalid() -> (Code, String) {
    (Code::InvalidArgument, "INVALID_FIELD".to_owned())
}

#[tokio::test]
async fn unknown_methods_and_services_are_unimplemented() {
    let (owner, gateway) = fixture().await;
    for path in ["/ordermesh.orders.v1.OrderService/Nothing", "/other.Service/GetOrder", "/", "/x"] {
        let answer = gateway.call_raw(path, &[], Bytes::new()).await;
        assert_eq!(answer.refusal(), (Code::Unimplemented, "UNKNOWN_METHOD".to_owned()), "{path}");
    }
    // Its path comes back in the answer, which clients take no larger than their own limit.
    let long = format!("/other.Service/{}", "x".repeat(8_000));
    let answer = gateway.call_raw(&long, &[], Bytes::new()).await;
    assert_eq!(answer.refusal(), (Code::Unimplemented, "UNKNOWN_METHOD".to_owned()));
    assert!(answer.headers.iter().map(|(_, value)| value.len()).sum::<usize>() < 1_000, "{:?}", answer.headers);
    assert!(owner.seen().is_empty());
}

#[tokio::test]
async fn what_is_not_grpc_is_an_unsupported_media_type() {
    let (owner, gateway) = fixture().await;
    for content_type in ["application/json", "application/grpc-web+proto", "application/grpc+json"] {
        let answer = gateway.call_with(GET_ORDER, &[("content-type", content_type)], b"\x0a\x01o").await;
        assert_eq!(answer.http, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
    }
    assert!(owner.seen().is_empty());
}

#[tokio::test]
async fn garbage_is_an_invalid_argument_with_the_path_of_the_key() {
    let (owner, gateway) = fixture().await;
    for message in [&[0xff_u8; 40][..], &[0x0a, 200, 1], &[0x0a, 1, 0xff]] {
        let answer = gateway.call_with(GET_ORDER, &[], message).await;
        assert_eq!(answer.refusal(), invalid(), "{message:?}");
        assert_eq!(answer.problem().violations[0].field, "order_id");
    }
    for body in [&b""[..], b"\0\0\0\0\x09abc", b"hello, world", b"\0\0\0\0\0\0\0\0\0\0"] {
        let answer = gateway.call_raw(GET_ORDER, &[], Bytes::from_static(body)).await;
        assert_eq!(answer.refusal(), invalid(), "{body:?}");
    }
    assert_eq!(gateway.call_with(LIST_ORDERS, &[], &[0xff; 40]).await.refusal(), invalid());
    assert!(owner.seen().is_empty());
}

#[tokio::test]
async fn oversize_messages_are_resource_exhausted() {
    let (owner, gateway) = fixture().await;
    let request = GetOrderRequest { order_id: "o".repeat(MESSAGE_BYTES_MAX + 1), ..Default::default() };
    let answer = gateway.call(GET_ORDER, &request).await;
    assert_eq!(answer.refusal(), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()));
    // 4 GiB announced, nothing sent.
    let answer = gateway.call_raw(GET_ORDER, &[], Bytes::from_static(b"\0\xff\xff\xff\xff")).await;
    assert_eq!(answer.refusal(), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()));
    assert!(owner.seen().is_empty());
}

#[tokio::test]
async fn compressed_messages_are_refused_with_what_would_be_accepted() {
    let (owner, gateway) = fixture().await;
    let answer = gateway.call_with(GET_ORDER, &[("grpc-encoding", "gzip")], b"\x0a\x01o").await;
    assert_eq!(answer.refusal(), (Code::Unimplemented, "UNSUPPORTED_COMPRESSION".to_owned()));
    assert_eq!(answer.headers["grpc-accept-encoding"], "identity");
    let answer = gateway.call_raw(GET_ORDER, &[], Bytes::from_static(b"\x01\0\0\0\x03\x0a\x01o")).await;
    assert_eq!(answer.refusal().0, Code::Internal);
    let answer = gateway.call_with(GET_ORDER, &[("grpc-encoding", "identity")], b"\x0a\x01o").await;
    assert_eq!(answer.status.code(), Code::Ok);
    assert_eq!(owner.seen().len(), 1);
}

#[tokio::test]
async fn requests_that_wait_hold_bounded_memory() {
    let owner = Scripted::new(|_| std::future::pending());
    // Two of these requests fit.
    let gateway = Fixture::configured(&owner, Config { request_bytes_max: 4096, ..Config::default() }).await;
    let request = GetOrderRequest { order_id: "o".repeat(1500), ..Default::default() };
    let waiting = futures::future::join(gateway.call(GET_ORDER, &request), gateway.call(GET_ORDER, &request));
    let third = async {
        while owner.seen().len() < 2 {
            tokio::task::yield_now().await;
        }
        gateway.call(GET_ORDER, &request).await
    };
    let refused = tokio::select! {
        _ = waiting => panic!("the owner never answers"),
        refused = third => refused,
    };
    assert_eq!(refused.refusal(), (Code::Unavailable, "OVERLOADED".to_owned()));
    assert!(refused.problem().retry_after.is_some());
}

/// A request whose last byte never comes.
fn all_but_its_end(message: &[u8]) -> tonic::body::Body {
    let mut begin = framed(message);
    begin.truncate(begin.len() - 1);
    let begin = futures::stream::iter([Ok::<_, std::convert::Infallible>(http_body::Frame::data(begin))]);
    let body = futures::StreamExt::chain(begin, futures::stream::pending());
    tonic::body::Body::new(http_body_util::StreamBody::new(body))
}

#[tokio::test]
async fn a_request_that_does_not_end_gives_its_memory_back_whatever_the_method_and_its_deadline() {
    let owner = Scripted::answering(&());
    // Two of these requests fit.
    let config = Config { request_bytes_max: 4096, deadline: Duration::from_millis(500), ..Config::default() };
    let gateway = Fixture::configured(&owner, config).await;
    let request = GetOrderRequest { order_id: "o".repeat(1500), ..Default::default() }.encode_to_vec();
    for (path, headers) in [
        (WATCH_ORDER, &[][..]),
        (WATCH_ORDER, &[("grpc-timeout", "1H")]),
        (GET_ORDER, &[("grpc-timeout", "1H")]),
        (GET_ORDER, &[]),
    ] {
        let half = || gateway.call_body(path, headers, all_but_its_end(&request));
        let halves = futures::future::join(half(), half());
        let (first, second) = tokio::time::timeout(Duration::from_secs(20), halves).await.expect("both end");
        for answer in [first, second] {
            assert_eq!(answer.refusal(), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()), "{path}");
            assert_eq!(answer.problem().metadata["stage"], "reading the request");
        }
        assert_eq!(gateway.call_with(GET_ORDER, &[], &request).await.status.code(), Code::Ok, "{path}");
    }
}

#[tokio::test]
async fn configurations_that_make_no_sense_are_refused() {
    let wrong = [
        Config { request_bytes_max: 100, ..Config::default() },
        Config { tries_max: 0, ..Config::default() },
        Config { retry_percent: 2000, ..Config::default() },
        Config { deadline: Duration::ZERO, ..Config::default() },
    ];
    for config in wrong {
        let refused = config.check(1000).unwrap_err();
        assert!(refused.starts_with("gateway."), "{refused}");
    }
    Config::default().check(1 << 20).unwrap();
}
