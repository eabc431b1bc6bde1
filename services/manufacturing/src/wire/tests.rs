//! What is written can be read again, and what must not be read is not.

use super::*;

fn item(product_id: &str, manufactured: i64, quantity: i64) -> Item {
    Item { product_id: product_id.into(), quantity, manufactured }
}

#[test]
fn rows_come_back() {
    for state in [State::Open, State::Completed, State::Cancelled] {
        let items = vec![item("desk", 1, 2), item("lamp", 0, i64::MAX)];
        let work_order = WorkOrder { items, state, opened_ms: 5, changed_ms: 1_790_000_000_000, version: 3 };
        assert_eq!(known(&work_order_row(&work_order).into()).unwrap(), Known::Opened(work_order));
    }
    let early = vec![Early { product_id: "desk".into(), quantity: 4 }];
    assert_eq!(known(&early_row(early.clone()).into()).unwrap(), Known::Early(early));
    for reason in [Idle::NothingToMake, Idle::Rejected, Idle::Cancelled] {
        let row = idle_row(reason, 1_790_000_000_000).into();
        assert_eq!((idle(&row).unwrap(), idle_since_ms(&row).unwrap()), (reason, Some(1_790_000_000_000)));
    }
}

#[test]
fn a_state_that_this_version_does_not_know_is_refused() {
    let row = pb::WorkOrderRow { state: 77, ..Default::default() }.encode_to_vec().into();
    assert!(matches!(known(&row), Err(InputError::UnknownValue { field: "WorkOrderRow.state", value: 77 })));
    let row = pb::IdleOrderRow { reason: 77, ..Default::default() }.encode_to_vec().into();
    assert!(matches!(idle(&row), Err(InputError::UnknownValue { field: "IdleOrderRow.reason", value: 77 })));
    assert_eq!(state_filter(77), Err(()));
    assert_eq!(state_filter(0), Ok(None));
}

#[test]
fn a_work_order_shows_its_times_and_version() {
    let work_order =
        WorkOrder { items: vec![item("desk", 1, 2)], state: State::Open, opened_ms: -1, changed_ms: 1_500, version: 3 };
    let shown = work_order_to_proto("o-1", work_order);
    assert_eq!((shown.order_id.as_str(), shown.state(), shown.etag.as_str()), ("o-1", pb::WorkOrderState::Open, "3"));
    assert_eq!(shown.create_time, Some(prost_types::Timestamp { seconds: -1, nanos: 999_000_000 }));
    assert_eq!(shown.update_time, Some(prost_types::Timestamp { seconds: 1, nanos: 500_000_000 }));
}
