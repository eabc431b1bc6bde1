//! Calls are tried again when that is safe, wanted and affordable, and not otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Response;
use proto::orders::v1::{CreateOrderRequest, GetOrderRequest, Order};
use service_host::{Problem, headers};
use tonic::Code;
use tonic::body::Body;

use crate::fixture::{CREATE_ORDER, Fixture, GET_ORDER, Scripted, ok, partition_of};

/// An owner that refuses this often before it answers.
fn refusing(times: usize, refuse: impl Fn() -> Response<Body> + Send + Sync + 'static) -> Scripted {
    let calls = Arc::new(AtomicUsize::new(0));
    Scripted::new(move |_| {
        let refused = calls.fetch_add(1, Ordering::Relaxed) < times;
        std::future::ready(if refused { refuse() } else { ok(&()) })
    })
}

fn unavailable() -> Response<Body> {
    Problem::overloaded("the owner").retry_after(Duration::from_millis(1)).into_http()
}

fn get() -> GetOrderRequest {
    GetOrderRequest { order_id: "o-17".to_owned(), ..Default::default() }
}

fn create(request_id: &str) -> CreateOrderRequest {
    CreateOrderRequest { order: Some(Order::default()), request_id: request_id.to_owned(), wait_for: 0 }
}

#[tokio::test]
async fn reads_are_repeated() {
    let owner = refusing(2, unavailable);
    let gateway = Fixture::new(&owner).await;
    assert_eq!(gateway.call(GET_ORDER, &get()).await.status.code(), Code::Ok);
    assert_eq!(owner.seen().len(), 3);
}

#[tokio::test]
async fn changes_are_repeated_with_a_request_id_and_the_same_key() {
    let owner = refusing(2, unavailable);
    let gateway = Fixture::new(&owner).await;
    assert_eq!(gateway.call(CREATE_ORDER, &create("r-1")).await.status.code(), Code::Ok);
    let seen = owner.seen();
    assert_eq!(seen.len(), 3);
    let key = seen[0].header(headers::GENERATED_KEY).unwrap();
    assert!(seen.iter().all(|seen| seen.header(headers::GENERATED_KEY) == Some(key)));
}

#[tokio::test]
async fn changes_without_request_id_are_not_repeated() {
    let owner = refusing(1, unavailable);
    let gateway = Fixture::new(&owner).await;
    let answer = gateway.call(CREATE_ORDER, &create("")).await;
    assert_eq!(answer.refusal(), (Code::Unavailable, "OVERLOADED".to_owned()));
    assert_eq!(owner.seen().len(), 1);
}

#[tokio::test]
async fn tries_are_few() {
    let owner = refusing(100, unavailable);
    let gateway = Fixture::new(&owner).await;
    assert_eq!(gateway.call(GET_ORDER, &get()).await.status.code(), Code::Unavailable);
    assert_eq!(owner.seen().len(), 4);
}

#[tokio::test]
async fn what_has_no_advice_to_come_back_is_not_repeated() {
    for refuse in [
        || Problem::new(service_host::Code::Unavailable, "GONE", "gone").into_http(),
        || Problem::version_conflict(1, 2).into_http(),
        || Problem::internal().into_http(),
    ] {
        let owner = refusing(1, refuse);
        let gateway = Fixture::new(&owner).await;
        assert_ne!(gateway.call(GET_ORDER, &get()).await.status.code(), Code::Ok);
        assert_eq!(owner.seen().len(), 1);
    }
}

#[tokio::test]
async fn an_owner_that_has_waited_for_its_log_is_not_asked_to_wait_again() {
    let owner = refusing(1, || Problem::log_unavailable("try again", Duration::from_secs(4)).into_http());
    let gateway = Fixture::new(&owner).await;
    let answer = gateway.call(GET_ORDER, &get()).await;
    assert_eq!(answer.refusal(), (Code::Unavailable, "LOG_UNAVAILABLE".to_owned()));
    assert_eq!(owner.seen().len(), 1);
}

#[tokio::test]
async fn no_wait_goes_beyond_the_deadline() {
    let owner = refusing(1, || Problem::rebalancing("orders", 1).retry_after(Duration::from_secs(60)).into_http());
    let gateway = Fixture::new(&owner).await;
    let message = prost::Message::encode_to_vec(&get());
    let answer = gateway.call_with(GET_ORDER, &[("grpc-timeout", "200m")], &message).await;
    assert_eq!(answer.refusal(), (Code::Unavailable, "PARTITION_REBALANCING".to_owned()));
    assert_eq!(owner.seen().len(), 1);
}

#[tokio::test]
async fn repeated_tries_are_a_share_of_all_calls() {
    let owner = refusing(usize::MAX, unavailable);
    let gateway = Fixture::new(&owner).await;
    let begin = Instant::now();
    let request = get();
    futures::future::join_all((0..200).map(|_| gateway.call(GET_ORDER, &request))).await;
    // 200 calls, a tenth of them again, and what is always allowed: 10 a second, for a window of ten seconds at once.
    let allowed = 200 + 20 + 100 + 10 * usize::try_from(begin.elapsed().as_secs() + 1).unwrap();
    let tries = owner.seen().len();
    assert!((201..=allowed).contains(&tries), "{tries} tries of {allowed}");
}

#[tokio::test]
async fn a_partition_without_owner_is_waited_for_whatever_the_call() {
    let owner = refusing(0, unavailable);
    let gateway = Fixture::new(&owner).await;
    let partition = partition_of(b"o-17");
    gateway.owners.without.lock().unwrap().insert(partition);
    let request = CreateOrderRequest {
        order: Some(Order { order_id: "o-17".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let found = async {
        while gateway.owners.asked.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        gateway.owners.without.lock().unwrap().clear();
    };
    let (answer, ()) = tokio::join!(gateway.call(CREATE_ORDER, &request), found);
    assert_eq!(answer.status.code(), Code::Ok);

    gateway.owners.without.lock().unwrap().insert(partition);
    let answer = gateway.call_with(GET_ORDER, &[("grpc-timeout", "300m")], b"\x0a\x04o-17").await;
    assert_eq!(answer.refusal(), (Code::Unavailable, "PARTITION_REBALANCING".to_owned()));
    assert!(answer.problem().retry_after.is_some());
}
