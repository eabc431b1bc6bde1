//! Fails an order whose checks took too long, so that no order stays created for ever. Time in which the mesh was away does not
//! count: what it would have heard by then waits on the topics, or is still to be judged.

use task_runtime::{Context, Definition, ProcessError, Timer};

use super::aggregate::{Rules, observe};
use crate::config::Config;
use crate::domain::aggregate::Happening;
use crate::stores;

/// A task that runs and keeps up fires its timers within milliseconds. What fires later than this says that it did not, and nothing
/// about the checks.
const LATE_MS: i64 = 1_000;

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let rules = Rules::of(config);
    definition.timer(stores::TIMEOUT_TIMER, move |ctx, timer| process(ctx, timer, &rules))
}

fn process(ctx: &mut Context<'_>, timer: &Timer<'_>, rules: &Rules) -> Result<(), ProcessError> {
    if timer.late_ms > LATE_MS {
        ctx.schedule(stores::TIMEOUT_TIMER, timer.key, ctx.now_ms().saturating_add(rules.timeout_ms));
        return Ok(());
    }
    let order_id = String::from_utf8_lossy(timer.key).into_owned();
    observe(ctx, order_id, Happening::TimedOut, None, rules)
}
