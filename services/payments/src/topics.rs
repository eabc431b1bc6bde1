//! The topics that payments writes and reads, each once.
//!
//! | topic | key | record |
//! |---|---|---|
//! | `payments` | order_id | `payments.v1.PaymentEvent` |
//! | `order-payments` | customer_id | `payments.v1.OrderPaid` |
//! | `orders` (orders') | order_id | `orders.v1.OrderEvent` |

/// Every payment and what became of it, by order.
pub const PAYMENTS: &str = "payments";
/// Each order that is paid in full, by customer.
pub const ORDER_PAYMENTS: &str = "order-payments";

pub(crate) const ORDERS: &str = "orders";
