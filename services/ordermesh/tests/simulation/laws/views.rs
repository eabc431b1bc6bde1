//! Views: whatever came first, in the end every service says the same about an order.

use proto::customers::v1::ProgressRow;
use proto::inventory::v1::{LineRow, LineState};
use proto::notifications::v1::{JoinRow, NotificationRow};
use proto::orders::v1::{OrderRow, OrderState};
use proto::payments::v1::AccountRow;
use proto::shipping::v1::{ShipmentRow, ShipmentState};
use testkit::simulation::{Oracle, Verdict, fail};

use crate::rows::{ACCOUNTS, JOINS, LINES, NOTIFICATIONS, ORDERS, PROGRESS, SHIPMENTS, text};
use crate::shop::Shop;

const LAW: &str = "views agree";

/// Customers, shipping, notifications and inventory agree with orders and payments.
pub(crate) fn views_agree(oracle: &Oracle<Shop>) -> Verdict {
    for (key, order) in ORDERS.rows::<OrderRow>(oracle) {
        let order_id = text(key);
        customers_agree(oracle, &order_id, &order)?;
        shipping_agrees(oracle, &order_id, &order)?;
        notifications_agree(oracle, &order_id, &order)?;
    }
    for (key, line) in LINES.rows::<LineRow>(oracle) {
        if line.state() == LineState::Held {
            return fail(LAW, format!("line {} holds stock, and all orders are over", key.escape_ascii()));
        }
    }
    Ok(())
}

fn customers_agree(oracle: &Oracle<Shop>, order_id: &str, order: &OrderRow) -> Verdict {
    let key = format!("{}\0{order_id}", order.customer_id);
    match PROGRESS.row::<ProgressRow>(oracle, &key) {
        Some(progress) if progress.state == order.state && progress.version == order.version => Ok(()),
        progress => {
            let known = progress.map(|progress| (progress.state(), progress.version));
            fail(LAW, format!("{order_id} is {:?} {}, customers knows {known:?}", order.state(), order.version))
        }
    }
}

fn shipping_agrees(oracle: &Oracle<Shop>, order_id: &str, order: &OrderRow) -> Verdict {
    let shipment = SHIPMENTS.row::<ShipmentRow>(oracle, order_id).map(|row| row.state());
    let shipped = shipment == Some(ShipmentState::Shipped);
    if shipped == (order.state() == OrderState::Shipped) && shipment != Some(ShipmentState::Waiting) {
        return Ok(());
    }
    fail(LAW, format!("{order_id} is {:?}, its shipment {shipment:?}", order.state()))
}

fn notifications_agree(oracle: &Oracle<Shop>, order_id: &str, order: &OrderRow) -> Verdict {
    let join: JoinRow = JOINS.row(oracle, &format!("{}\0{order_id}", order.customer_id)).unwrap_or_default();
    let paid = ACCOUNTS.row::<AccountRow>(oracle, order_id).is_some_and(|account| account.settled);
    let was_validated = oracle.scenario.seen.orders.get(order_id).is_some_and(|stage| stage.was_validated);
    let ended = matches!(order.state(), OrderState::Rejected | OrderState::Cancelled);
    if (join.placed, join.validated, join.paid, join.ended) != (true, was_validated, paid, ended) {
        return fail(
            LAW,
            format!("{order_id}: validated {was_validated}, paid {paid}, ended {ended}, known is {join:?}"),
        );
    }
    let mailed = NOTIFICATIONS.row::<NotificationRow>(oracle, order_id).is_some();
    let known = oracle.scenario.history.customers.contains(&order.customer_id);
    // One that was paid before it ended may have been mailed before.
    if mailed != join.notified
        || mailed && !(known && was_validated && paid)
        || known && was_validated && paid && !ended && !mailed
    {
        return fail(LAW, format!("{order_id}: mailed {mailed}, known is {join:?}"));
    }
    Ok(())
}
