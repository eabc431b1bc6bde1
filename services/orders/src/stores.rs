//! The stores of an orders task: layout of the keys, and what stands under them.
//!
//! ```text
//! orders        <order_id>                     -> OrderRow (proto); never removed
//! by-customer   <customer_id> 00 <order_id>    -> empty; one for each order, never removed
//! by-state      <state u8> <order_id>          -> empty; one for each order, but for those that were shipped
//! early         <order_id>                     -> EarlyRow (proto); payments for an order that has not come, until it comes
//! ```
//! Most orders are shipped in the end: they are found among all orders as quickly as by an index, and need none.
//! Ids hold no zero byte, so that the keys of one customer are exactly those with the prefix `<customer_id> 00`.

use task_runtime::StoreId;

use crate::domain::State;

/// Orders by id.
pub(crate) const ORDERS: StoreId = StoreId::new(1, "orders");
/// Ids of orders by customer.
pub(crate) const BY_CUSTOMER: StoreId = StoreId::new(2, "orders-by-customer");

/// Ids of orders by state.
pub(crate) const BY_STATE: StoreId = StoreId::new(3, "orders-by-state");
/// What was told of orders before they came.
pub(crate) const EARLY: StoreId = StoreId::new(4, "orders-early");

/// What all index keys of a state begin with; none for the state that has no index.
pub(crate) fn state_prefix(state: State) -> Option<Vec<u8>> {
    // The numbers are part of stored keys: they never change.
    Some(vec![match state {
        State::Created => 1,
        State::Validated => 2,
        State::InManufacturing => 3,
        State::Ready => 4,
        State::Rejected => 6,
        State::Cancelled => 7,
        State::Shipped => return None,
    }])
}

/// The index key of one order in a state.
pub(crate) fn state_key(state: State, order_id: &str) -> Option<Vec<u8>> {
    let mut key = state_prefix(state)?;
    key.extend_from_slice(order_id.as_bytes());
    Some(key)
}

/// The order of an index key.
pub(crate) fn order_of_state_key(key: &[u8]) -> &[u8] {
    key.get(1..).unwrap_or_default()
}

/// What all index keys of a customer begin with.
pub(crate) fn customer_prefix(customer_id: &str) -> Vec<u8> {
    [customer_id.as_bytes(), &[0]].concat()
}

/// The index key of one order.
pub(crate) fn customer_key(customer_id: &str, order_id: &str) -> Vec<u8> {
    [customer_id.as_bytes(), &[0], order_id.as_bytes()].concat()
}

/// The order of an index key.
pub(crate) fn order_of_customer_key(key: &[u8]) -> &[u8] {
    key.iter().position(|byte| *byte == 0).map_or(&[], |end| &key[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_keys_of_one_customer_are_not_those_of_a_longer_name() {
        let key = customer_key("c-1", "o-7");
        assert!(key.starts_with(&customer_prefix("c-1")));
        assert!(!customer_key("c-10", "o-7").starts_with(&customer_prefix("c-1")));
        assert_eq!(order_of_customer_key(&key), b"o-7");
        assert_eq!(order_of_customer_key(b"no separator"), b"");
    }
}
