//! The topics that validation writes and reads, each once.
//!
//! | topic | key | record |
//! |---|---|---|
//! | `order-verdicts` | order_id | `validation.v1.Verdict` of checks with a key of their own (FRAUD) |
//! | `order-validations` | order_id | `validation.v1.ValidationEvent` |
//! | `orders` (orders') | order_id | `orders.v1.OrderEvent` |
//! | `orders-by-customer` (orders') | customer_id | `orders.v1.OrderPlaced` |
//! | `inventory-verdicts` (inventory's) | order_id | `validation.v1.Verdict` |
//! | `credit-verdicts` (customers') | order_id | `validation.v1.Verdict` |

/// Verdicts of checks that look at another key than the order's; read back by the aggregation.
pub const ORDER_VERDICTS: &str = "order-verdicts";
/// What was decided, by order.
pub const ORDER_VALIDATIONS: &str = "order-validations";

pub(crate) const ORDERS: &str = "orders";
pub(crate) const ORDERS_BY_CUSTOMER: &str = "orders-by-customer";
pub(crate) const INVENTORY_VERDICTS: &str = "inventory-verdicts";
pub(crate) const CREDIT_VERDICTS: &str = "credit-verdicts";
