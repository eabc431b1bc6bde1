//! Calls reach the owner of their key, as they are.

use proto::orders::v1::{CreateOrderRequest, GetOrderRequest, GetOrderResponse, Order};
use service_host::headers;
use tonic::Code;

use crate::fixture::{CREATE_ORDER, Fixture, GET_ORDER, Scripted, partition_of};

fn get(order_id: &str) -> GetOrderRequest {
    GetOrderRequest { order_id: order_id.to_owned(), ..Default::default() }
}

fn answer(order_id: &str) -> GetOrderResponse {
    GetOrderResponse { order: Some(Order { order_id: order_id.to_owned(), ..Default::default() }), served_by: None }
}

#[tokio::test]
async fn a_call_is_answered_by_the_owner_of_its_key() {
    let owner = Scripted::answering(&answer("o-17"));
    let gateway = Fixture::new(&owner).await;
    let found = gateway.call(GET_ORDER, &get("o-17")).await;
    assert_eq!(found.ok::<GetOrderResponse>(), answer("o-17"));
    assert_eq!(*gateway.owners.asked.lock().unwrap(), [("orders".to_owned(), partition_of(b"o-17"))]);
    let seen = &owner.seen()[0];
    assert_eq!((seen.path.as_str(), seen.decode::<GetOrderRequest>()), (GET_ORDER, get("o-17")));
}

#[tokio::test]
async fn bytes_of_requests_and_headers_pass_unchanged() {
    let owner = Scripted::answering(&answer("o-17"));
    let gateway = Fixture::new(&owner).await;
    // A field that this gateway does not know yet.
    let mut message = prost::Message::encode_to_vec(&get("o-17"));
    message.extend_from_slice(&[0xfa, 0x3f, 1, b'x']);
    let answer = gateway.call_with(GET_ORDER, &[("x-colour", "blue")], &message).await;
    assert_eq!(answer.status.code(), Code::Ok);
    let seen = &owner.seen()[0];
    assert_eq!(seen.message, message);
    assert_eq!(seen.header("x-colour"), Some("blue"));
    assert_eq!(seen.header("te"), Some("trailers"));
}

#[tokio::test]
async fn refusals_of_the_owner_pass_unchanged() {
    let owner = Scripted::new(|_| async { service_host::Problem::not_found("order", "o-17").into_http() });
    let gateway = Fixture::new(&owner).await;
    let refused = gateway.call(GET_ORDER, &get("o-17")).await;
    assert_eq!(refused.problem(), service_host::Problem::not_found("order", "o-17"));
}

#[tokio::test]
async fn a_missing_key_is_made_and_told_to_the_owner_alone() {
    let owner = Scripted::answering(&());
    let gateway = Fixture::new(&owner).await;
    let request = CreateOrderRequest { request_id: "r-1".to_owned(), ..Default::default() };
    assert_eq!(gateway.call(CREATE_ORDER, &request).await.status.code(), Code::Ok);
    let seen = &owner.seen()[0];
    assert_eq!(seen.decode::<CreateOrderRequest>(), request);
    let key = seen.header(headers::GENERATED_KEY).unwrap();
    assert_eq!(partition_of(key.as_bytes()), partition_of(b"r-1"));
    assert_eq!(gateway.owners.asked.lock().unwrap()[0].1, partition_of(b"r-1"));
}

#[tokio::test]
async fn internal_headers_of_clients_do_not_get_through() {
    let owner = Scripted::answering(&answer("o-17"));
    let gateway = Fixture::new(&owner).await;
    let forged = [(headers::GENERATED_KEY, "forged"), (headers::PARTITION, "3")];
    let message = prost::Message::encode_to_vec(&get("o-17"));
    assert_eq!(gateway.call_with(GET_ORDER, &forged, &message).await.status.code(), Code::Ok);
    let seen = &owner.seen()[0];
    assert_eq!((seen.header(headers::GENERATED_KEY), seen.header(headers::PARTITION)), (None, None));
}

#[tokio::test]
async fn key_of_the_header_must_be_that_of_the_message() {
    let owner = Scripted::answering(&answer("o-17"));
    let gateway = Fixture::new(&owner).await;
    let message = prost::Message::encode_to_vec(&get("o-17"));
    let same = gateway.call_with(GET_ORDER, &[(headers::KEY, "o-17")], &message).await;
    assert_eq!(same.status.code(), Code::Ok);
    let other = gateway.call_with(GET_ORDER, &[(headers::KEY, "o-18")], &message).await;
    assert_eq!(other.refusal(), (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
    let binary = gateway.call_with(GET_ORDER, &[(headers::KEY, "ü")], &message).await;
    assert_eq!(binary.problem().violations[0].field, headers::KEY);
    assert_eq!(owner.seen().len(), 1);
}
