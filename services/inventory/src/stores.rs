//! The stores of an inventory task: layout of the keys, and what stands under them.
//!
//! ```text
//! products   <product_id>                                  -> ProductRow (proto); never removed
//! stock      <product_id>                                  -> StockRow (proto); one for each product
//! lines      <order_id> 00 <line u32 be> <product_id>      -> LineRow (proto); removed some time after it was closed
//! sweep      (empty)                                       -> key of the last line looked at, empty between rounds;
//!                                                             there from the first product or line on, and then a timer is set
//! ```
//! A line's key names the product too, so that a request for the wrong product can never settle what another one holds.

use task_runtime::StoreId;

/// Names of products.
pub(crate) const PRODUCTS: StoreId = StoreId::new(1, "products");
/// Stock of products.
pub(crate) const STOCK: StoreId = StoreId::new(2, "stock");
/// What is remembered of order lines.
pub(crate) const LINES: StoreId = StoreId::new(3, "lines");
/// How far the removal of closed lines has come.
pub(crate) const SWEEP: StoreId = StoreId::new(4, "sweep");

/// All of them.
pub(crate) const ALL: [StoreId; 4] = [PRODUCTS, STOCK, LINES, SWEEP];

/// The key of one order line.
pub(crate) fn line_key(order_id: &str, line: u32, product_id: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(order_id.len() + 5 + product_id.len());
    key.extend_from_slice(order_id.as_bytes());
    key.push(0);
    key.extend_from_slice(&line.to_be_bytes());
    key.extend_from_slice(product_id.as_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_different_orders_and_products_have_different_keys() {
        let keys = [
            line_key("o-1", 0, "jumper"),
            line_key("o-1", 1, "jumper"),
            line_key("o-1", 0, "jumpers"),
            line_key("o-10", 0, "jumper"),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(keys[index + 1..].iter().all(|other| other != key));
        }
    }
}
