//! The topics that orders writes and reads, each once.
//!
//! | topic | key | record |
//! |---|---|---|
//! | `orders` | order_id | `orders.v1.OrderEvent` |
//! | `orders-by-customer` | customer_id | `orders.v1.OrderPlaced` |
//! | `order-changes-by-customer` | customer_id | `orders.v1.CustomerOrderChanged` |
//! | `stock-requests` | product_id | `orders.v1.StockRequest` |
//! | `order-verdicts` (validation's), `inventory-verdicts` (inventory's), `credit-verdicts` (customers') | order_id | `validation.v1.Verdict`, for the history only |
//! | `order-validations` (validation's) | order_id | `validation.v1.ValidationEvent` |
//! | `manufactured` (manufacturing's) | order_id | `manufacturing.v1.ManufacturingEvent` |
//! | `shipments` (shipping's) | order_id | `shipping.v1.ShipmentEvent` |
//! | `payments` (payments') | order_id | `payments.v1.PaymentEvent`, for the history only |
//! | `mails` (notifications') | order_id | `notifications.v1.MailEvent`, for the history only |

/// Every change of an order, by order.
pub const ORDERS: &str = "orders";
/// Each new order, by customer.
pub const ORDERS_BY_CUSTOMER: &str = "orders-by-customer";
/// Every later change of an order that clients see, by customer. Apart from the above, so that checks that judge new orders
/// are not woken by it.
pub const ORDER_CHANGES_BY_CUSTOMER: &str = "order-changes-by-customer";
/// What inventory has to do for each line, by product.
pub const STOCK_REQUESTS: &str = "stock-requests";

pub(crate) const ORDER_VALIDATIONS: &str = "order-validations";
pub(crate) const MANUFACTURED: &str = "manufactured";
pub(crate) const SHIPMENTS: &str = "shipments";
pub(crate) const ORDER_VERDICTS: &str = "order-verdicts";
pub(crate) const INVENTORY_VERDICTS: &str = "inventory-verdicts";
pub(crate) const CREDIT_VERDICTS: &str = "credit-verdicts";
pub(crate) const PAYMENTS: &str = "payments";
pub(crate) const MAILS: &str = "mails";
