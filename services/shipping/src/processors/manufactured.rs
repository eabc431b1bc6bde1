//! Takes what manufacturing has made.

use task_runtime::{Context, Definition, Input, ProcessError};

use super::take;
use crate::{topics, wire};

pub(crate) fn register(definition: Definition) -> Definition {
    definition.input(topics::MANUFACTURED, process)
}

fn process(ctx: &mut Context<'_>, input: &Input<'_>) -> Result<(), ProcessError> {
    let event = wire::manufacturing_event(input.record.key.as_ref(), input.value()?)?;
    match wire::manufacturing_fact(&event) {
        Some(fact) => take(ctx, &event.order_id, &fact),
        None => Ok(()),
    }
}
