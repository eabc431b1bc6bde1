//! The topics that inventory writes and reads, each once.
//!
//! | topic | key | record |
//! |---|---|---|
//! | `products` | product_id | `inventory.v1.ProductEvent` |
//! | `inventory-verdicts` | order_id | `validation.v1.Verdict` |
//! | `stock-requests` (orders') | product_id | `orders.v1.StockRequest` |

/// Every change that a command makes to a product, by product.
pub const PRODUCTS: &str = "products";
/// The inventory check of each order line, by order.
pub const INVENTORY_VERDICTS: &str = "inventory-verdicts";

pub(crate) const STOCK_REQUESTS: &str = "stock-requests";
