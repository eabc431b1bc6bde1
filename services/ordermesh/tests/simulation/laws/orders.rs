//! Orders: none is lost, none is stuck, none goes where it must not.

use proto::orders::v1::{Order, OrderEvent, OrderRow, OrderState};
use task_runtime::changelog::Output;
use testkit::simulation::{Oracle, Verdict, fail};

use crate::history::{Seen, Stage};
use crate::rows::{ORDERS, decode, text};
use crate::shop::Shop;

/// Whether nothing ever leaves the state.
pub(crate) fn is_final(state: OrderState) -> bool {
    matches!(state, OrderState::Shipped | OrderState::Rejected | OrderState::Cancelled)
}

/// I1: every acknowledged order is there as it was sent, and none that was not sent.
pub(crate) fn i1_acknowledged_orders_are_there(oracle: &Oracle<Shop>) -> Verdict {
    let history = &oracle.scenario.history;
    for order_id in &history.acknowledged {
        if ORDERS.row::<OrderRow>(oracle, order_id).is_none() {
            return fail("I1 acknowledged", format!("{order_id} was acknowledged, and is lost"));
        }
    }
    for (key, row) in ORDERS.rows::<OrderRow>(oracle) {
        let order_id = text(key);
        match history.sent.get(&order_id) {
            Some(sent) if sent.lines == row.lines && sent.customer_id == row.customer_id => {}
            sent => return fail("I1 acknowledged", format!("{order_id} was sent as {sent:?}, and is {row:?}")),
        }
    }
    Ok(())
}

/// An order that has not come to its end.
pub(crate) fn unfinished(oracle: &Oracle<Shop>) -> Option<String> {
    let mut rows = ORDERS.rows::<OrderRow>(oracle);
    let (key, row) = rows.find(|(_, row)| !is_final(row.state()))?;
    Some(format!("I4: order {} is still {:?}", text(key), row.state()))
}

/// I4: no order stays where it is for ever.
pub(crate) fn i4_every_order_is_over(oracle: &Oracle<Shop>) -> Verdict {
    unfinished(oracle).map_or(Ok(()), |order| fail("I4 every order ends", order))
}

/// I8: what anybody is told of an order is counted in the log at that moment.
pub(crate) fn i8_only_what_counts_is_told(told: &Order, version: u64, row: Option<&OrderRow>) -> Verdict {
    match row {
        Some(row) if row.version > version => Ok(()),
        Some(row) if row.version == version && row.state() == told.state() => Ok(()),
        row => {
            let row = row.map(|row| (row.state(), row.version));
            let detail = format!("{} was told to be {:?} {version}, the log says {row:?}", told.order_id, told.state());
            fail("I8 only what counts is told", detail)
        }
    }
}

/// I12: what the events of an order say is a legal life, with each version once.
pub(crate) fn i12_transitions_are_legal(seen: &mut Seen, output: &Output) -> Verdict {
    if output.topic.as_str() != "orders" {
        return Ok(());
    }
    let event: OrderEvent = decode(output.value.as_ref().map_or(&[][..], |value| value));
    let (state, version) = (event.state(), event.version);
    let before = seen.orders.get(&event.order_id).copied();
    let legal = match before {
        None => state == OrderState::Created && version == 1,
        Some(before) if before.version == version => before.state == state,
        Some(before) => version == before.version + 1 && may_become(before.state, state),
    };
    if !legal {
        return fail("I12 transitions", format!("{} goes from {before:?} to {state:?} {version}", event.order_id));
    }
    let was_validated = before.is_some_and(|before| before.was_validated) || state == OrderState::Validated;
    seen.orders.insert(event.order_id, Stage { state, version, was_validated });
    Ok(())
}

fn may_become(from: OrderState, to: OrderState) -> bool {
    use OrderState::{Cancelled, Created, InManufacturing, Ready, Rejected, Shipped, Validated};
    match from {
        Created => matches!(to, Validated | Rejected | Cancelled),
        Validated => matches!(to, InManufacturing | Ready | Shipped | Cancelled),
        InManufacturing => matches!(to, Ready | Shipped | Cancelled),
        Ready => matches!(to, Shipped | Cancelled),
        // Reasons that became known later.
        Rejected => to == Rejected,
        _ => false,
    }
}

/// I12: an order of which somebody was told that it is cancelled is cancelled for ever.
pub(crate) fn i12_told_ends_stay(oracle: &Oracle<Shop>) -> Verdict {
    for order_id in &oracle.scenario.history.cancelled {
        let state = ORDERS.row::<OrderRow>(oracle, order_id).map(|row| row.state());
        if state != Some(OrderState::Cancelled) {
            return fail("I12 transitions", format!("{order_id} was told to be cancelled, and is {state:?}"));
        }
    }
    Ok(())
}
