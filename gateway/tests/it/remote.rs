//! An owner at the other end of a connection is called like one in the same process.

#![expect(clippy::disallowed_methods, reason = "an owner that answers as no owner of ours does")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use gateway::Config;
use http_body::Frame;
use proto::orders::v1::order_service_client::OrderServiceClient;
use proto::orders::v1::{
    CreateOrderRequest, GetOrderRequest, GetOrderResponse, Order, WatchOrderRequest, WatchOrderResponse,
};
use tonic::Code;

use crate::fixture::{
    CREATE_ORDER, Fixture, GET_ORDER, LIST_ORDERS, Scripted, WATCH_ORDER, beginning, framed, ok, remote, streamed,
};

fn get() -> GetOrderRequest {
    GetOrderRequest { order_id: "o-17".to_owned(), ..Default::default() }
}

fn create(request_id: &str) -> CreateOrderRequest {
    CreateOrderRequest { order: Some(Order::default()), request_id: request_id.to_owned(), wait_for: 0 }
}

#[tokio::test]
async fn calls_refusals_and_lists_pass() {
    let order = Order { order_id: "o-17".to_owned(), ..Default::default() };
    let expected = GetOrderResponse { order: Some(order), served_by: None };
    let owner = Scripted::answering(&expected);
    let gateway = Fixture::remote(&owner).await;
    assert_eq!(gateway.call(GET_ORDER, &get()).await.ok::<GetOrderResponse>(), expected);
    assert_eq!(gateway.call(LIST_ORDERS, &()).await.status.code(), Code::Ok);
    assert!(owner.seen()[0].header("grpc-timeout").is_some());

    let refusal = service_host::Problem::not_found("order", "o-17");
    let owner =
        Scripted::new(move |_| std::future::ready(service_host::Problem::not_found("order", "o-17").into_http()));
    let gateway = Fixture::remote(&owner).await;
    assert_eq!(gateway.call(GET_ORDER, &get()).await.problem(), refusal);
}

#[tokio::test]
async fn a_refusal_with_many_details_is_the_answer_of_an_owner_that_is_there() {
    // More than connections take unless they are told otherwise.
    let refusal = service_host::Problem::not_found("order", "o-17").with("why", "x".repeat(20_000));
    let refused = refusal.clone();
    let owner = Scripted::new(move |_| std::future::ready(refused.clone().into_http()));
    let gateway = Fixture::remote(&owner).await;
    for (path, message) in
        [(GET_ORDER, prost::Message::encode_to_vec(&get())), (CREATE_ORDER, prost::Message::encode_to_vec(&create("")))]
    {
        assert_eq!(gateway.call_with(path, &[], &message).await.problem(), refusal, "{path}");
    }
    assert_eq!(owner.seen().len(), 2, "nobody was asked again");
}

#[tokio::test]
async fn many_calls_at_once_are_all_answered() {
    let owner = Scripted::answering(&());
    let gateway = Fixture::remote(&owner).await;
    let request = get();
    let calls = (0..300).map(|_| gateway.call(GET_ORDER, &request));
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.status.code() == Code::Ok));
    assert_eq!(owner.seen().len(), 300);
}

#[tokio::test]
async fn an_owner_that_cannot_be_reached_is_unavailable() {
    // A port that was free a moment ago: nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address: http::Uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let config = Config { tries_max: 2, ..Config::default() };
    let gateway = Fixture::with(remote(&address, 1), config).await;
    for (path, message) in [
        (GET_ORDER, prost::Message::encode_to_vec(&get())),
        (CREATE_ORDER, prost::Message::encode_to_vec(&CreateOrderRequest::default())),
    ] {
        let answer = gateway.call_with(path, &[], &message).await;
        assert_eq!(answer.refusal(), (Code::Unavailable, "OWNER_UNREACHABLE".to_owned()));
    }
}

/// An owner whose first answer breaks off in the middle.
fn breaking_off_once() -> Scripted {
    let answered = AtomicBool::new(false);
    Scripted::new(move |_| {
        let first = stream::iter([Ok(Frame::data(framed(b"")))]);
        let cut = streamed(first.chain(stream::once(async { Err(tonic::Status::data_loss("cut")) })));
        std::future::ready(if answered.swap(true, Ordering::Relaxed) { ok(&()) } else { cut })
    })
}

#[tokio::test]
async fn what_may_be_sent_twice_is_sent_again_when_its_answer_breaks_off() {
    for (path, message) in [
        (GET_ORDER, prost::Message::encode_to_vec(&get())),
        (CREATE_ORDER, prost::Message::encode_to_vec(&create("r-1"))),
    ] {
        let owner = breaking_off_once();
        let gateway = Fixture::remote(&owner).await;
        assert_eq!(gateway.call_with(path, &[], &message).await.status.code(), Code::Ok, "{path}");
        assert_eq!(owner.seen().len(), 2);
    }
}

#[tokio::test]
async fn what_may_not_be_sent_twice_ends_with_a_status_when_its_answer_breaks_off() {
    let owner = breaking_off_once();
    let gateway = Fixture::remote(&owner).await;
    let answer = gateway.call(CREATE_ORDER, &create("")).await;
    assert_eq!(answer.refusal(), (Code::Unavailable, "OWNER_UNREACHABLE".to_owned()));
    assert_eq!(owner.seen().len(), 1);
}

#[tokio::test]
async fn what_is_too_large_to_be_held_back_passes_as_it_comes() {
    let owner = Scripted::new(move |_| {
        let parts = stream::iter((0..40).map(|_| Ok(Frame::data(Bytes::from(vec![0; 64 * 1024])))));
        std::future::ready(streamed(parts.chain(stream::once(async { Err(tonic::Status::data_loss("cut")) }))))
    });
    let gateway = Fixture::remote(&owner).await;
    let answer = gateway.call(GET_ORDER, &get()).await;
    assert_eq!(answer.refusal(), (Code::Unavailable, "OWNER_UNREACHABLE".to_owned()));
    assert_eq!(owner.seen().len(), 1, "the caller has the beginning already");
}

#[tokio::test]
async fn a_watch_passes_what_it_is_told_before_it_ends() {
    let gateway = Fixture::remote(&beginning()).await;
    let channel = tonic::transport::Endpoint::from(gateway.address.clone()).connect_lazy();
    let mut orders = OrderServiceClient::new(channel);
    let watch = WatchOrderRequest { order_id: "o-17".to_owned(), ..Default::default() };
    let told = async { orders.watch_order(watch).await.unwrap().into_inner().message().await.unwrap() };
    let told = tokio::time::timeout(Duration::from_secs(10), told).await.expect("it does not wait for the end");
    assert_eq!(told, Some(WatchOrderResponse::default()));
}

#[tokio::test]
async fn an_answer_that_stalls_ends_at_the_deadline() {
    let owner = beginning();
    let gateway = Fixture::new(&owner).await;
    let begin = std::time::Instant::now();
    let message = prost::Message::encode_to_vec(&get());
    let answer = gateway.call_with(GET_ORDER, &[("grpc-timeout", "150m")], &message).await;
    assert_eq!(answer.refusal(), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn watches_that_nobody_reads_from_leave_calls_their_room() {
    const WATCHES: usize = 100;
    let sent = Arc::new(AtomicUsize::new(0));
    let owner = {
        let sent = sent.clone();
        Scripted::new(move |seen| {
            let sent = sent.clone();
            let many = stream::repeat_with(move || {
                sent.fetch_add(1, Ordering::Relaxed);
                Ok::<_, std::convert::Infallible>(Frame::data(framed(&[0; 64 * 1024])))
            });
            std::future::ready(if seen.path == WATCH_ORDER { streamed(many) } else { ok(&()) })
        })
    };
    let gateway = Fixture::remote(&owner).await;
    // What it does not read keeps back what else it asks for on the same connection: it asks for nothing else.
    let watcher = gateway.another_client();
    let watch = prost::Message::encode_to_vec(&WatchOrderRequest { order_id: "o-17".to_owned(), ..Default::default() });
    let mut unread = Vec::new();
    for _ in 0..WATCHES {
        unread.push(watcher.open(WATCH_ORDER, &[], framed(&watch)).await);
    }
    // Until nothing more gets through to anybody.
    let (request, mut before, mut quiet) = (get(), 0, 0);
    while quiet < 50 {
        let answer = gateway.call(GET_ORDER, &request);
        let answer = tokio::time::timeout(Duration::from_secs(20), answer).await.expect("there is room for a call");
        assert_eq!(answer.status.code(), Code::Ok);
        let now = sent.load(Ordering::Relaxed);
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
    }
    assert!(before > WATCHES, "{before} messages for those who do not read");
}
