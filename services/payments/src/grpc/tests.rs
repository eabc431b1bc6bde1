//! The methods over real tasks on a log in memory.

use proto::common::v1::Money;
use proto::mesh::v1::ReadConsistency;
use proto::mesh::v1::read_consistency::Bound;
use proto::orders::v1::{Order, OrderCreated, OrderEvent, order_event};
use testkit::Running;

use super::*;
use crate::{Config, topics};

struct Fixture {
    running: Running,
    service: Payments,
}

impl Fixture {
    async fn start() -> Self {
        let running = Running::start(crate::definition(&Config::default()), 2).await;
        let service = Payments::new(Owner::new(running.tasks(), "here"));
        Self { running, service }
    }

    async fn pay(&self, payment: pb::Payment, request_id: &str) -> Result<pb::RecordPaymentResponse, Problem> {
        let request = pb::RecordPaymentRequest { payment: Some(payment), request_id: request_id.into() };
        let answer = self.service.record_payment(Request::new(request)).await;
        answer.map(Response::into_inner).map_err(|status| Problem::from(&status))
    }

    async fn get(
        &self,
        order_id: &str,
        consistency: Option<ReadConsistency>,
    ) -> Result<pb::GetPaymentResponse, Problem> {
        let request = pb::GetPaymentRequest { order_id: order_id.into(), consistency };
        let answer = self.service.get_payment(Request::new(request)).await;
        answer.map(Response::into_inner).map_err(|status| Problem::from(&status))
    }
}

fn payment(order_id: &str, payment_id: &str, minor_units: i64) -> pb::Payment {
    pb::Payment {
        payment_id: payment_id.into(),
        order_id: order_id.into(),
        amount: Some(Money { currency_code: "EUR".into(), minor_units }),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_payment_is_read_as_it_was_recorded() {
    let fixture = Fixture::start().await;
    let order = Order {
        customer_id: "c-1".into(),
        total: Some(Money { currency_code: "EUR".into(), minor_units: 10 }),
        ..Default::default()
    };
    let event = order_event::Event::Created(OrderCreated { order: Some(order) });
    let event = OrderEvent { order_id: "o-1".into(), event: Some(event), ..Default::default() };
    fixture.running.record(topics::ORDERS, b"o-1", event.encode_to_vec()).await;
    let written = fixture.pay(payment("o-1", "p-1", 10), "r-1").await.unwrap();
    assert_eq!(written.served_by.unwrap().instance, "here");
    let at_least = ReadConsistency { bound: Some(Bound::AtLeast(written.consistency_token)) };
    let read = fixture.get("o-1", Some(at_least)).await.unwrap();
    assert_eq!((read.payments[0].payment_id.as_str(), read.payments.len()), ("p-1", 1));
    assert_eq!(read.paid.unwrap().minor_units, 10);
    let settled = async {
        loop {
            let read = fixture.get("o-1", None).await.unwrap();
            if read.state() == pb::SettlementState::Paid {
                return read;
            }
            tokio::task::yield_now().await;
        }
    };
    let read = tokio::time::timeout(std::time::Duration::from_secs(20), settled).await.expect("the order comes");
    assert_eq!((read.customer_id.as_str(), read.balance.unwrap().minor_units), ("c-1", 0));
    fixture.running.stop().await;
}

#[tokio::test]
async fn a_repeated_request_is_answered_once_whatever_its_output_fields_say() {
    let fixture = Fixture::start().await;
    let first = fixture.pay(payment("o-1", "", 10), "r-1").await.unwrap();
    let state = pb::PaymentState::Refused.into();
    let again = fixture.pay(pb::Payment { state, ..payment("o-1", "", 10) }, "r-1").await.unwrap();
    assert_eq!(first.payment, again.payment);
    assert_eq!(first.payment.unwrap().payment_id.len(), 36);
    let other = fixture.pay(payment("o-1", "", 11), "r-1").await.unwrap_err();
    assert_eq!(other.reason, "REQUEST_ID_REUSED");
    fixture.running.stop().await;
}

#[tokio::test]
async fn every_fault_of_a_request_is_named_at_once() {
    let fixture = Fixture::start().await;
    let amount = Some(Money { currency_code: "euro".into(), minor_units: 0 });
    let bad = pb::Payment { payment_id: "a b".into(), order_id: String::new(), amount, ..Default::default() };
    let problem = fixture.pay(bad, " ").await.unwrap_err();
    let fields: Vec<_> = problem.violations.iter().map(|violation| violation.field.as_str()).collect();
    let wanted = [
        "request_id",
        "payment.payment_id",
        "payment.order_id",
        "payment.amount.currency_code",
        "payment.amount.minor_units",
    ];
    assert_eq!(fields, wanted);
    let problem = fixture.pay(pb::Payment { amount: None, ..payment("o-1", "p-1", 1) }, "").await.unwrap_err();
    assert_eq!(problem.violations[0].field, "payment.amount");
    let empty = fixture.service.record_payment(Request::new(pb::RecordPaymentRequest::default())).await;
    assert_eq!(Problem::from(&empty.unwrap_err()).violations[0].field, "payment");
    assert_eq!(fixture.get("", None).await.unwrap_err().violations[0].field, "order_id");
    let unknown = fixture.get("o-9", None).await.unwrap_err();
    assert_eq!((unknown.code, unknown.reason.as_ref()), (service_host::Code::NotFound, "PAYMENT_NOT_FOUND"));
    fixture.running.stop().await;
}
