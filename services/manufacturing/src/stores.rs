//! The stores of a manufacturing task: layout of the keys, and what stands under them.
//!
//! ```text
//! work-orders   <order_id>                    -> WorkOrderRow (proto); of an order with something to make, never removed;
//!                                                of an order that is not known, removed by a timer
//! open          <opened_ms u64 be> <order_id> -> empty; one for each open work order, in order of opening
//! workshop      (empty)                       -> empty; there exactly while the workshop's timer is set
//! idle          <order_id>                    -> IdleOrderRow (proto); of a known order without a work order, removed some
//!                                                time later
//! sweep         (empty)                       -> key of the last idle order looked at, empty between rounds; there from the
//!                                                first idle order on, and then a timer is set
//! ```
//! No order has both a work order and a row among the idle ones: these are most orders, and stand apart so that a list of
//! work orders does not wade through them.

use task_runtime::StoreId;

/// Work orders and early reports by order.
pub(crate) const WORK_ORDERS: StoreId = StoreId::new(1, "work-orders");
/// Open work orders by age.
pub(crate) const OPEN: StoreId = StoreId::new(2, "open-work-orders");
/// Whether the workshop's timer is set.
pub(crate) const WORKSHOP: StoreId = StoreId::new(3, "workshop");
/// The one key of the workshop.
pub(crate) const WORKSHOP_KEY: &[u8] = b"";

/// Known orders for which nothing is made.
pub(crate) const IDLE: StoreId = StoreId::new(4, "idle-orders");
/// How far the removal of idle orders has come.
pub(crate) const SWEEP: StoreId = StoreId::new(5, "sweep");

/// All of them.
pub(crate) const ALL: [StoreId; 5] = [WORK_ORDERS, OPEN, WORKSHOP, IDLE, SWEEP];

/// The key of an open work order.
pub(crate) fn open_key(opened_ms: i64, order_id: &[u8]) -> Vec<u8> {
    // Nothing was opened before 1970; a clock that says so must not turn the order around.
    let since_epoch = u64::try_from(opened_ms).unwrap_or(0);
    [&since_epoch.to_be_bytes(), order_id].concat()
}

/// The order of an open work order's key.
pub(crate) fn order_of_open_key(key: &[u8]) -> &[u8] {
    key.get(8..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_work_orders_are_in_order_of_opening() {
        let keys =
            [open_key(-3, b"z"), open_key(1, b"y"), open_key(255, b"x"), open_key(256, b"a"), open_key(256, b"b")];
        assert!(keys.is_sorted());
        assert_eq!(order_of_open_key(&keys[3]), b"a");
        assert_eq!(order_of_open_key(b"short"), b"");
    }
}
