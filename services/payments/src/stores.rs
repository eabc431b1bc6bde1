//! The stores of a payments task: layout of the keys, and what stands under them.
//!
//! ```text
//! accounts   <order_id>    -> AccountRow (proto); never removed: money is not forgotten, and a repeat must be known
//! ```

use task_runtime::StoreId;

/// What is known of the payments of each order.
pub(crate) const ACCOUNTS: StoreId = StoreId::new(1, "accounts");
