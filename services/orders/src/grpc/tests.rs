//! The methods over real tasks on a log in memory.

use prost::Message;
use proto::common::v1::Money;
use proto::inventory::v1::Fulfilment;
use proto::validation::v1::validation_event::Event as Decided;
use proto::validation::v1::{ValidationEvent, ValidationPassed};
use testkit::Running;

use super::*;

struct Fixture {
    running: Running,
    service: Orders,
}

impl Fixture {
    async fn start() -> Self {
        let config = Config::default();
        let running = Running::start(crate::definition(&config), 1).await;
        let watches = Watches::new(service_host::WatchConfig::default(), running.log(), 1);
        let service = Orders::new(Owner::new(running.tasks(), "here"), &watches, config);
        Self { running, service }
    }

    async fn create(&self, order_id: &str) {
        let unit_price = Some(Money { currency_code: "EUR".into(), minor_units: 1999 });
        let lines = vec![api::OrderLine { product_id: "jumper".into(), quantity: 1, unit_price }];
        let order = api::Order { order_id: order_id.into(), customer_id: "c-1".into(), lines, ..Default::default() };
        let request = api::CreateOrderRequest { order: Some(order), ..Default::default() };
        self.service.create_order(Request::new(request)).await.unwrap();
    }

    /// An order that waits for its shipment.
    async fn validated(&self, order_id: &str) {
        self.create(order_id).await;
        let event = Decided::Passed(ValidationPassed { fulfilments: vec![Fulfilment::FromStock.into()] });
        let event = ValidationEvent { order_id: order_id.into(), event: Some(event), ..Default::default() };
        self.running.record(topics::ORDER_VALIDATIONS, order_id.as_bytes(), event.encode_to_vec()).await;
        let wait_for = api::WaitFor::Validated.into();
        let request = api::GetOrderRequest { order_id: order_id.into(), wait_for, ..Default::default() };
        self.service.get_order(Request::new(request)).await.unwrap();
    }
}

#[tokio::test]
async fn a_cancellation_that_is_recorded_is_sent_again_only_if_it_can_be_told_from_a_second_one() {
    for (request_id, told) in [("", ("OUTCOME_UNKNOWN", false)), ("r-1", ("PARTITION_REBALANCING", true))] {
        let fixture = Fixture::start().await;
        fixture.validated("o-1").await;
        let service = fixture.service.clone();
        let request =
            api::CancelOrderRequest { order_id: "o-1".into(), request_id: request_id.into(), ..Default::default() };
        let cancelling = tokio::spawn(async move { service.cancel_order(Request::new(request)).await });
        tokio::task::yield_now().await;
        // Commands are processed in their order: what comes behind it is done, and so is it.
        fixture.create("o-2").await;
        fixture.running.stop().await;
        let problem = Problem::from(&cancelling.await.unwrap().unwrap_err());
        assert_eq!((problem.reason.as_ref(), problem.retry_after.is_some()), told, "{problem:?}");
        let outcome = problem.metadata.get("outcome").map(String::as_str);
        assert_eq!(outcome, request_id.is_empty().then_some("recorded"));
    }
}
