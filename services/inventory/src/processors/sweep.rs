//! Removes lines that were closed long ago.

use service_host::Sweep;
use task_runtime::Definition;

use crate::Config;
use crate::stores::{LINES, SWEEP};
use crate::wire;

/// Goes from the first product or line of the task on.
pub(crate) const CLOSED_LINES: Sweep =
    Sweep { timer: "sweep-closed-lines", rows: LINES, cursor: SWEEP, closed_ms: wire::closed_ms };

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    CLOSED_LINES.register(definition, config.closed_lines_kept)
}
