//! Callers that wait: for a state, for the end of a cancellation, up to their deadline.

use std::time::{Duration, Instant};

use futures::future::join_all;
use proto::orders::v1::{self as api, OrderState, WaitFor};
use proto::shipping::v1::shipment_event::Event as Shipment;
use proto::shipping::v1::{ShipmentCancelled, ShipmentShipped};
use tonic::{Code, Request};

use crate::{Client, create, pass, patient, problem, ship, start, wish};

fn get(order_id: &str, wait_for: WaitFor) -> api::GetOrderRequest {
    api::GetOrderRequest { order_id: order_id.into(), wait_for: wait_for.into(), ..Default::default() }
}

fn cancel(order_id: &str, etag: &str, request_id: &str) -> Request<api::CancelOrderRequest> {
    let (order_id, etag, request_id) = (order_id.into(), etag.into(), request_id.into());
    patient(api::CancelOrderRequest { order_id, etag, request_id })
}

async fn wait(client: &Client, order_id: &str, wait_for: WaitFor) -> OrderState {
    let answer = client.clone().get_order(patient(get(order_id, wait_for))).await.unwrap();
    answer.into_inner().order.unwrap().state()
}

#[tokio::test]
async fn fifty_callers_wait_for_one_order_and_are_answered_by_the_same_state() {
    let (running, mut client) = start(2).await;
    let waits = join_all((0..50).map(|_| wait(&client, "o-1", WaitFor::Validated)));
    let order = async {
        create(&mut client.clone(), "o-1").await;
        pass(&running, "o-1").await;
    };
    let (states, ()) = tokio::join!(waits, order);
    assert_eq!(states, vec![OrderState::Validated; 50]);
    assert_eq!(wait(&client, "o-1", WaitFor::Created).await, OrderState::Validated);
    ship(&running, "o-1", Shipment::Shipped(ShipmentShipped {})).await;
    assert_eq!(wait(&client, "o-1", WaitFor::Shipped).await, OrderState::Shipped);
    let mut waited = wish("o-1", "c-1");
    waited.wait_for = WaitFor::Shipped.into();
    let again = client.create_order(patient(waited)).await.unwrap().into_inner().order.unwrap();
    assert_eq!(again.state(), OrderState::Shipped);
    running.stop().await;
}

#[tokio::test]
async fn a_wait_ends_before_its_deadline_with_the_stage_that_was_reached() {
    let (running, mut client) = start(2).await;
    let timeout = Duration::from_millis(100);
    let asked = Instant::now();
    let mut request = Request::new(get("o-1", WaitFor::Validated));
    request.set_timeout(timeout);
    let status = client.get_order(request).await.unwrap_err();
    assert!(asked.elapsed() >= timeout / 2);
    assert_eq!((status.code(), &problem(&status).metadata["stage"][..]), (Code::DeadlineExceeded, "UNKNOWN"));

    let mut request = Request::new(api::CreateOrderRequest { wait_for: WaitFor::Shipped.into(), ..wish("o-1", "c-1") });
    request.set_timeout(timeout);
    let status = client.create_order(request).await.unwrap_err();
    let metadata = problem(&status).metadata;
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!((&metadata["stage"][..], &metadata["order_id"][..]), ("CREATED", "o-1"));
    running.stop().await;
}

#[tokio::test]
async fn a_created_order_is_cancelled_at_once() {
    let (running, mut client) = start(2).await;
    create(&mut client, "o-1").await;
    let status = client.cancel_order(cancel("o-1", "7", "")).await.unwrap_err();
    let conflict = problem(&status);
    assert_eq!((status.code(), &conflict.reason[..]), (Code::Aborted, "VERSION_CONFLICT"));
    assert_eq!((&conflict.metadata["current"][..], &conflict.metadata["wanted"][..]), ("1", "7"));

    let first = client.cancel_order(cancel("o-1", "1", "r-1")).await.unwrap().into_inner().order.unwrap();
    assert_eq!((first.state(), &first.etag[..]), (OrderState::Cancelled, "2"));
    let again = client.cancel_order(cancel("o-1", "1", "r-1")).await.unwrap().into_inner().order.unwrap();
    assert_eq!(again, first);
    let status = client.cancel_order(cancel("o-1", "", "r-2")).await.unwrap_err();
    let illegal = problem(&status);
    assert_eq!((status.code(), &illegal.reason[..]), (Code::FailedPrecondition, "ILLEGAL_TRANSITION"));
    assert_eq!((&illegal.metadata["state"][..], &illegal.metadata["command"][..]), ("CANCELLED", "CancelOrder"));
    running.stop().await;
}

#[tokio::test]
async fn a_validated_order_is_cancelled_or_shipped_as_shipping_decides_and_every_repeat_says_so() {
    let (running, mut client) = start(2).await;
    for order_id in ["o-1", "o-2"] {
        create(&mut client, order_id).await;
        pass(&running, order_id).await;
        assert_eq!(wait(&client, order_id, WaitFor::Validated).await, OrderState::Validated);
    }
    // Both wishes are known before shipping decides.
    for (etag, request_id) in [("2", "r-1"), ("", "r-2")] {
        let mut hurried = cancel("o-1", etag, request_id);
        hurried.set_timeout(Duration::from_millis(50));
        let status = client.cancel_order(hurried).await.unwrap_err();
        assert_eq!((status.code(), &problem(&status).metadata["stage"][..]), (Code::DeadlineExceeded, "VALIDATED"));
    }

    let (mut second, mut third) = (client.clone(), client.clone());
    let both = async {
        tokio::join!(client.cancel_order(cancel("o-1", "2", "r-1")), second.cancel_order(cancel("o-1", "", "r-2")))
    };
    let (both, ()) = tokio::join!(both, ship(&running, "o-1", Shipment::Cancelled(ShipmentCancelled {})));
    for answer in [both.0, both.1] {
        assert_eq!(answer.unwrap().into_inner().order.unwrap().state(), OrderState::Cancelled);
    }

    let shipped = async { ship(&running, "o-2", Shipment::Shipped(ShipmentShipped {})).await };
    let (answer, ()) = tokio::join!(third.cancel_order(cancel("o-2", "", "r-3")), shipped);
    let again = third.cancel_order(cancel("o-2", "", "r-3")).await;
    for status in [answer.unwrap_err(), again.unwrap_err()] {
        assert_eq!(problem(&status).metadata["state"], "SHIPPED");
    }
    let status = third.cancel_order(cancel("o-3", "", "")).await.unwrap_err();
    assert_eq!((status.code(), &problem(&status).reason[..]), (Code::NotFound, "ORDER_NOT_FOUND"));
    running.stop().await;
}
