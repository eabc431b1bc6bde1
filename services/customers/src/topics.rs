//! The topics that customers writes and reads, each once.
//!
//! | topic | key | record |
//! |---|---|---|
//! | `customers` | customer_id | `customers.v1.CustomerEvent` |
//! | `credit-verdicts` | order_id | `validation.v1.Verdict` |
//! | `greetings` | customer_id; greeting_id when it goes to everyone | `customers.v1.GreetingSent` |
//! | `orders-by-customer` (orders') | customer_id | `orders.v1.OrderPlaced` |
//! | `order-changes-by-customer` (orders') | customer_id | `orders.v1.CustomerOrderChanged` |
//! | `order-payments` (payments') | customer_id | `payments.v1.OrderPaid` |

/// Every change that a command makes to a customer, by customer.
pub const CUSTOMERS: &str = "customers";
/// The credit check of each order, by order.
pub const CREDIT_VERDICTS: &str = "credit-verdicts";
/// Every greeting.
pub const GREETINGS: &str = "greetings";

pub(crate) const ORDERS_BY_CUSTOMER: &str = "orders-by-customer";
pub(crate) const ORDER_CHANGES_BY_CUSTOMER: &str = "order-changes-by-customer";
pub(crate) const ORDER_PAYMENTS: &str = "order-payments";
