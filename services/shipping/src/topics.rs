//! The topics that shipping writes and reads, each once.
//!
//! | topic | key | record |
//! |---|---|---|
//! | `shipments` | order_id | `shipping.v1.ShipmentEvent` |
//! | `orders` (orders') | order_id | `orders.v1.OrderEvent` |
//! | `manufactured` (manufacturing's) | order_id | `manufacturing.v1.ManufacturingEvent` |

/// What became of the shipment of an order, by order.
pub const SHIPMENTS: &str = "shipments";

pub(crate) const ORDERS: &str = "orders";
pub(crate) const MANUFACTURED: &str = "manufactured";
