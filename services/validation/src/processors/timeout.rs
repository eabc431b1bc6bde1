//! Fails an order whose checks took too long, so that no order stays created for ever.

use task_runtime::{Context, Definition, ProcessError, Timer};

use super::aggregate::{Rules, observe};
use crate::config::Config;
use crate::domain::aggregate::Happening;
use crate::stores;

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let rules = Rules::of(config);
    definition.timer(stores::TIMEOUT_TIMER, move |ctx, timer| process(ctx, timer, &rules))
}

fn process(ctx: &mut Context<'_>, timer: &Timer<'_>, rules: &Rules) -> Result<(), ProcessError> {
    let order_id = String::from_utf8_lossy(timer.key).into_owned();
    observe(ctx, order_id, Happening::TimedOut, None, rules)
}
