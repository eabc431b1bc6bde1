//! How a server ends: no call is lost that can still be answered, and none can hold it for ever.

use super::client::frame;
use super::*;
use crate::Problem;
use http_body_util::BodyExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

fn patient() -> ListenConfig {
    ListenConfig { drain_timeout: SOON, ..Default::default() }
}

/// Waits until nobody listens there any more.
async fn refuses_connections(address: SocketAddr) {
    let deadline = Instant::now() + SOON;
    while TcpStream::connect(address).await.is_ok() {
        assert!(Instant::now() < deadline, "the server still listens");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn call_in_progress_is_answered_and_new_connections_are_refused() {
    let server = Running::start(patient(), LimitsConfig::default()).await;
    let client = server.client().await;
    let call = {
        let client = client.clone();
        tokio::spawn(async move { client.call::<GetOrderResponse>(GET_ORDER, &[], &get("later")).await })
    };
    // Answered on the same connection after the first one was sent, so that the first one has arrived.
    client.call::<GetOrderResponse>(GET_ORDER, &[], &get("o")).await.unwrap();
    server.shutdown.cancel();
    refuses_connections(server.address).await;
    server.go_on.cancel();
    let answer = tokio::time::timeout(SOON, call).await.unwrap().unwrap();
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!(server.stop().await, Drained { connections_cut: 0 });
}

#[tokio::test]
async fn open_stream_is_cut_when_the_drain_timeout_is_over() {
    let drain_timeout = Duration::from_millis(100);
    let server = Running::start(ListenConfig { drain_timeout, ..Default::default() }, LimitsConfig::default()).await;
    let client = server.client().await;
    let mut watch = client.send(WATCH_HEALTH, &[], frame(b"")).await.unwrap().into_body();
    assert!(watch.frame().await.unwrap().unwrap().is_data(), "the stream flows");
    let started = Instant::now();
    assert_eq!(server.stop().await, Drained { connections_cut: 1 });
    assert!(started.elapsed() >= drain_timeout);
    assert!(tokio::time::timeout(SOON, watch.frame()).await.expect("the stream ends").is_none_or(|end| end.is_err()));
}

#[tokio::test]
async fn silent_connections_do_not_hold_the_drain() {
    let server = Running::start(patient(), LimitsConfig::default()).await;
    let silent = TcpStream::connect(server.address).await.unwrap();
    let idle = server.client().await;
    idle.call::<GetOrderResponse>(GET_ORDER, &[], &get("o")).await.unwrap();
    assert_eq!(server.stop().await, Drained { connections_cut: 0 });
    drop(silent);
}

#[tokio::test]
async fn call_with_a_deadline_ends_the_drain_at_its_deadline() {
    let server = Running::start(patient(), LimitsConfig::default()).await;
    let client = server.client().await;
    let call = {
        let client = client.clone();
        let timeout = [("grpc-timeout", "200m")];
        tokio::spawn(async move { client.call::<GetOrderResponse>(GET_ORDER, &timeout, &get("never")).await })
    };
    client.call::<GetOrderResponse>(GET_ORDER, &[], &get("o")).await.unwrap();
    assert_eq!(server.stop().await, Drained { connections_cut: 0 });
    assert_eq!(call.await.unwrap().unwrap_err(), Problem::deadline_exceeded("handling"));
}
