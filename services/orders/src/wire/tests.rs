//! What is written is read back as it was.

use prost::Message;
use prost_types::Timestamp;

use super::*;
use crate::domain::{Event, Fulfilment, Mark, Marked, StockAction};

fn order(state: State, check: Option<Check>) -> Order {
    let unit_price = Money { currency: "EUR".to_owned(), minor_units: -1 };
    let line = Line { product_id: "jumper".to_owned(), quantity: i64::MIN, unit_price };
    let reason = Reason { check, product_id: "jumper".to_owned(), code: "A".to_owned(), message: "b".to_owned() };
    Order {
        content: Content { customer_id: "c-1".to_owned(), lines: vec![line; 2] },
        state,
        reasons: vec![reason],
        created_ms: -1,
        updated_ms: i64::MAX,
        version: u64::MAX,
        cancellation_requested: true,
        history: vec![Mark { topic: Marked::Shipments, at: 7 }],
    }
}

#[test]
fn an_order_survives_its_row() {
    use State::{Cancelled, Created, InManufacturing, Ready, Rejected, Shipped, Validated};
    for state in [Created, Validated, InManufacturing, Ready, Shipped, Rejected, Cancelled] {
        let order = order(state, None);
        assert_eq!(order_of_row(writes::row(&order)).unwrap(), order);
    }
    for check in [Check::Details, Check::Fraud, Check::Inventory, Check::Credit] {
        let order = order(Created, Some(check));
        assert_eq!(order_of_row(writes::row(&order)).unwrap(), order);
    }
}

#[test]
fn a_row_that_nobody_wrote_is_an_error() {
    let mut row = super::row(&order(State::Created, None));
    row.state = 0;
    let error = order_of_row(row.encode_to_vec().into()).unwrap_err();
    assert_eq!(error.to_string(), "OrderRow.state holds the unknown value 0");
    assert!(order_of_row(Bytes::from_static(b"\xff")).is_err());
}

#[test]
fn a_row_of_one_line_is_small() {
    let mut order = order(State::Created, None);
    order.reasons.clear();
    order.content.lines.truncate(1);
    order.content.lines[0].quantity = 2;
    order.content.lines[0].unit_price.minor_units = 1999;
    (order.created_ms, order.updated_ms, order.version) = (1_700_000_000_000, 1_700_000_000_000, 1);
    order.cancellation_requested = false;
    assert_eq!(writes::row(&order).len(), 51, "it is written several times for each order");
}

#[test]
fn times_before_the_epoch_have_nanoseconds_that_count_forward() {
    assert_eq!(timestamp(-1), Timestamp { seconds: -1, nanos: 999_000_000 });
    assert_eq!(timestamp(1_500), Timestamp { seconds: 1, nanos: 500_000_000 });
}

#[test]
fn an_order_without_a_sum_is_placed_without_a_total() {
    let mut order = order(State::Created, None);
    order.content.lines[0].quantity = 1;
    order.content.lines[1].quantity = 1;
    let placed = |order: &Order| api::OrderPlaced::decode(writes::order_placed("o-1", order)).unwrap();
    assert_eq!(placed(&order).total.unwrap().minor_units, -2);
    order.content.lines[1].unit_price.currency = "USD".to_owned();
    assert_eq!(placed(&order).total, None);
}

#[test]
fn events_say_what_others_need_to_know() {
    let order = order(State::Validated, None);
    let event = Event::Validated { fulfilments: vec![Fulfilment::MadeToOrder, Fulfilment::FromStock] };
    let event = api::OrderEvent::decode(writes::order_event("o-1", &order, &event, 5)).unwrap();
    let Some(api::order_event::Event::Validated(validated)) = event.event else { panic!("validated") };
    assert_eq!(validated.fulfilments, [2, 1]);
    assert_eq!(validated.order.unwrap().order_id, "o-1");
    let request = writes::stock_request("o-1", 1, &order.content.lines[1], StockAction::Ship, 5);
    let request = api::StockRequest::decode(request).unwrap();
    assert_eq!((request.line, request.action(), request.quantity), (1, api::StockAction::Ship, i64::MIN));
}
