//! An order is paid in full: gives back its credit.

use task_runtime::{Context, Definition, Input, ProcessError};

use super::{known, release};
use crate::domain::credit::End;
use crate::stores::{PROGRESS, order_key};
use crate::topics;
use crate::wire::{self, records};

pub(crate) fn register(definition: Definition) -> Definition {
    definition.patient(topics::ORDER_PAYMENTS, process)
}

fn process(ctx: &mut Context<'_>, input: &Input<'_>) -> Result<(), ProcessError> {
    let (customer_id, order_id) = records::paid(input)?;
    ctx.trace_field("order_id", &order_id);
    let key = order_key(&customer_id, &order_id);
    let before = known(ctx, &key)?;
    let mut after = before.clone();
    release(ctx, &customer_id, &mut after, End::Paid)?;
    if after != before {
        ctx.put(PROGRESS, &key, wire::orders::known_row(&after));
    }
    Ok(())
}
