//! The methods over real tasks on a log in memory.

use proto::mesh::v1::ReadConsistency;
use proto::mesh::v1::read_consistency::Bound;
use service_host::{Problem, headers};
use testkit::Running;

use super::*;

const PARTITIONS: u32 = 2;

struct Fixture {
    running: Running,
    service: Inventory,
}

impl Fixture {
    async fn start() -> Self {
        let running = Running::start(crate::definition(&Config::default()), PARTITIONS).await;
        let service = Inventory::new(Owner::new(running.tasks(), "here"), Config::default());
        Self { running, service }
    }

    async fn upsert(&self, product_id: &str) -> pb::UpsertProductResponse {
        let request = pb::UpsertProductRequest { product: Some(product(product_id)), request_id: String::new() };
        self.service.upsert_product(Request::new(request)).await.unwrap().into_inner()
    }
}

fn product(product_id: &str) -> pb::Product {
    pb::Product {
        product_id: product_id.into(),
        name: format!("The {product_id}"),
        fulfilment: pb::Fulfilment::FromStock.into(),
        ..Default::default()
    }
}

fn reason<T: std::fmt::Debug>(answer: Result<T, Status>) -> Problem {
    Problem::from(&answer.unwrap_err())
}

#[tokio::test]
async fn a_product_is_read_as_it_was_written() {
    let fixture = Fixture::start().await;
    let written = fixture.upsert("jumper").await;
    assert_eq!(written.served_by.unwrap().instance, "here");
    let set = pb::SetStockRequest { product_id: "jumper".into(), quantity: 10, ..Default::default() };
    let set = fixture.service.set_stock(Request::new(set)).await.unwrap().into_inner();
    let at_least = ReadConsistency { bound: Some(Bound::AtLeast(set.consistency_token)) };
    let get = pb::GetProductRequest { product_id: "jumper".into(), consistency: Some(at_least) };
    let read = fixture.service.get_product(Request::new(get)).await.unwrap().into_inner();
    let product = read.product.unwrap();
    assert_eq!(Some(&product), set.product.as_ref());
    assert_eq!((product.name.as_str(), product.stock, product.available), ("The jumper", 10, 10));
    fixture.running.stop().await;
}

#[tokio::test]
async fn a_repeated_request_is_answered_once_whatever_its_output_fields_say() {
    let fixture = Fixture::start().await;
    fixture.upsert("jumper").await;
    let add = || pb::AddStockRequest {
        product_id: "jumper".into(),
        quantity: 4,
        request_id: "r-1".into(),
        ..Default::default()
    };
    let first = fixture.service.add_stock(Request::new(add())).await.unwrap().into_inner();
    let again = fixture.service.add_stock(Request::new(add())).await.unwrap().into_inner();
    assert_eq!((first.product.as_ref().unwrap().stock, &first.product), (4, &again.product));
    let other = fixture.service.add_stock(Request::new(pb::AddStockRequest { quantity: 5, ..add() })).await;
    assert_eq!(reason(other).reason, "REQUEST_ID_REUSED");
    let upsert = |stock| {
        let product = pb::Product { stock, available: stock, name: "Jersey".into(), ..product("jumper") };
        Request::new(pb::UpsertProductRequest { product: Some(product), request_id: "r-2".into() })
    };
    let first = fixture.service.upsert_product(upsert(1)).await.unwrap().into_inner();
    let again = fixture.service.upsert_product(upsert(2)).await.unwrap().into_inner();
    assert_eq!((first.product.as_ref().unwrap().stock, &first.product), (4, &again.product));
    fixture.running.stop().await;
}

#[tokio::test]
async fn every_fault_of_a_request_is_named_at_once() {
    let fixture = Fixture::start().await;
    let product = pb::Product { product_id: "a b".into(), name: "x".repeat(5_000), ..Default::default() };
    let request = pb::UpsertProductRequest { product: Some(product), request_id: " ".into() };
    let problem = reason(fixture.service.upsert_product(Request::new(request)).await);
    let fields: Vec<_> = problem.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["request_id", "product.product_id", "product.name", "product.fulfilment"]);
    let problem = reason(fixture.service.upsert_product(Request::new(pb::UpsertProductRequest::default())).await);
    assert_eq!(problem.violations[0].field, "product");
    let request = pb::SetStockRequest { quantity: -1, ..Default::default() };
    let problem = reason(fixture.service.set_stock(Request::new(request)).await);
    let fields: Vec<_> = problem.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["product_id", "quantity"]);
    let problem = reason(fixture.service.get_product(Request::new(pb::GetProductRequest::default())).await);
    assert_eq!(problem.violations[0].field, "product_id");
    fixture.running.stop().await;
}

#[tokio::test]
async fn an_unknown_product_is_not_found() {
    let fixture = Fixture::start().await;
    let get = pb::GetProductRequest { product_id: "ghost".into(), ..Default::default() };
    let problem = reason(fixture.service.get_product(Request::new(get)).await);
    assert_eq!((problem.code, problem.reason.as_ref()), (service_host::Code::NotFound, "PRODUCT_NOT_FOUND"));
    fixture.running.stop().await;
}

#[tokio::test]
async fn pages_give_every_product_of_a_partition_once() {
    let fixture = Fixture::start().await;
    for number in 0..20 {
        fixture.upsert(&format!("p-{number:02}")).await;
    }
    let mut found = Vec::new();
    for partition in 0..PARTITIONS {
        let mut page_token = String::new();
        loop {
            let list = pb::ListProductsRequest { page_size: 3, page_token, ..Default::default() };
            let mut request = Request::new(list);
            request.metadata_mut().insert(headers::PARTITION, partition.into());
            let page = fixture.service.list_products(request).await.unwrap().into_inner();
            assert!(page.products.len() <= 3);
            found.extend(page.products.into_iter().map(|product| product.product_id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
    }
    found.sort();
    assert_eq!(found, (0..20).map(|number| format!("p-{number:02}")).collect::<Vec<_>>());
    fixture.running.stop().await;
}
