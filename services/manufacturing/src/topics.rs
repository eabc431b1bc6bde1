//! The topics that manufacturing writes and reads, each once.
//!
//! | topic | key | record |
//! |---|---|---|
//! | `manufactured` | order_id | `manufacturing.v1.ManufacturingEvent` |
//! | `orders` (orders') | order_id | `orders.v1.OrderEvent` |

/// Every change of a work order, by order.
pub const MANUFACTURED: &str = "manufactured";

pub(crate) const ORDERS: &str = "orders";
