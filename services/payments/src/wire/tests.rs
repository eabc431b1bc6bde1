//! What is written can be read again, and what must not be read is not.

use proto::orders::v1::{Order, OrderCancelled, OrderCreated, OrderReady, OrderRejected};

use super::*;

fn eur(minor_units: i64) -> Money {
    Money { currency: "EUR".into(), minor_units }
}

#[test]
fn rows_come_back() {
    let payment = |payment_id: &str, state| Payment {
        payment_id: payment_id.into(),
        amount: eur(5),
        state,
        recorded_ms: 1_790_000_000_000,
    };
    let payments = vec![
        payment("p-1", PaymentState::Pending),
        payment("p-2", PaymentState::Booked),
        payment("p-3", PaymentState::Refused),
    ];
    let bills = [None, Some(None), Some(Some(eur(0))), Some(Some(eur(-7)))];
    for total in bills {
        let bill = total.map(|total| Bill { customer_id: "c-1".into(), total });
        for (ended, settled) in [(false, true), (true, false)] {
            let stored = Account { bill: bill.clone(), ended, settled, payments: payments.clone() };
            assert_eq!(account(&account_row(stored.clone()).into()).unwrap(), stored);
        }
    }
}

#[test]
fn rows_that_nothing_of_ours_writes_are_refused() {
    let row = |payment| pb::AccountRow { payments: vec![payment], ..Default::default() }.encode_to_vec().into();
    let unknown = pb::PaymentRow { state: 77, amount: Some(money_to_proto(eur(1))), ..Default::default() };
    assert!(matches!(account(&row(unknown)), Err(InputError::UnknownValue { value: 77, .. })));
    let without_amount = pb::PaymentRow { state: pb::PaymentState::Booked.into(), ..Default::default() };
    assert!(matches!(account(&row(without_amount)), Err(InputError::Missing { .. })));
    assert!(matches!(account(&Bytes::from_static(b"\xff")), Err(InputError::Undecodable { .. })));
}

#[test]
fn order_events_mean_a_bill_an_end_or_nothing() {
    let read = |event| {
        let event = OrderEvent { order_id: "o-1".into(), event, ..Default::default() };
        order_fact(Some(&Bytes::from_static(b"o-1")), &event.encode_to_vec().into())
    };
    let order = Order { customer_id: "c-1".into(), total: Some(money_to_proto(eur(9))), ..Default::default() };
    let created = order_event::Event::Created(OrderCreated { order: Some(order) });
    let bill = Bill { customer_id: "c-1".into(), total: Some(eur(9)) };
    assert_eq!(read(Some(created)).unwrap(), ("o-1".into(), OrderFact::Created(bill)));
    for end in
        [order_event::Event::Rejected(OrderRejected::default()), order_event::Event::Cancelled(OrderCancelled {})]
    {
        assert_eq!(read(Some(end)).unwrap().1, OrderFact::Ended);
    }
    assert_eq!(read(Some(order_event::Event::Ready(OrderReady {}))).unwrap().1, OrderFact::Other);
    assert_eq!(read(None).unwrap().1, OrderFact::Other);
    let empty = order_event::Event::Created(OrderCreated { order: None });
    assert!(matches!(read(Some(empty)), Err(InputError::Missing { .. })));
}

#[test]
fn a_foreign_key_is_refused() {
    let event = OrderEvent { order_id: "o-1".into(), ..Default::default() }.encode_to_vec().into();
    for key in [None, Some(Bytes::from_static(b"o-2"))] {
        assert!(matches!(order_fact(key.as_ref(), &event), Err(InputError::ForeignKey { .. })));
    }
}
