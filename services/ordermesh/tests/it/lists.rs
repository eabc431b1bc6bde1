//! Lists through the gateway, over real partitions.

use std::collections::BTreeSet;

use proto::orders::v1::{ListOrdersRequest, Order, OrderState, WaitFor};
use testkit::Mesh;
use tonic::Code;

use crate::shop::{Shop, named, order, reason, timed};

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_every_order_once_in_any_size() {
    let mesh = Mesh::start().await;
    let shop = Shop::new(mesh.channel());
    shop.stock("jumpers", 7).await;
    for n in 0..23 {
        let order_id = format!("o-{n}");
        shop.create(named(&order_id, order(&format!("c-{}", n % 3), &[("jumpers", 1)]))).await.unwrap();
        shop.wait(&order_id, WaitFor::Shipped).await.unwrap();
    }
    let all: BTreeSet<String> = (0..23).map(|n| format!("o-{n}")).collect();
    for page_size in [1, 2, 7, 22, 23, 24, 0] {
        let found = walk(&shop, ListOrdersRequest { page_size, ..Default::default() }).await;
        assert_eq!(found.len(), 23, "in pages of {page_size}");
        assert_eq!(found.into_iter().map(|order| order.order_id).collect::<BTreeSet<_>>(), all);
    }
    let of_customer = ListOrdersRequest { customer_id: "c-1".to_owned(), page_size: 2, ..Default::default() };
    let found = walk(&shop, of_customer).await;
    assert!(found.len() == 8 && found.iter().all(|order| order.customer_id == "c-1"), "{found:?}");
    let shipped = ListOrdersRequest { state: OrderState::Shipped.into(), page_size: 3, ..Default::default() };
    assert_eq!(walk(&shop, shipped).await.len(), 7);
    let rejected = ListOrdersRequest { state: OrderState::Rejected.into(), page_size: 3, ..Default::default() };
    assert_eq!(walk(&shop, rejected).await.len(), 16);
}

/// Every page until the last.
async fn walk(shop: &Shop, request: ListOrdersRequest) -> Vec<Order> {
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListOrdersRequest { page_token, ..request.clone() };
        let page = shop.orders.clone().list_orders(timed(request)).await.unwrap().into_inner();
        assert!(page.unreachable.is_empty());
        found.extend(page.orders);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_pages_are_refused() {
    let mesh = Mesh::start().await;
    let shop = Shop::new(mesh.channel());
    let list = async |page_size: i32, page_token: &str| {
        let request = ListOrdersRequest { page_size, page_token: page_token.to_owned(), ..Default::default() };
        let status = shop.orders.clone().list_orders(timed(request)).await.unwrap_err();
        assert_eq!((status.code(), reason(&status)), (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
        service_host::Problem::from(&status).violations[0].field.clone()
    };
    assert_eq!(list(-1, "").await, "page_size");
    assert_eq!(list(10, "gibberish").await, "page_token");
}
