//! What is written can be read again, and what must not be read is not.

use super::*;

fn mail() -> Mail {
    Mail {
        order_id: "o-1".into(),
        recipient: "ada@example.org".into(),
        subject: "Your order o-1".into(),
        body: "Dear Ada".into(),
        message_id: "<order.o-1@ordermesh>".into(),
        created_ms: 1_790_000_000_000,
    }
}

#[test]
fn a_notification_comes_back_with_its_mail_and_its_delivery() {
    let row = new_notification("c-1", mail());
    let row = notification_row(&row.encode_to_vec().into()).unwrap();
    assert_eq!(delivery_of(&row).unwrap(), Delivery::default());
    assert_eq!(super::mail("o-1", row.clone()), mail());
    let shown = notification_to_proto("o-1", row).unwrap();
    assert_eq!((shown.state(), shown.attempts), (pb::NotificationState::Pending, 0));
    assert_eq!(shown.next_attempt_time, shown.create_time);
}

#[test]
fn every_delivery_comes_back() {
    for state in [State::Pending, State::Sent, State::Undeliverable] {
        let delivery = Delivery { state, tries: 3, tries_before: 4, last_error: "no".into(), due_ms: 9 };
        let row = delivered(new_notification("c-1", mail()), delivery.clone(), 10);
        assert_eq!(delivery_of(&row).unwrap(), delivery);
    }
    let row = pb::NotificationRow { state: 77, ..Default::default() };
    assert!(matches!(delivery_of(&row), Err(InputError::UnknownValue { value: 0 | 77, .. })));
}

#[test]
fn reports_come_back_and_a_failure_without_words_stays_one() {
    let read = |reported: Outcome| outcome(&report("o-1", 7, reported)).unwrap();
    assert_eq!(read(Outcome::Sent), ("o-1".into(), 7, Outcome::Sent));
    let failed = |error: &str, is_final| Outcome::Failed { error: error.into(), is_final };
    assert_eq!(read(failed("no", true)).2, failed("no", true));
    assert_eq!(read(failed("", false)).2, failed("failed", false));
    let (_, _, Outcome::Failed { error, .. }) = read(failed(&"ä".repeat(5_000), false)) else { panic!("it failed") };
    assert_eq!(error.len(), ERROR_BYTES_MAX);
}

#[test]
fn a_row_keeps_what_was_ordered_only_as_long_as_it_is_needed() {
    let line = proto::orders::v1::OrderLine { product_id: "jumper".into(), quantity: 1, unit_price: None };
    let row = pb::JoinRow { lines: vec![line], placed: true, ..Default::default() };
    let open = Join { placed: true, validated: true, enriched: true, ..Join::default() };
    assert_eq!(join_row(&joined(row.clone(), open).into()).unwrap().lines.len(), 1);
    let done = Join { paid: true, notified: true, ..open };
    let stored = join_row(&joined(row, done).into()).unwrap();
    assert_eq!((stored.lines.len(), join(&stored)), (0, done));
}

#[test]
fn every_state_of_an_order_means_validated_ended_or_nothing() {
    let fact = |state: OrderState| order_fact(&CustomerOrderChanged { state: state.into(), ..Default::default() });
    for state in [OrderState::Validated, OrderState::InManufacturing, OrderState::Ready, OrderState::Shipped] {
        assert_eq!(fact(state), Some(Fact::Validated));
    }
    for state in [OrderState::Rejected, OrderState::Cancelled] {
        assert_eq!(fact(state), Some(Fact::Ended));
    }
    assert_eq!(fact(OrderState::Created), None);
}
