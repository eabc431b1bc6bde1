//! The whole definition without a log: what is emitted, what is stored, what a client is answered.

use prost::Message;
use proto::common::v1::Money;
use proto::orders::v1 as orders;
use proto::orders::v1::order_event;
use proto::payments::v1 as pb;
use proto::payments::v1::payment_event::Event;
use service_host::{Problem, reply};
use testkit::Driver;

use super::commands::RECORD_PAYMENT;
use crate::stores::ACCOUNTS;
use crate::{Config, topics};

struct Cashier {
    driver: Driver,
}

impl Cashier {
    fn new() -> Self {
        Self { driver: Driver::new(crate::definition(&Config { payments_per_order_max: 3 })) }
    }

    fn order_event(&mut self, order_id: &str, event: order_event::Event) {
        let event = orders::OrderEvent { order_id: order_id.into(), event: Some(event), ..Default::default() };
        self.driver.record("orders", order_id.as_bytes(), event.encode_to_vec());
    }

    fn created(&mut self, order_id: &str, cents: i64) {
        let order = orders::Order { customer_id: "c-1".into(), total: Some(eur(cents)), ..Default::default() };
        self.order_event(order_id, order_event::Event::Created(orders::OrderCreated { order: Some(order) }));
    }

    fn pay(
        &mut self,
        order_id: &str,
        payment_id: &str,
        amount: Money,
        request_id: Option<&str>,
    ) -> Result<pb::RecordPaymentResponse, Problem> {
        let payment = pb::Payment {
            payment_id: payment_id.into(),
            order_id: order_id.into(),
            amount: Some(amount),
            ..Default::default()
        };
        let request = pb::RecordPaymentRequest { payment: Some(payment), ..Default::default() };
        let (key, made) = (order_id.as_bytes(), format!("made-{}", self.driver.now_ms()));
        reply::decode(self.driver.command(RECORD_PAYMENT, key, request_id, request.encode_to_vec(), made).unwrap())
    }

    /// What was told since the last call, in short.
    fn told(&mut self) -> Vec<String> {
        let short = |record: testkit::Emitted| match record.topic.as_str() {
            topics::PAYMENTS => {
                let event = pb::PaymentEvent::decode(record.value).unwrap();
                assert_eq!(event.order_id.as_bytes(), record.key);
                let id = |payment: Option<pb::Payment>| payment.unwrap().payment_id;
                match event.event.unwrap() {
                    Event::Recorded(recorded) => format!("{} recorded {}", event.order_id, id(recorded.payment)),
                    Event::Booked(booked) => format!("{} booked {}", event.order_id, id(booked.payment)),
                    Event::Refused(refused) => format!("{} refused {}", event.order_id, id(refused.payment)),
                    Event::Settled(settled) => {
                        format!("{} settled {}", event.order_id, settled.due.unwrap().minor_units)
                    }
                }
            }
            topics::ORDER_PAYMENTS => {
                let paid = pb::OrderPaid::decode(record.value).unwrap();
                assert_eq!(paid.customer_id.as_bytes(), record.key);
                format!("{} paid {} by {}", paid.order_id, paid.amount.unwrap().minor_units, paid.customer_id)
            }
            other => other.to_owned(),
        };
        self.driver.emitted().into_iter().map(short).collect()
    }
}

fn eur(minor_units: i64) -> Money {
    Money { currency_code: "EUR".into(), minor_units }
}

fn usd(minor_units: i64) -> Money {
    Money { currency_code: "USD".into(), minor_units }
}

#[test]
fn an_order_is_paid_in_two_parts_and_told_once() {
    let mut cashier = Cashier::new();
    cashier.created("o-1", 10);
    assert_eq!(cashier.told(), [""; 0]);
    let first = cashier.pay("o-1", "p-1", eur(4), None).unwrap();
    assert_eq!((first.paid, first.balance), (Some(eur(4)), Some(eur(6))));
    assert_eq!(cashier.told(), ["o-1 recorded p-1"]);
    let second = cashier.pay("o-1", "p-2", eur(7), None).unwrap();
    assert_eq!((second.state, second.balance), (pb::SettlementState::Overpaid.into(), Some(eur(-1))));
    assert_eq!(cashier.told(), ["o-1 recorded p-2", "o-1 settled 10", "o-1 paid 10 by c-1"]);
    cashier.created("o-1", 10);
    cashier.pay("o-1", "p-3", eur(1), None).unwrap();
    assert_eq!(cashier.told(), ["o-1 recorded p-3"]);
}

#[test]
fn a_payment_before_its_order_waits_for_it() {
    let mut cashier = Cashier::new();
    let early = cashier.pay("o-1", "p-1", eur(10), None).unwrap();
    assert_eq!(early.payment.unwrap().state(), pb::PaymentState::Pending);
    assert_eq!((early.paid, early.balance), (Some(eur(10)), None));
    cashier.pay("o-1", "p-2", usd(10), None).unwrap();
    assert_eq!(cashier.told(), ["o-1 recorded p-1", "o-1 recorded p-2"]);
    cashier.driver.advance_to(365 * 24 * 3600 * 1000);
    cashier.created("o-1", 10);
    assert_eq!(cashier.told(), ["o-1 booked p-1", "o-1 refused p-2", "o-1 settled 10", "o-1 paid 10 by c-1"]);
}

#[test]
fn a_repeat_by_request_or_by_payment_changes_nothing() {
    let mut cashier = Cashier::new();
    cashier.created("o-1", 10);
    let first = cashier.pay("o-1", "p-1", eur(4), Some("r-1")).unwrap();
    cashier.told();
    let row = cashier.driver.get(ACCOUNTS, b"o-1");
    assert_eq!(cashier.pay("o-1", "p-1", eur(4), Some("r-1")).unwrap(), first);
    assert_eq!(cashier.pay("o-1", "p-1", eur(4), Some("r-2")).unwrap(), first);
    assert_eq!(cashier.pay("o-1", "p-1", eur(4), None).unwrap(), first);
    assert_eq!((cashier.told(), cashier.driver.get(ACCOUNTS, b"o-1")), (vec![], row));
}

#[test]
fn a_payment_without_an_id_gets_one_that_a_repeat_finds_again() {
    let mut cashier = Cashier::new();
    cashier.created("o-1", 10);
    let first = cashier.pay("o-1", "", eur(4), Some("r-1")).unwrap();
    assert_eq!(first.payment.as_ref().unwrap().payment_id, "made-0");
    cashier.driver.advance_to(7);
    assert_eq!(cashier.pay("o-1", "", eur(4), Some("r-1")).unwrap(), first);
    let other = cashier.pay("o-1", "", eur(4), Some("r-2")).unwrap();
    assert_eq!((other.payment.unwrap().payment_id.as_str(), other.paid), ("made-7", Some(eur(8))));
}

#[test]
fn refusals_have_their_reasons() {
    let mut cashier = Cashier::new();
    cashier.created("o-1", 10);
    let refused = cashier.pay("o-1", "p-1", usd(10), None).unwrap_err();
    assert_eq!((refused.reason.as_ref(), refused.metadata["wanted"].as_str()), ("CURRENCY_MISMATCH", "EUR"));
    cashier.pay("o-1", "p-1", eur(1), None).unwrap();
    let refused = cashier.pay("o-1", "p-1", eur(2), None).unwrap_err();
    assert_eq!((refused.code, refused.reason.as_ref()), (service_host::Code::AlreadyExists, "PAYMENT_EXISTS"));
    cashier.pay("o-1", "p-2", eur(i64::MAX - 1), None).unwrap();
    assert_eq!(cashier.pay("o-1", "p-3", eur(1), None).unwrap_err().reason, "AMOUNT_TOO_LARGE");
    cashier.pay("o-2", "p-1", eur(1), None).unwrap();
    cashier.pay("o-2", "p-2", eur(1), None).unwrap();
    cashier.pay("o-2", "p-3", eur(1), None).unwrap();
    assert_eq!(cashier.pay("o-2", "p-4", eur(1), None).unwrap_err().reason, "TOO_MANY_PAYMENTS");
    let order = orders::Order { customer_id: "c-1".into(), ..Default::default() };
    cashier.order_event("o-3", order_event::Event::Created(orders::OrderCreated { order: Some(order) }));
    assert_eq!(cashier.pay("o-3", "p-1", eur(1), None).unwrap_err().reason, "ORDER_HAS_NO_TOTAL");
}

#[test]
fn a_rejected_or_cancelled_order_is_not_told_to_be_paid() {
    let mut cashier = Cashier::new();
    let ends = [
        order_event::Event::Rejected(orders::OrderRejected::default()),
        order_event::Event::Cancelled(orders::OrderCancelled {}),
    ];
    for (order_id, end) in ["o-1", "o-2"].iter().zip(ends) {
        cashier.created(order_id, 10);
        cashier.order_event(order_id, end);
        let answer = cashier.pay(order_id, "p-1", eur(10), None).unwrap();
        assert_eq!((answer.state, answer.balance), (pb::SettlementState::Overpaid.into(), Some(eur(-10))));
        assert_eq!(cashier.told(), [format!("{order_id} recorded p-1")]);
    }
}

#[test]
fn poison_is_put_aside() {
    let mut cashier = Cashier::new();
    cashier.driver.record("orders", b"o-1", &b"\xff\xff"[..]);
    let event = orders::OrderEvent { order_id: "o-2".into(), ..Default::default() };
    cashier.driver.record("orders", b"o-1", event.encode_to_vec());
    cashier.order_event("o-1", order_event::Event::Created(orders::OrderCreated { order: None }));
    assert_eq!(cashier.told(), ["payments-dead-letters"; 3]);
    // A kind of event that this version does not know is no fault.
    cashier.driver.record("orders", b"o-2", event.encode_to_vec());
    assert_eq!(cashier.told(), [""; 0]);
    assert_eq!(cashier.driver.get(ACCOUNTS, b"o-1"), None);
}
