//! A change of an order: shows it in the view, and gives back its credit when it has ended unpaid.

use task_runtime::{Context, Definition, Input, ProcessError};

use super::{known, release};
use crate::stores::{PROGRESS, order_key};
use crate::topics;
use crate::wire::{self, records};

pub(crate) fn register(definition: Definition) -> Definition {
    definition.patient(topics::ORDER_CHANGES_BY_CUSTOMER, process)
}

fn process(ctx: &mut Context<'_>, input: &Input<'_>) -> Result<(), ProcessError> {
    let Some(changed) = records::changed(input)? else {
        tracing::warn!(topic = %input.topic, offset = %input.offset, "skipped an order in an unknown state");
        return Ok(());
    };
    ctx.trace_field("order_id", &changed.order_id);
    let key = order_key(&changed.customer_id, &changed.order_id);
    let before = known(ctx, &key)?;
    let mut after = before.clone();
    if let Some(end) = changed.progress.end() {
        release(ctx, &changed.customer_id, &mut after, end)?;
    }
    if changed.progress.is_news(after.progress.as_ref()) {
        after.progress = Some(changed.progress);
    }
    if after != before {
        ctx.put(PROGRESS, &key, wire::orders::known_row(&after));
    }
    Ok(())
}
