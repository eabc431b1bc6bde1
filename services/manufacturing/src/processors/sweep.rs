//! Forgets known orders without a work order some time later.

use service_host::Sweep;
use task_runtime::Definition;

use crate::Config;
use crate::stores::{IDLE, SWEEP};
use crate::wire;

/// Goes from the first such order of the task on.
pub(super) const IDLE_ORDERS: Sweep =
    Sweep { timer: "sweep-idle-orders", rows: IDLE, cursor: SWEEP, closed_ms: wire::idle_since_ms };

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    IDLE_ORDERS.register(definition, config.idle_orders_kept)
}
