//! Single orders: created, repeated, refused, read as fresh as asked for.

use proto::mesh::v1::read_consistency::Bound;
use proto::mesh::v1::{Eventual, ReadConsistency, Role, Strong};
use proto::orders::v1::{self as api, OrderState};
use service_host::ConsistencyToken;
use tonic::Code;

use crate::{create, fields, line, patient, problem, start, wish, with_generated};

fn get(order_id: &str, bound: Bound) -> api::GetOrderRequest {
    let consistency = Some(ReadConsistency { bound: Some(bound) });
    api::GetOrderRequest { order_id: order_id.into(), consistency, ..Default::default() }
}

#[tokio::test]
async fn an_order_reads_back_as_it_was_answered() {
    let (running, mut client) = start(4).await;
    let created = create(&mut client, "o-1").await;
    let order = created.order.unwrap();
    assert_eq!(
        (order.state(), order.etag.as_str(), order.total.clone().unwrap().minor_units),
        (OrderState::Created, "1", 3998)
    );
    assert_eq!((&order.lines, &order.customer_id[..]), (&vec![line("jumper", 2, 1999)], "c-1"));
    let served_by = created.served_by.unwrap();
    let partition = i32::try_from(running.tasks().partition_of(b"o-1")).unwrap();
    assert_eq!((&served_by.instance[..], served_by.role(), served_by.partition), ("test-1", Role::Active, partition));

    let bounds = [
        Bound::Strong(Strong {}),
        Bound::AtLeast(created.consistency_token),
        Bound::MaxStaleness(prost_types::Duration { seconds: 1, nanos: 0 }),
        Bound::Eventual(Eventual {}),
    ];
    for bound in bounds {
        let read = client.get_order(get("o-1", bound.clone())).await.unwrap().into_inner();
        assert_eq!(read.order.as_ref(), Some(&order), "{bound:?}");
        assert!(read.served_by.unwrap().applied_offset >= served_by.applied_offset);
    }
    running.stop().await;
}

#[tokio::test]
async fn tokens_are_held_against_the_partition_that_they_speak_of() {
    let (running, mut client) = start(4).await;
    let token = create(&mut client, "o-1").await.consistency_token;
    let token = ConsistencyToken::decode("", &token).unwrap();
    let ahead = ConsistencyToken { offset: token.offset + 1_000, ..token.clone() };
    let other_life = ConsistencyToken { incarnation: token.incarnation ^ 1, ..token.clone() };
    let elsewhere = ConsistencyToken { partition: (token.partition + 1) % 4, ..ahead.clone() };
    let other_role = ConsistencyToken { role: "inventory".to_owned(), ..other_life.clone() };
    for (token, refusal) in
        [(ahead, Some("NOT_UP_TO_BOUND")), (other_life, Some("INVALID_TOKEN")), (elsewhere, None), (other_role, None)]
    {
        let read = client.get_order(get("o-1", Bound::AtLeast(token.encode()))).await;
        assert_eq!(read.err().map(|status| problem(&status).reason), refusal.map(Into::into), "{token:?}");
    }
    let garbage = client.get_order(get("o-1", Bound::AtLeast("garbage".into()))).await.unwrap_err();
    assert_eq!(fields(&garbage), ["consistency.at_least is not a consistency token of this mesh"]);
    let negative = Bound::MaxStaleness(prost_types::Duration { seconds: -1, nanos: 0 });
    let negative = client.get_order(get("o-1", negative)).await.unwrap_err();
    assert_eq!(fields(&negative), ["consistency.max_staleness must not be negative"]);
    let bad = api::GetOrderRequest { wait_for: 77, ..get("o 1", Bound::AtLeast("garbage".into())) };
    let wanted = [
        "order_id must consist of letters, digits, '_', '.' and '-'",
        "wait_for is not a state to wait for",
        "consistency.at_least is not a consistency token of this mesh",
    ];
    assert_eq!(fields(&client.get_order(bad).await.unwrap_err()), wanted);
    running.stop().await;
}

#[tokio::test]
async fn an_unknown_order_is_not_found_at_once() {
    let (running, mut client) = start(1).await;
    let status =
        client.get_order(api::GetOrderRequest { order_id: "o-1".into(), ..Default::default() }).await.unwrap_err();
    assert_eq!((status.code(), &problem(&status).reason[..]), (Code::NotFound, "ORDER_NOT_FOUND"));
    running.stop().await;
}

#[tokio::test]
async fn a_repeated_request_has_the_first_answer_also_when_the_gateway_made_another_id() {
    let (running, mut client) = start(1).await;
    let request = || api::CreateOrderRequest { request_id: "r-1".into(), ..wish("", "c-1") };
    let first = client.create_order(with_generated(request(), "made-1")).await.unwrap().into_inner().order.unwrap();
    assert_eq!(first.order_id, "made-1");
    let again = client.create_order(with_generated(request(), "made-2")).await.unwrap().into_inner().order.unwrap();
    assert_eq!(again, first);
    // What only says how to answer, and what a client may not decide, is no part of the content.
    let mut dressed = request();
    dressed.wait_for = api::WaitFor::Created.into();
    let order = dressed.order.as_mut().unwrap();
    (order.state, order.etag) = (OrderState::Shipped.into(), "77".into());
    let again = client.create_order(with_generated(dressed, "made-3")).await.unwrap().into_inner().order.unwrap();
    assert_eq!(again, first);

    let other = api::CreateOrderRequest { request_id: "r-1".into(), ..wish("", "c-2") };
    let status = client.create_order(with_generated(other, "made-4")).await.unwrap_err();
    assert_eq!((status.code(), &problem(&status).reason[..]), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
    assert_eq!(problem(&status).metadata["request_id"], "r-1");
    running.stop().await;
}

#[tokio::test]
async fn an_id_names_one_content() {
    let (running, mut client) = start(1).await;
    let first = create(&mut client, "o-1").await.order;
    assert_eq!(create(&mut client, "o-1").await.order, first);
    let status = client.create_order(wish("o-1", "c-2")).await.unwrap_err();
    assert_eq!((status.code(), &problem(&status).reason[..]), (Code::AlreadyExists, "ORDER_EXISTS"));
    running.stop().await;
}

#[tokio::test]
async fn everything_wrong_with_a_request_is_told_at_once() {
    let (running, mut client) = start(1).await;
    let mut request = wish("no spaces", "");
    let order = request.order.as_mut().unwrap();
    order.lines = vec![line("", 1, 1), line("a/b", -1, 1), line("sock", 1, 1), line("sock", 2, i64::MAX)];
    order.lines[2].unit_price = None;
    order.lines[3].unit_price.as_mut().unwrap().currency_code = "EURO".into();
    (request.request_id, request.wait_for) = ("x".repeat(65), 9);
    let status = client.create_order(request).await.unwrap_err();
    let wanted = [
        "request_id must have at most 64 printable ASCII characters",
        "wait_for is not a state to wait for",
        "order.order_id must consist of letters, digits, '_', '.' and '-'",
        "order.customer_id must not be blank",
        "order.lines[0].product_id must not be blank",
        "order.lines[1].product_id must consist of letters, digits, '_', '.' and '-'",
        "order.lines[2].unit_price must be set",
        "order.lines[3].unit_price.currency_code must be a currency code of ISO 4217, such as EUR",
        "order.lines must amount to less than 2^63 minor units",
    ];
    assert_eq!(fields(&status), wanted);

    let status = client.create_order(api::CreateOrderRequest::default()).await.unwrap_err();
    assert_eq!(fields(&status), ["order must be set"]);
    let mut request = wish("", "c-1");
    request.order.as_mut().unwrap().lines.clear();
    let status = client.create_order(request).await.unwrap_err();
    assert_eq!(fields(&status), ["order.order_id must not be blank", "order.lines must have at least one line"]);
    let mut request = wish("o-1", "c-1");
    request.order.as_mut().unwrap().lines = vec![line("sock", 1, 1); 101];
    let status = client.create_order(request).await.unwrap_err();
    assert_eq!(fields(&status), ["order.lines must have at most 100 lines"]);
    running.stop().await;
}

#[tokio::test]
async fn what_a_check_must_reject_is_accepted() {
    let (running, mut client) = start(1).await;
    let mut request = wish("o-1", "c-1");
    let order = request.order.as_mut().unwrap();
    order.lines = vec![line("jumper", -1, 1999), line("sock", 0, -5)];
    order.lines[1].unit_price.as_mut().unwrap().currency_code = "JPY".into();
    let created = client.create_order(patient(request)).await.unwrap().into_inner().order.unwrap();
    assert_eq!((created.state(), created.total), (OrderState::Created, None), "several currencies have no sum");
    running.stop().await;
}
