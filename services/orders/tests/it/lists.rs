//! Lists of one partition, as the gateway asks for them.

use proto::mesh::v1::ReadConsistency;
use proto::mesh::v1::read_consistency::Bound;
use proto::orders::v1::{self as api, OrderState, WaitFor};
use service_host::headers;
use tonic::Request;

use crate::{Client, fields, pass, patient, problem, start, wish};

fn list(partition: u32, message: api::ListOrdersRequest) -> Request<api::ListOrdersRequest> {
    let mut request = patient(message);
    request.metadata_mut().insert(headers::PARTITION, partition.into());
    request
}

/// The ids of each page, up to the last one.
async fn pages(client: &mut Client, message: &api::ListOrdersRequest) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut message = message.clone();
    loop {
        let page = client.list_orders(list(0, message.clone())).await.unwrap().into_inner();
        pages.push(page.orders.into_iter().map(|order| order.order_id).collect());
        if page.next_page_token.is_empty() {
            return pages;
        }
        message.page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn orders_are_listed_by_key_by_customer_and_by_state_a_page_at_a_time() {
    let (running, mut client) = start(1).await;
    let orders = [("o-3", "c-1"), ("o-1", "c-1"), ("o-5", "c-1"), ("o-2", "c-10"), ("o-4", "c-10")];
    for (order_id, customer_id) in orders {
        client.create_order(wish(order_id, customer_id)).await.unwrap();
    }
    pass(&running, "o-5").await;
    let validated = WaitFor::Validated.into();
    let wait = api::GetOrderRequest { order_id: "o-5".into(), wait_for: validated, ..Default::default() };
    client.get_order(patient(wait)).await.unwrap();

    let all = api::ListOrdersRequest { page_size: 2, ..Default::default() };
    assert_eq!(pages(&mut client, &all).await, [vec!["o-1", "o-2"], vec!["o-3", "o-4"], vec!["o-5"]]);
    let exact = api::ListOrdersRequest { page_size: 5, ..Default::default() };
    assert_eq!(pages(&mut client, &exact).await.len(), 1, "a full last page knows that it is the last");
    let of_one = api::ListOrdersRequest { customer_id: "c-1".into(), page_size: 2, ..Default::default() };
    assert_eq!(pages(&mut client, &of_one).await, [vec!["o-1", "o-3"], vec!["o-5"]]);
    let created = OrderState::Created.into();
    let of_both = api::ListOrdersRequest { customer_id: "c-1".into(), state: created, ..Default::default() };
    assert_eq!(pages(&mut client, &of_both).await, [vec!["o-1", "o-3"]]);
    let validated = api::ListOrdersRequest { state: OrderState::Validated.into(), page_size: 1, ..Default::default() };
    assert_eq!(pages(&mut client, &validated).await, [vec!["o-5"]]);
    let nobody = api::ListOrdersRequest { customer_id: "c".into(), ..Default::default() };
    assert_eq!(pages(&mut client, &nobody).await, [Vec::<String>::new()]);
    running.stop().await;
}

#[tokio::test]
async fn a_page_token_belongs_to_its_request_and_partition() {
    let (running, mut client) = start(2).await;
    for number in 0..8 {
        client.create_order(wish(&format!("o-{number}"), "c-1")).await.unwrap();
    }
    let first = api::ListOrdersRequest { page_size: 1, ..Default::default() };
    let page_token = client.list_orders(list(0, first)).await.unwrap().into_inner().next_page_token;
    let resized = api::ListOrdersRequest { page_size: 100, page_token: page_token.clone(), ..Default::default() };
    client.list_orders(list(0, resized.clone())).await.unwrap();
    let elsewhere = client.list_orders(list(1, resized)).await.unwrap_err();
    assert_eq!(fields(&elsewhere), ["page_token belongs to another partition"]);
    let filtered = api::ListOrdersRequest { customer_id: "c-1".into(), page_token, ..Default::default() };
    let filtered = client.list_orders(list(0, filtered)).await.unwrap_err();
    assert_eq!(fields(&filtered), ["page_token belongs to a request with other fields"]);
    let garbage = api::ListOrdersRequest { page_token: "garbage".into(), ..Default::default() };
    let garbage = client.list_orders(list(0, garbage)).await.unwrap_err();
    assert_eq!(fields(&garbage), ["page_token is not a page token of this mesh"]);
    running.stop().await;
}

#[tokio::test]
async fn a_malformed_list_is_refused_with_everything_that_is_wrong() {
    let (running, mut client) = start(2).await;
    let bad = api::ListOrdersRequest {
        state: 77,
        customer_id: "c 1".into(),
        consistency: Some(ReadConsistency { bound: Some(Bound::AtLeast("garbage".into())) }),
        page_size: -1,
        page_token: "garbage".into(),
        ..Default::default()
    };
    let status = client.list_orders(list(0, bad)).await.unwrap_err();
    let wanted = [
        "customer_id must consist of letters, digits, '_', '.' and '-'",
        "state is not a state of an order",
        "consistency.at_least is not a consistency token of this mesh",
        "page_size must not be negative",
        "page_token is not a page token of this mesh",
    ];
    assert_eq!(fields(&status), wanted);
    let status = client.list_orders(api::ListOrdersRequest::default()).await.unwrap_err();
    assert_eq!(problem(&status).reason, "INVALID_FIELD", "an owner lists the partition that is named");
    let status = client.list_orders(list(2, api::ListOrdersRequest::default())).await.unwrap_err();
    assert_eq!(problem(&status).reason, "NOT_OWNER");
    running.stop().await;
}
