//! Opens the work order of a validated order, and closes that of a cancelled one.

use task_runtime::{Context, Definition, Input, ProcessError};

use super::{carry_out, known, reports, workshop};
use crate::domain::{self, Known, State};
use crate::wire::{self, OrderFact};
use crate::{Config, topics};

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let items_per_second = config.items_per_second;
    definition.input(topics::ORDERS, move |ctx, input| process(ctx, input, items_per_second))
}

fn process(ctx: &mut Context<'_>, input: &Input<'_>, items_per_second: u32) -> Result<(), ProcessError> {
    match wire::order_fact(input.record.key.as_ref(), input.value()?)? {
        // Most orders have nothing to make: they cost no look into the store.
        OrderFact::Validated(needs) if needs.is_empty() => Ok(()),
        OrderFact::Validated(needs) => open(ctx, key(input)?, &needs, items_per_second),
        OrderFact::Cancelled => cancel(ctx, key(input)?),
        OrderFact::Other => Ok(()),
    }
}

fn open(
    ctx: &mut Context<'_>,
    order_id: &str,
    needs: &[(String, i64)],
    items_per_second: u32,
) -> Result<(), ProcessError> {
    let before = known(ctx, order_id.as_bytes())?;
    let was_early = matches!(before, Some(Known::Early(_)));
    let needs = needs.iter().map(|(product_id, quantity)| (product_id.as_str(), *quantity));
    let Some(change) = domain::open(before, needs, ctx.now_ms()) else { return Ok(()) };
    if was_early {
        reports::keep(ctx, order_id.as_bytes());
    }
    if change.work_order.state == State::Open {
        workshop::ensure(ctx, items_per_second)?;
    }
    carry_out(ctx, order_id, change)
}

fn cancel(ctx: &mut Context<'_>, order_id: &str) -> Result<(), ProcessError> {
    match known(ctx, order_id.as_bytes())? {
        Some(Known::Opened(work_order)) => match domain::cancel(work_order, ctx.now_ms()) {
            Some(change) => carry_out(ctx, order_id, change),
            None => Ok(()),
        },
        // Early reports of an order that will never be made go when their time is over.
        Some(Known::Early(_)) | None => Ok(()),
    }
}

/// The order of a record whose key was compared with its message, which is text.
fn key<'a>(input: &'a Input<'_>) -> Result<&'a str, ProcessError> {
    let key = input.record.key.as_deref().unwrap_or_default();
    std::str::from_utf8(key).map_err(|_| ProcessError::poison("the key is no text"))
}
