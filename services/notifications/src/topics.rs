//! The topics that notifications writes and reads, each once.
//!
//! | topic | key | record |
//! |---|---|---|
//! | `orders-platinum`, `orders-gold`, `orders-silver`, `orders-bronze` | order_id | `notifications.v1.EnrichedOrder` |
//! | `mails` | order_id | `notifications.v1.MailEvent` |
//! | `orders-by-customer` (orders') | customer_id | `orders.v1.OrderPlaced` |
//! | `order-changes-by-customer` (orders') | customer_id | `orders.v1.CustomerOrderChanged` |
//! | `order-payments` (payments') | customer_id | `payments.v1.OrderPaid` |
//! | `customers` (customers') | customer_id | `customers.v1.CustomerEvent` |

/// Enriched orders of platinum customers.
pub const ORDERS_PLATINUM: &str = "orders-platinum";
/// Enriched orders of gold customers.
pub const ORDERS_GOLD: &str = "orders-gold";
/// Enriched orders of silver customers.
pub const ORDERS_SILVER: &str = "orders-silver";
/// Enriched orders of bronze customers, and of those whose level this version does not know.
pub const ORDERS_BRONZE: &str = "orders-bronze";
/// What becomes of the e-mail of each order.
pub const MAILS: &str = "mails";

pub(crate) const ORDERS_BY_CUSTOMER: &str = "orders-by-customer";
pub(crate) const ORDER_CHANGES_BY_CUSTOMER: &str = "order-changes-by-customer";
pub(crate) const ORDER_PAYMENTS: &str = "order-payments";
pub(crate) const CUSTOMERS: &str = "customers";

/// What an e-mail that was given up is called among the dead letters.
pub(crate) const UNDELIVERABLE_MAILS: &str = "undeliverable-mails";
