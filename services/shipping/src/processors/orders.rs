//! Takes what orders says: what an order needs, and whether it is to be cancelled.

use task_runtime::{Context, Definition, Input, ProcessError};

use super::take;
use crate::{topics, wire};

pub(crate) fn register(definition: Definition) -> Definition {
    definition.input(topics::ORDERS, process)
}

fn process(ctx: &mut Context<'_>, input: &Input<'_>) -> Result<(), ProcessError> {
    let event = wire::order_event(input.record.key.as_ref(), input.value()?)?;
    match wire::order_fact(&event)? {
        Some(fact) => take(ctx, &event.order_id, &fact),
        None => Ok(()),
    }
}
