//! The stores of a customers task: layout of the keys, and what stands under them. Nothing is ever removed.
//!
//! ```text
//! customers   <customer_id>                      -> CustomerRow (proto)
//! credit      <customer_id>                      -> CreditRow (proto); one for each customer
//! orders      <customer_id> 00 <order_id>        -> PlacedRow (proto); there from the order's placing on
//! progress    <customer_id> 00 <order_id>        -> ProgressRow (proto); there from the first word about the order on
//! greetings   <customer_id> 00 <number u64 be>   -> GreetingRow (proto)
//!             00 <greeting_id>                   -> GreetingRow (proto), to everyone
//! greeted     <customer_id>                      -> GreetingCountRow (proto); there from the first greeting on
//! ```
//! Ids hold no zero byte, so that the keys of one customer are exactly those with the prefix `<customer_id> 00`, and the
//! greetings to everyone are those that begin with it.

use task_runtime::StoreId;

/// Who customers are.
pub(crate) const CUSTOMERS: StoreId = StoreId::new(1, "customers");
/// What they may spend.
pub(crate) const CREDIT: StoreId = StoreId::new(2, "credit");
/// What they have ordered.
pub(crate) const ORDERS: StoreId = StoreId::new(3, "orders");
/// How far their orders have come, and what these hold.
pub(crate) const PROGRESS: StoreId = StoreId::new(4, "progress");
/// Greetings.
pub(crate) const GREETINGS: StoreId = StoreId::new(5, "greetings");
/// How many greetings each customer was sent.
pub(crate) const GREETED: StoreId = StoreId::new(6, "greeted");

/// All of them.
pub(crate) const ALL: [StoreId; 6] = [CUSTOMERS, CREDIT, ORDERS, PROGRESS, GREETINGS, GREETED];

/// What the keys of greetings to everyone begin with.
pub(crate) const TO_EVERYONE: &[u8] = &[0];

/// What all keys of one customer begin with, where there are several.
pub(crate) fn prefix_of(customer_id: &str) -> Vec<u8> {
    [customer_id.as_bytes(), &[0]].concat()
}

/// The key of one order.
pub(crate) fn order_key(customer_id: &str, order_id: &str) -> Vec<u8> {
    [customer_id.as_bytes(), &[0], order_id.as_bytes()].concat()
}

/// Customer and order of the key of an order.
pub(crate) fn order_of_key(key: &[u8]) -> (String, String) {
    let (customer_id, order_id) = split(key);
    (text(customer_id), text(order_id))
}

/// The key of a greeting to one customer.
pub(crate) fn greeting_key(customer_id: &str, number: u64) -> Vec<u8> {
    [customer_id.as_bytes(), &[0], &number.to_be_bytes()].concat()
}

/// The key of a greeting to everyone.
pub(crate) fn broadcast_key(greeting_id: &str) -> Vec<u8> {
    [TO_EVERYONE, greeting_id.as_bytes()].concat()
}

/// Customer and greeting id of the key of a greeting; the customer is empty for everyone.
pub(crate) fn greeting_of_key(key: &[u8]) -> (String, String) {
    let (customer_id, rest) = split(key);
    let customer_id = text(customer_id);
    match <[u8; 8]>::try_from(rest) {
        Ok(number) if !customer_id.is_empty() => {
            let greeting_id = greeting_id(&customer_id, u64::from_be_bytes(number));
            (customer_id, greeting_id)
        }
        _ => (customer_id, text(rest)),
    }
}

/// The id of a greeting to one customer.
pub(crate) fn greeting_id(customer_id: &str, number: u64) -> String {
    format!("{customer_id}-{number}")
}

fn split(key: &[u8]) -> (&[u8], &[u8]) {
    key.iter().position(|byte| *byte == 0).map_or((key, &[]), |end| (&key[..end], &key[end + 1..]))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_customer_are_not_those_of_a_longer_name() {
        let key = order_key("c-1", "o-7");
        assert!(key.starts_with(&prefix_of("c-1")));
        assert!(!order_key("c-10", "o-7").starts_with(&prefix_of("c-1")));
        assert_eq!(order_of_key(&key), ("c-1".to_owned(), "o-7".to_owned()));
    }

    #[test]
    fn a_greeting_key_gives_back_its_parts() {
        for number in [1, 256, u64::MAX] {
            let key = greeting_key("c-1", number);
            assert!(!key.starts_with(TO_EVERYONE));
            assert_eq!(greeting_of_key(&key), ("c-1".to_owned(), format!("c-1-{number}")));
        }
        // Eight characters, as long as a number.
        assert_eq!(greeting_of_key(&broadcast_key("12345678")), (String::new(), "12345678".to_owned()));
    }
}
