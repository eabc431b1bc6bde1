//! Deadlines are kept, passed on and told.

use std::time::{Duration, Instant};

use gateway::Config;
use proto::orders::v1::GetOrderRequest;
use tonic::Code;

use crate::fixture::{Fixture, GET_ORDER, LIST_ORDERS, Scripted};

fn get() -> GetOrderRequest {
    GetOrderRequest { order_id: "o-17".to_owned(), ..Default::default() }
}

#[tokio::test]
async fn a_late_owner_means_deadline_exceeded_in_time() {
    let owner = Scripted::new(|_| std::future::pending());
    let gateway = Fixture::new(&owner).await;
    let begin = Instant::now();
    let message = prost::Message::encode_to_vec(&get());
    // Long enough to reach the owner on a busy machine.
    let answer = gateway.call_with(GET_ORDER, &[("grpc-timeout", "1S")], &message).await;
    assert_eq!(answer.refusal(), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
    assert_eq!(answer.problem().metadata["stage"], "waiting for the owner");
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn the_owner_gets_what_is_left() {
    let owner = Scripted::answering(&());
    let gateway = Fixture::new(&owner).await;
    let message = prost::Message::encode_to_vec(&get());
    gateway.call_with(GET_ORDER, &[("grpc-timeout", "10S")], &message).await;
    let seen = owner.seen();
    let left = service_host::grpc_timeout::parse(seen[0].header("grpc-timeout").unwrap().as_bytes()).unwrap();
    assert!((Duration::from_secs(5)..Duration::from_millis(9_950)).contains(&left), "{left:?}");
}

#[tokio::test]
async fn a_call_without_deadline_gets_one() {
    let owner = Scripted::new(|_| std::future::pending());
    let config = Config { deadline: Duration::from_millis(500), ..Config::default() };
    let gateway = Fixture::configured(&owner, config).await;
    assert_eq!(gateway.call(GET_ORDER, &get()).await.status.code(), Code::DeadlineExceeded);
    assert!(owner.seen()[0].header("grpc-timeout").is_some());
}

#[tokio::test]
async fn an_unreadable_deadline_is_an_invalid_argument() {
    let owner = Scripted::answering(&());
    let gateway = Fixture::new(&owner).await;
    let message = prost::Message::encode_to_vec(&get());
    let answer = gateway.call_with(GET_ORDER, &[("grpc-timeout", "tomorrow")], &message).await;
    assert_eq!(answer.problem().violations[0].field, "grpc-timeout");
    let answer = gateway.call_with(GET_ORDER, &[("grpc-timeout", "0m")], &message).await;
    assert_eq!(answer.status.code(), Code::DeadlineExceeded);
    assert!(owner.seen().is_empty());
}

#[tokio::test]
async fn a_slow_list_keeps_the_deadline_and_names_who_hangs() {
    let owner = Scripted::new(|_| std::future::pending());
    let gateway = Fixture::new(&owner).await;
    let answer = gateway.call_with(LIST_ORDERS, &[("grpc-timeout", "200m")], &[]).await;
    let page: proto::orders::v1::ListOrdersResponse = answer.ok();
    assert_eq!(page.unreachable, ["orders/0", "orders/1", "orders/2", "orders/3"]);
}

#[tokio::test]
async fn who_still_waits_when_the_process_drains_is_told_to_come_back() {
    let owner = Scripted::new(|_| std::future::pending());
    let config = Config { drain_grace: Duration::from_millis(1), ..Config::default() };
    let gateway = Fixture::configured(&owner, config).await;
    let request = get();
    let drain = async {
        while owner.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        gateway.draining.cancel();
    };
    let (answer, ()) = tokio::join!(gateway.call(GET_ORDER, &request), drain);
    assert_eq!(answer.refusal(), (Code::Unavailable, "SHUTTING_DOWN".to_owned()));
    assert!(answer.problem().retry_after.is_some());
}
