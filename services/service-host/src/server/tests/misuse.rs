//! What callers may do wrong, and what it costs them and nobody else.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{frame, refused};
use super::*;
use crate::{Code, Problem};
use bytes::Bytes;
use http_body_util::BodyExt;
use proto::orders::v1::CreateOrderResponse;
use tokio::time::Instant;

async fn refusal(client: &Client, path: &str, headers: &[(&str, &str)], body: Bytes) -> Problem {
    client.call_raw::<GetOrderResponse>(path, headers, body).await.unwrap_err()
}

#[tokio::test]
async fn bad_bodies_are_invalid_arguments_and_the_connection_lives() {
    let server = Running::start_default().await;
    let client = server.client().await;
    let garbage: &[&[u8]] = &[b"\xff\xff\xff\xff", b"\x0a\xff", b"\x0a\x02\xff\xfe", b"\x08\x01", b"\x0a\x05ab"];
    for message in garbage {
        let problem = refusal(&client, GET_ORDER, &[], frame(message)).await;
        assert_eq!((problem.code, problem.reason.as_ref()), (Code::InvalidArgument, "INVALID_FIELD"), "{message:?}");
    }
    let bodies: &[&[u8]] = &[b"", b"\x00\x00\x00", b"\x00\x00\x00\x00\x09short", b"\x07\x00\x00\x00\x00"];
    for body in bodies {
        let problem = refusal(&client, GET_ORDER, &[], Bytes::from_static(body)).await;
        assert_eq!((problem.code, problem.reason.as_ref()), (Code::InvalidArgument, "INVALID_FIELD"), "{body:?}");
    }
    assert!(client.call::<GetOrderResponse>(GET_ORDER, &[], &get("o")).await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn messages_over_the_limit_are_refused_with_the_limit() {
    let server = Running::start_default().await;
    let client = server.client().await;
    let problem = refusal(&client, CREATE_ORDER, &[], frame(&vec![0; (1 << 20) + 1])).await;
    assert_eq!(problem, Problem::message_too_large(Some(1 << 20)));
    // At the limit it is read: field 15 holds what fits.
    let len = (1 << 20) - 5;
    let mut message = vec![0x72, 0x80, 0x80, 0x40];
    message[1..].copy_from_slice(&[(len & 0x7f | 0x80) as u8, (len >> 7 & 0x7f | 0x80) as u8, (len >> 14) as u8]);
    message.resize(4 + len, b'x');
    let answer = client.call_raw::<CreateOrderResponse>(CREATE_ORDER, &[], frame(&message)).await;
    assert!(answer.is_ok(), "{answer:?}");
    let problem = client.call::<GetOrderResponse>(GET_ORDER, &[], &get("big")).await.unwrap_err();
    assert_eq!(problem.reason, "MESSAGE_TOO_LARGE", "an answer over the limit says so too: {problem:?}");
    server.stop().await;
}

#[tokio::test]
async fn unknown_methods_and_compression_are_unimplemented() {
    let server = Running::start_default().await;
    let client = server.client().await;
    for path in ["/no.such.Service/Method", "/ordermesh.orders.v1.OrderService/NoSuchMethod", "/"] {
        let problem = refusal(&client, path, &[], frame(b"")).await;
        assert_eq!((problem.code, problem.reason.as_ref()), (Code::Unimplemented, "UNKNOWN_METHOD"), "{path}");
    }
    let problem = refusal(&client, GET_ORDER, &[("grpc-encoding", "gzip")], frame(b"")).await;
    assert_eq!((problem.code, problem.reason.as_ref()), (Code::Unimplemented, "UNSUPPORTED_COMPRESSION"));
    server.stop().await;
}

#[tokio::test]
async fn expired_deadlines_are_deadline_exceeded_for_calls_and_streams() {
    let server = Running::start_default().await;
    let client = server.client().await;
    let started = Instant::now();
    let problem =
        refusal(&client, GET_ORDER, &[("grpc-timeout", "50m")], frame(&[0x0a, 5, b'n', b'e', b'v', b'e', b'r'])).await;
    assert_eq!(problem, Problem::deadline_exceeded("handling"));
    assert!(started.elapsed() >= Duration::from_millis(50));

    let response = client.send(WATCH_HEALTH, &[("grpc-timeout", "50m")], frame(b"")).await.unwrap();
    let trailers = response.into_body().collect().await.unwrap().trailers().cloned().unwrap();
    assert_eq!(refused(&trailers).unwrap_err(), Problem::deadline_exceeded("streaming"));

    let problem = refusal(&client, GET_ORDER, &[("grpc-timeout", "0S")], frame(b"")).await;
    assert_eq!(problem, Problem::deadline_exceeded("received"));
    let problem = refusal(&client, GET_ORDER, &[("grpc-timeout", "soon")], frame(b"")).await;
    assert_eq!(problem.violations[0].field, "grpc-timeout");
    let answer = client.call::<GetOrderResponse>(GET_ORDER, &[("grpc-timeout", "99999999H")], &get("o")).await;
    assert!(answer.is_ok(), "{answer:?}");
    server.stop().await;
}

#[tokio::test]
async fn calls_over_the_limit_are_overloaded_until_one_ends() {
    let limits = LimitsConfig { calls_max: 1, ..Default::default() };
    let server = Running::start(ListenConfig::default(), limits).await;
    let client = server.client().await;
    let watch = client.send(WATCH_HEALTH, &[], frame(b"")).await.unwrap();
    let problem = refusal(&client, GET_ORDER, &[], frame(b"")).await;
    assert_eq!(problem, Problem::overloaded("the instance"));
    assert!(problem.retry_after.is_some());
    drop(watch);
    let deadline = Instant::now() + SOON;
    while client.call::<GetOrderResponse>(GET_ORDER, &[], &get("o")).await.is_err() {
        assert!(Instant::now() < deadline, "the place of the watch was not given back");
        tokio::task::yield_now().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn connections_over_the_limit_are_closed() {
    let limits = LimitsConfig { connections_max: 1, ..Default::default() };
    let server = Running::start(ListenConfig::default(), limits).await;
    let client = server.client().await;
    assert!(client.call::<GetOrderResponse>(GET_ORDER, &[], &get("o")).await.is_ok());
    let mut second = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(tokio::time::timeout(SOON, second.read(&mut [0])).await.expect("it is closed").unwrap(), 0);
    assert!(client.call::<GetOrderResponse>(GET_ORDER, &[], &get("o")).await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn silent_and_foreign_peers_are_cut() {
    let limits = LimitsConfig { handshake_timeout: Duration::from_millis(50), ..Default::default() };
    let server = Running::start(ListenConfig::default(), limits).await;
    for first in [&b""[..], b"PRI * HT", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut peer = TcpStream::connect(server.address).await.unwrap();
        peer.write_all(first).await.unwrap();
        let mut said = Vec::new();
        // A reset is a cut too.
        let ended = tokio::time::timeout(SOON, peer.read_to_end(&mut said)).await;
        assert!(ended.is_ok(), "{first:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn headers_over_the_limit_do_not_reach_the_service() {
    let server = Running::start_default().await;
    let client = server.client().await;
    let huge = "x".repeat(64 << 10);
    let response = client.send(GET_ORDER, &[("x-huge", &huge)], frame(b"")).await;
    assert!(response.as_ref().map_or(true, |response| response.status() == 431), "{response:?}");
    let client = server.client().await;
    assert!(client.call::<GetOrderResponse>(GET_ORDER, &[], &get("o")).await.is_ok());
    server.stop().await;
}
