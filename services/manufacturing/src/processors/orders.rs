//! Opens the work order of a validated order, closes that of a cancelled one, and notes which orders have none.

use task_runtime::{Context, Definition, Input, ProcessError};

use super::{carry_out, known, reports, rest, workshop};
use crate::domain::{self, Known, State, Step};
use crate::wire::{self, OrderFact};
use crate::{Config, topics};

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let items_per_second = config.items_per_second;
    definition.input(topics::ORDERS, move |ctx, input| process(ctx, input, items_per_second))
}

fn process(ctx: &mut Context<'_>, input: &Input<'_>, items_per_second: u32) -> Result<(), ProcessError> {
    match wire::order_fact(input.record.key.as_ref(), input.value()?)? {
        OrderFact::Validated(needs) => take(ctx, key(input)?, items_per_second, |before, now_ms| {
            let needs = needs.iter().map(|(product_id, quantity)| (product_id.as_str(), *quantity));
            domain::open(before, needs, now_ms)
        }),
        OrderFact::Ended(idle) => {
            take(ctx, key(input)?, items_per_second, |before, now_ms| domain::end(before, idle, now_ms))
        }
        OrderFact::Other => Ok(()),
    }
}

fn take(
    ctx: &mut Context<'_>,
    order_id: &str,
    items_per_second: u32,
    decide: impl FnOnce(Option<Known>, i64) -> Option<Step>,
) -> Result<(), ProcessError> {
    let before = known(ctx, order_id.as_bytes())?;
    let was_early = matches!(before, Some(Known::Early(_)));
    let Some(step) = decide(before, ctx.now_ms()) else { return Ok(()) };
    if was_early {
        reports::take_up(ctx, order_id.as_bytes());
    }
    match step {
        Step::Work(change) => {
            if change.work_order.state == State::Open {
                workshop::ensure(ctx, items_per_second)?;
            }
            carry_out(ctx, order_id, change)
        }
        Step::Idle { idle, surplus } => rest(ctx, order_id, idle, &surplus),
    }
}

/// The order of a record whose key was compared with its message, which is text.
fn key<'a>(input: &'a Input<'_>) -> Result<&'a str, ProcessError> {
    let key = input.record.key.as_deref().unwrap_or_default();
    std::str::from_utf8(key).map_err(|_| ProcessError::poison("the key is no text"))
}
