//! OrderService before real tasks: requests as clients send them, and the other services played by the test.

#![expect(clippy::unwrap_used, reason = "the functions here are parts of tests")]

mod lists;
mod outages;
mod requests;
mod waits;

use std::time::Duration;

use prost::Message;
use proto::common::v1::Money;
use proto::inventory::v1::Fulfilment;
use proto::orders::v1 as api;
use proto::orders::v1::order_service_client::OrderServiceClient;
use proto::orders::v1::order_service_server::OrderServiceServer;
use proto::shipping::v1 as shipping;
use proto::validation::v1 as validation;
use service_host::watch::Watched;
use service_host::{Owner, Problem, WatchConfig, Watches, headers};
use testkit::Running;
use tonic::{Request, Status};

pub(crate) type Client = OrderServiceClient<Watched<OrderServiceServer<orders::Orders>>>;

/// Far more than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn start(partitions: u32) -> (Running, Client) {
    let config = orders::Config::default();
    let running = Running::start(orders::definition(&config), partitions).await;
    let owner = Owner::new(running.tasks().clone(), "test-1");
    let watches = Watches::new(WatchConfig::default(), running.log(), partitions);
    let client = OrderServiceClient::new(orders::server(owner, &watches, &config));
    (running, client)
}

pub(crate) fn line(product_id: &str, quantity: i64, minor_units: i64) -> api::OrderLine {
    let unit_price = Some(Money { currency_code: "EUR".into(), minor_units });
    api::OrderLine { product_id: product_id.into(), quantity, unit_price }
}

pub(crate) fn wish(order_id: &str, customer_id: &str) -> api::CreateOrderRequest {
    let lines = vec![line("jumper", 2, 1999)];
    let order = api::Order { order_id: order_id.into(), customer_id: customer_id.into(), lines, ..Default::default() };
    api::CreateOrderRequest { order: Some(order), ..Default::default() }
}

pub(crate) async fn create(client: &mut Client, order_id: &str) -> api::CreateOrderResponse {
    client.create_order(wish(order_id, "c-1")).await.unwrap().into_inner()
}

/// A request with a generous deadline, so that a wait that goes wrong ends the test.
pub(crate) fn patient<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

/// The same as the gateway sends it when it made the order's id.
pub(crate) fn with_generated<T>(message: T, id: &str) -> Request<T> {
    let mut request = patient(message);
    request.metadata_mut().insert(headers::GENERATED_KEY, id.parse().unwrap());
    request
}

pub(crate) async fn pass(running: &Running, order_id: &str) {
    let passed = validation::ValidationPassed { fulfilments: vec![Fulfilment::FromStock.into()] };
    let event = Some(validation::validation_event::Event::Passed(passed));
    let event = validation::ValidationEvent { order_id: order_id.into(), event, ..Default::default() };
    running.record("order-validations", order_id.as_bytes(), event.encode_to_vec()).await;
}

pub(crate) async fn ship(running: &Running, order_id: &str, event: shipping::shipment_event::Event) {
    let event = shipping::ShipmentEvent { order_id: order_id.into(), time: None, event: Some(event) };
    running.record("shipments", order_id.as_bytes(), event.encode_to_vec()).await;
}

pub(crate) fn problem(status: &Status) -> Problem {
    Problem::from(status)
}

pub(crate) fn fields(status: &Status) -> Vec<String> {
    let problem = problem(status);
    assert_eq!(problem.reason, "INVALID_FIELD");
    problem.violations.into_iter().map(|fault| format!("{} {}", fault.field, fault.description)).collect()
}
