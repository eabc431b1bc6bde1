//! The service in a mesh with all the others: it hears of payments, answers at the gateway, and lives through a restart.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use loyalty_example::api::loyalty_service_client::LoyaltyServiceClient;
use loyalty_example::api::{GetPointsRequest, RedeemPointsRequest};
use proto::common::v1::Money;
use proto::customers::v1::{CreateCustomerRequest, Customer};
use proto::inventory::v1::{Fulfilment, Product, SetStockRequest, UpsertProductRequest};
use proto::mesh::v1::ReadConsistency;
use proto::mesh::v1::read_consistency::Bound;
use proto::orders::v1::{CreateOrderRequest, Order, OrderLine};
use proto::payments::v1::{Payment, RecordPaymentRequest};
use service_host::{Clock, Problem};
use testkit::Mesh;
use tonic::{Code, Status};

/// How long anything may take on a busy machine before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

async fn mesh() -> Mesh {
    let config = ordermesh::Config { additions: [loyalty_example::addition()].into_iter().collect(), ..Mesh::config() };
    Mesh::with(config, Clock::system()).await
}

/// Mugs to buy, and a customer who buys them.
async fn open_shop(mesh: &Mesh, customer_id: &str) {
    let product = Product { product_id: "mug".into(), fulfilment: Fulfilment::FromStock.into(), ..Product::default() };
    let request = UpsertProductRequest { product: Some(product), ..UpsertProductRequest::default() };
    mesh.inventory().upsert_product(request).await.unwrap();
    let stock = SetStockRequest { product_id: "mug".into(), quantity: 10, ..SetStockRequest::default() };
    mesh.inventory().set_stock(stock).await.unwrap();
    let customer =
        Customer { customer_id: customer_id.to_owned(), first_name: "Ada".to_owned(), ..Customer::default() };
    let request = CreateCustomerRequest { customer: Some(customer), ..CreateCustomerRequest::default() };
    mesh.customers().create_customer(request).await.unwrap();
}

/// An order of one customer that costs so much, and its payment.
async fn buy(mesh: &Mesh, order_id: &str, customer_id: &str, minor_units: i64) {
    let euros = || Some(Money { currency_code: "EUR".to_owned(), minor_units });
    let line = OrderLine { product_id: "mug".to_owned(), quantity: 1, unit_price: euros() };
    let order_id = order_id.to_owned();
    let order = Order {
        order_id: order_id.clone(),
        customer_id: customer_id.to_owned(),
        lines: vec![line],
        ..Order::default()
    };
    let request = CreateOrderRequest { order: Some(order), ..CreateOrderRequest::default() };
    mesh.orders().create_order(request).await.unwrap();
    let payment = Payment { payment_id: "p-1".to_owned(), order_id, amount: euros(), ..Payment::default() };
    let request = RecordPaymentRequest { payment: Some(payment), ..RecordPaymentRequest::default() };
    mesh.payments().record_payment(request).await.unwrap();
}

async fn points(mesh: &Mesh, customer_id: &str, bound: Option<Bound>) -> Result<u64, Status> {
    let consistency = bound.map(|bound| ReadConsistency { bound: Some(bound) });
    let request = GetPointsRequest { customer_id: customer_id.to_owned(), consistency };
    LoyaltyServiceClient::new(mesh.channel()).get_points(request).await.map(|answer| answer.into_inner().points)
}

async fn until_there_are(mesh: &Mesh, customer_id: &str, wanted: u64) {
    let reached = async {
        while points(mesh, customer_id, None).await.unwrap() != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("never {wanted} points"));
}

#[tokio::test(flavor = "multi_thread")]
async fn points_follow_payments_and_live_through_a_restart() {
    let mesh = mesh().await;
    open_shop(&mesh, "c-1").await;
    assert_eq!(points(&mesh, "c-1", None).await.unwrap(), 0);
    buy(&mesh, "o-1", "c-1", 3_998).await;
    buy(&mesh, "o-2", "c-1", 150).await;
    until_there_are(&mesh, "c-1", 40).await;

    let spend = || RedeemPointsRequest { customer_id: "c-1".into(), points: 15, request_id: "r-1".into() };
    let mut client = LoyaltyServiceClient::new(mesh.channel());
    let spent = client.redeem_points(spend()).await.unwrap().into_inner();
    assert_eq!((spent.points, spent.served_by.unwrap().instance.as_str()), (25, "dev"));
    let seen = points(&mesh, "c-1", Some(Bound::AtLeast(spent.consistency_token))).await;
    assert_eq!(seen.unwrap(), 25);

    let mesh = mesh.restart().await;
    let again = LoyaltyServiceClient::new(mesh.channel()).redeem_points(spend()).await.unwrap().into_inner();
    assert_eq!(again.points, 25, "the same request is answered as before");
    assert_eq!(points(&mesh, "c-1", None).await.unwrap(), 25);
    assert_eq!(mesh.records(loyalty_example::POINTS).await.len(), 3);
    assert!(mesh.stop().await.tasks_finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_come_through_the_gateway_with_their_details() {
    let mesh = mesh().await;
    let mut client = LoyaltyServiceClient::new(mesh.channel());
    let bad = RedeemPointsRequest { customer_id: "c/1".into(), points: 0, request_id: "no spaces".into() };
    let refused = Problem::from(&client.redeem_points(bad).await.unwrap_err());
    let mut fields: Vec<&str> = refused.violations.iter().map(|violation| violation.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(
        (refused.code, fields),
        (service_host::Code::InvalidArgument, vec!["customer_id", "points", "request_id"])
    );
    let much = RedeemPointsRequest { customer_id: "c-1".into(), points: 1, request_id: String::new() };
    let refused = client.redeem_points(much).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(Problem::from(&refused).reason, "NOT_ENOUGH_POINTS");
}
