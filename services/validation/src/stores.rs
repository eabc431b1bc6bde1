//! The stores of a validation task: layout of the keys, what stands under them, and the timers that go with them.
//!
//! ```text
//! validations      <order_id>     -> ValidationRow (proto); never removed
//! fraud-sessions   <customer_id>  -> FraudSessionsRow (proto); removed with its last session
//!
//! timer validation-timeout <order_id>      from the order's creation until it is decided
//! timer fraud-sessions     <customer_id>   as long as the row is there: when a session may be forgotten
//! ```

use task_runtime::StoreId;

/// Validations by order.
pub(crate) const VALIDATIONS: StoreId = StoreId::new(1, "validations");
/// Sessions by customer.
pub(crate) const FRAUD_SESSIONS: StoreId = StoreId::new(2, "fraud-sessions");

/// Fires when the checks of an order took too long.
pub(crate) const TIMEOUT_TIMER: &str = "validation-timeout";
/// Fires when a session of a customer may be forgotten.
pub(crate) const SESSIONS_TIMER: &str = "fraud-sessions";
