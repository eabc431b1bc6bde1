//! Pages over partitions.

#![expect(clippy::disallowed_methods, reason = "an owner that answers as no owner of ours does")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use gateway::Config;
use proto::mesh::v1::ServedBy;
use proto::orders::v1::{ListOrdersRequest, ListOrdersResponse, Order};
use service_host::{Problem, headers};
use tonic::Code;

use crate::fixture::{Fixture, LIST_ORDERS, Scripted, ok};

/// Orders by partition, as one owner keeps them; a partition can be down.
#[derive(Clone, Default)]
struct Orders(Arc<Mutex<BTreeMap<u32, Kept>>>);

type Kept = Result<Vec<Order>, Problem>;

fn order(order_id: String) -> Order {
    Order { order_id, ..Default::default() }
}

impl Orders {
    /// This many orders in each partition, named `<partition>-<n>`.
    fn new(counts: [usize; 4]) -> Self {
        let orders = |(partition, count): (u32, usize)| {
            (partition, Ok((0..count).map(|n| order(format!("{partition}-{n:04}"))).collect()))
        };
        Self(Arc::new(Mutex::new((0_u32..).zip(counts).map(orders).collect())))
    }

    fn set(&self, partition: u32, orders: Kept) {
        self.0.lock().unwrap().insert(partition, orders);
    }

    /// The inner token is the index to go on with.
    fn page(&self, partition: u32, request: &ListOrdersRequest) -> Result<ListOrdersResponse, Problem> {
        let orders = self.0.lock().unwrap()[&partition].clone()?;
        let begin = if request.page_token.is_empty() { 0 } else { request.page_token.parse().unwrap() };
        let end = orders.len().min(begin + usize::try_from(request.page_size).unwrap());
        let next_page_token = if end < orders.len() { end.to_string() } else { String::new() };
        let partition = i32::try_from(partition).unwrap();
        Ok(ListOrdersResponse {
            orders: orders[begin..end].to_vec(),
            next_page_token,
            unreachable: Vec::new(),
            served_by: vec![ServedBy { partition, ..Default::default() }],
        })
    }

    fn owner(&self) -> Scripted {
        let orders = self.clone();
        Scripted::new(move |seen| {
            let partition = seen.header(headers::PARTITION).unwrap().parse().unwrap();
            let page = orders.page(partition, &seen.decode());
            std::future::ready(page.map_or_else(Problem::into_http, |page| ok(&page)))
        })
    }
}

fn request(page_size: i32, page_token: &str) -> ListOrdersRequest {
    ListOrdersRequest {
        customer_id: "c-1".to_owned(),
        page_size,
        page_token: page_token.to_owned(),
        ..Default::default()
    }
}

fn down() -> Problem {
    Problem::new(service_host::Code::Unavailable, "PARTITION_REBALANCING", "down")
}

/// Every page until the last.
async fn pages(gateway: &Fixture, page_size: i32) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut token = String::new();
    loop {
        let page: ListOrdersResponse = gateway.call(LIST_ORDERS, &request(page_size, &token)).await.ok();
        pages.push(page.orders.into_iter().map(|order| order.order_id).collect());
        if page.next_page_token.is_empty() {
            return pages;
        }
        token = page.next_page_token;
    }
}

#[tokio::test]
async fn pages_cover_all_partitions_once() {
    let orders = Orders::new([5, 0, 3, 4]);
    let gateway = Fixture::new(&orders.owner()).await;
    let whole = pages(&gateway, 100).await.concat();
    assert_eq!(whole.len(), 12);
    for page_size in 1..14 {
        let pages = pages(&gateway, page_size).await;
        assert_eq!(pages.concat(), whole, "in pages of {page_size}");
        assert!(pages.iter().all(|page| page.len() <= usize::try_from(page_size).unwrap()));
        let full = pages.iter().rev().skip(1).all(|page| page.len() == usize::try_from(page_size).unwrap());
        assert!(full, "pages of {page_size} are full but for the last: {pages:?}");
    }
}

#[tokio::test]
async fn owners_get_the_filter_the_rest_of_the_page_and_their_own_token() {
    let owner = Orders::new([2, 3, 0, 0]).owner();
    let gateway = Fixture::new(&owner).await;
    let page: ListOrdersResponse = gateway.call(LIST_ORDERS, &request(4, "")).await.ok();
    assert_eq!(page.served_by.iter().map(|served| served.partition).collect::<Vec<_>>(), [0, 1]);
    gateway.call(LIST_ORDERS, &request(4, &page.next_page_token)).await.ok::<ListOrdersResponse>();
    let asked = owner.seen().into_iter().map(|seen| {
        let request: ListOrdersRequest = seen.decode();
        assert_eq!(request.customer_id, "c-1");
        (seen.header(headers::PARTITION).unwrap().to_owned(), request.page_size, request.page_token)
    });
    // The first alone, then the rest at the same time; what lies behind a full page is asked again for the next one.
    let first = [("0", 4, ""), ("1", 2, ""), ("2", 2, ""), ("3", 2, "")];
    let second = [("1", 4, "2"), ("2", 3, ""), ("3", 3, "")];
    let expected = first.into_iter().chain(second);
    let expected = expected.map(|(partition, size, token)| (partition.to_owned(), size, token.to_owned()));
    assert_eq!(asked.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn page_sizes_are_defaulted_lowered_or_refused() {
    let gateway = Fixture::new(&Orders::new([600, 600, 0, 0]).owner()).await;
    assert_eq!(pages(&gateway, 0).await[0].len(), 50);
    assert_eq!(pages(&gateway, i32::MAX).await[0].len(), 1000);
    let answer = gateway.call(LIST_ORDERS, &request(-1, "")).await;
    assert_eq!(answer.refusal(), (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
    assert_eq!(answer.problem().violations[0].field, "page_size");
}

#[tokio::test]
async fn faults_of_the_page_are_told_with_those_that_the_owner_finds() {
    let owner =
        Scripted::new(|_| std::future::ready(Problem::invalid_field("customer_id", "must not be blank").into_http()));
    let gateway = Fixture::new(&owner).await;
    let fields = async |page_size, page_token| {
        let answer = gateway.call(LIST_ORDERS, &request(page_size, page_token)).await;
        assert_eq!(answer.refusal(), (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
        answer.problem().violations.into_iter().map(|fault| fault.field).collect::<Vec<_>>()
    };
    assert_eq!(fields(-1, "gibberish").await, ["customer_id", "page_size", "page_token"]);
    assert_eq!(fields(3, "gibberish").await, ["customer_id", "page_token"]);
    assert_eq!(fields(3, "").await, ["customer_id"]);

    let orders = Orders::new([5, 5, 5, 5]);
    orders.set(0, Err(down()));
    let gateway = Fixture::new(&orders.owner()).await;
    let answer = gateway.call(LIST_ORDERS, &request(-1, "gibberish")).await;
    assert_eq!(answer.problem().violations.len(), 2, "also when there is no owner to ask");
}

#[tokio::test]
async fn foreign_and_damaged_tokens_are_refused() {
    let gateway = Fixture::new(&Orders::new([5, 5, 5, 5]).owner()).await;
    let page: ListOrdersResponse = gateway.call(LIST_ORDERS, &request(3, "")).await.ok();
    let token = page.next_page_token;
    let other = ListOrdersRequest { customer_id: "c-2".to_owned(), ..request(3, &token) };
    let damaged = format!("{}A", &token[..token.len() - 1]);
    let beyond = service_host::PageToken {
        partition: 77,
        cursor: Vec::new(),
        fingerprint: service_host::token::fingerprint(&request(3, "")),
    };
    for request in [other, request(3, &damaged), request(3, "gibberish"), request(3, &beyond.encode())] {
        let answer = gateway.call(LIST_ORDERS, &request).await;
        assert_eq!(answer.refusal(), (Code::InvalidArgument, "INVALID_FIELD".to_owned()), "{request:?}");
        assert_eq!(answer.problem().violations[0].field, "page_token");
    }
    // Page size and completeness may change on the way.
    let changed = ListOrdersRequest { require_complete: true, ..request(100, &token) };
    assert_eq!(gateway.call(LIST_ORDERS, &changed).await.ok::<ListOrdersResponse>().orders.len(), 17);
}

#[tokio::test]
async fn partitions_that_cannot_answer_are_named() {
    let orders = Orders::new([2, 2, 2, 2]);
    orders.set(1, Err(down()));
    orders.set(3, Err(down()));
    let gateway = Fixture::new(&orders.owner()).await;
    let page: ListOrdersResponse = gateway.call(LIST_ORDERS, &request(50, "")).await.ok();
    assert_eq!((page.orders.len(), page.next_page_token.as_str()), (4, ""));
    assert_eq!(page.unreachable, ["orders/1", "orders/3"]);

    let complete = ListOrdersRequest { require_complete: true, ..request(50, "") };
    let answer = gateway.call(LIST_ORDERS, &complete).await;
    assert_eq!(answer.refusal(), (Code::Unavailable, "PARTITION_UNREACHABLE".to_owned()));
    assert_eq!(answer.problem().metadata["unreachable"], "orders/1,orders/3");
}

#[tokio::test]
async fn what_an_owner_refuses_fails_the_list() {
    let orders = Orders::new([2, 2, 2, 2]);
    orders.set(2, Err(Problem::invalid_field("customer_id", "must not be blank")));
    let gateway = Fixture::new(&orders.owner()).await;
    let answer = gateway.call(LIST_ORDERS, &request(50, "")).await;
    assert_eq!(answer.problem(), Problem::invalid_field("customer_id", "must not be blank"));
}

#[tokio::test]
async fn pages_stay_within_their_bytes() {
    let orders = Orders::new([0, 0, 0, 0]);
    for partition in 0..4 {
        let large = |n| Order { etag: "x".repeat(1000), ..order(format!("{partition}-{n:04}")) };
        orders.set(partition, Ok((0..6).map(large).collect()));
    }
    let config = Config { page_bytes_max: 4096, ..Config::default() };
    let gateway = Fixture::configured(&orders.owner(), config).await;
    let pages = pages(&gateway, 100).await;
    assert_eq!(pages.concat().len(), 24);
    assert!(pages.iter().all(|page| (1..=3).contains(&page.len())), "{pages:?}");
}

#[tokio::test]
async fn an_item_that_fits_no_page_is_an_error_and_no_endless_search() {
    let orders = Orders::new([1, 1, 1, 1]);
    orders.set(2, Ok(vec![Order { etag: "x".repeat(5000), ..order("2-0000".to_owned()) }]));
    let config = Config { page_bytes_max: 4096, ..Config::default() };
    let gateway = Fixture::configured(&orders.owner(), config).await;
    let page: ListOrdersResponse = gateway.call(LIST_ORDERS, &request(100, "")).await.ok();
    assert_eq!(page.orders.len(), 2);
    let answer = gateway.call(LIST_ORDERS, &request(100, &page.next_page_token)).await;
    assert_eq!(answer.refusal(), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()));
}

#[tokio::test]
async fn what_tonic_says_for_an_owner_is_put_into_words_of_ours() {
    let owner = Scripted::new(|_| async {
        tonic::Status::internal("failed to decode Protobuf message: ListOrdersRequest.state: invalid wire type")
            .into_http()
    });
    let gateway = Fixture::new(&owner).await;
    let answer = gateway.call(LIST_ORDERS, &request(50, "")).await;
    assert_eq!(answer.refusal(), (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
}
