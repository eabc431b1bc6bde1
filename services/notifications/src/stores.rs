//! The stores of a notifications task: layout of the keys, and what stands under them.
//!
//! ```text
//! customers       <customer_id>                -> CustomerRow (proto); never removed
//! joins           <customer_id> 00 <order_id>  -> JoinRow (proto); never removed, small once everything is decided
//! notifications   <order_id>                   -> NotificationRow (proto); never removed: it says that it was sent
//! outbox          <due u64 be> <order_id>      -> empty; one for each notification that is pending
//! signal          (empty)                      -> number that grows with each change of the outbox
//! ```
//! Ids have no zero bytes, so that a prefix with one names one customer. The courier waits for the signal's key to change,
//! then looks at the outbox.

use task_runtime::StoreId;

/// Customers.
pub(crate) const CUSTOMERS: StoreId = StoreId::new(1, "customers");
/// What is known of each order of a customer.
pub(crate) const JOINS: StoreId = StoreId::new(2, "joins");
/// E-mails by order.
pub(crate) const NOTIFICATIONS: StoreId = StoreId::new(3, "notifications");
/// E-mails that are to be sent, in the order in which they are due.
pub(crate) const OUTBOX: StoreId = StoreId::new(4, "outbox");
/// Says that the outbox has changed.
pub(crate) const SIGNAL: StoreId = StoreId::new(5, "signal");
/// The one key of the signal.
pub(crate) const SIGNAL_KEY: &[u8] = b"";

/// All of them.
pub(crate) const ALL: [StoreId; 5] = [CUSTOMERS, JOINS, NOTIFICATIONS, OUTBOX, SIGNAL];

/// The key of what is known of one order.
pub(crate) fn join_key(customer_id: &str, order_id: &str) -> Vec<u8> {
    [customer_id.as_bytes(), &[0], order_id.as_bytes()].concat()
}

/// The customer and the order of such a key; none if it is not one.
pub(crate) fn parse_join_key(key: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(key).ok()?.split_once('\0')
}

/// The key of a pending e-mail.
pub(crate) fn outbox_key(due_ms: i64, order_id: &str) -> Vec<u8> {
    let due_ms = u64::try_from(due_ms).unwrap_or(0);
    [&due_ms.to_be_bytes(), order_id.as_bytes()].concat()
}

/// When an e-mail is due, in milliseconds since the Unix epoch, and the order that it is about; none if it is no such key.
pub(crate) fn parse_outbox_key(key: &[u8]) -> Option<(i64, &str)> {
    let (due_ms, order_id) = key.split_first_chunk::<8>()?;
    Some((i64::try_from(u64::from_be_bytes(*due_ms)).unwrap_or(i64::MAX), std::str::from_utf8(order_id).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_give_back_their_parts() {
        assert_eq!(parse_join_key(&join_key("c-1", "o-1")), Some(("c-1", "o-1")));
        assert_eq!(parse_join_key(b"c-1"), None);
        assert_eq!(parse_outbox_key(&outbox_key(7, "o-1")), Some((7, "o-1")));
        assert_eq!(parse_outbox_key(b"short"), None);
    }

    #[test]
    fn the_outbox_is_in_the_order_in_which_things_are_due() {
        let keys = [outbox_key(-1, "z"), outbox_key(1, "b"), outbox_key(255, "a"), outbox_key(1_790_000_000_000, "a")];
        assert!(keys.is_sorted());
    }
}
