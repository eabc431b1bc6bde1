//! What is written can be read again, and what must not be read is not.

use super::*;

fn shipment_of(state: State, items: &[(&str, i64, i64)]) -> Shipment {
    let item = |(product_id, made, needed): &(&str, i64, i64)| Item {
        product_id: (*product_id).into(),
        needed: *needed,
        made: *made,
    };
    let items = items.iter().map(item).collect();
    Shipment { items, state, created_ms: 1_500, changed_ms: 1_790_000_000_000, version: 3 }
}

#[test]
fn rows_come_back() {
    for state in [State::Early, State::Waiting, State::Shipped, State::Cancelled] {
        let stored = shipment_of(state, &[("desk", 1, 2), ("lamp", 3, 0)]);
        assert_eq!(shipment(&shipment_row(stored.clone()).into()).unwrap(), stored);
    }
}

#[test]
fn a_state_that_this_version_does_not_know_is_refused() {
    let row = pb::ShipmentRow { state: 77, ..Default::default() }.encode_to_vec().into();
    assert!(matches!(shipment(&row), Err(InputError::UnknownValue { field: "ShipmentRow.state", value: 77 })));
    assert_eq!(state_filter(77), Err(()));
    assert_eq!(state_filter(0), Ok(None));
}

#[test]
fn a_shipment_is_shown_once_its_order_is_known() {
    assert_eq!(shipment_to_proto("o-1", shipment_of(State::Early, &[("desk", 1, 0)])), None);
    let shown = shipment_to_proto("o-1", shipment_of(State::Waiting, &[("desk", 1, 2), ("lamp", 1, 1)])).unwrap();
    assert_eq!((shown.progress.as_str(), shown.missing.as_slice()), ("2/3 manufactured", &["desk".to_owned()][..]));
    assert_eq!((shown.state(), shown.etag.as_str()), (pb::ShipmentState::Waiting, "3"));
    assert_eq!(shown.create_time, Some(prost_types::Timestamp { seconds: 1, nanos: 500_000_000 }));
}

#[test]
fn what_is_made_beyond_the_need_does_not_count() {
    let shown = shipment_to_proto("o-1", shipment_of(State::Waiting, &[("desk", 9, 2), ("lamp", 0, 1)])).unwrap();
    assert_eq!(shown.progress, "2/3 manufactured");
}
