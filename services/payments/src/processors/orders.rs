//! Takes what an order costs, and that it costs nothing any more.

use task_runtime::{Context, Definition, Input, ProcessError};

use super::{account, carry_out};
use crate::wire::{self, OrderFact};
use crate::{domain, topics};

pub(crate) fn register(definition: Definition) -> Definition {
    definition.input(topics::ORDERS, process)
}

fn process(ctx: &mut Context<'_>, input: &Input<'_>) -> Result<(), ProcessError> {
    let (order_id, fact) = wire::order_fact(input.record.key.as_ref(), input.value()?)?;
    let change = match fact {
        OrderFact::Created(bill) => domain::created(account(ctx, &order_id)?, bill),
        OrderFact::Ended => domain::ended(account(ctx, &order_id)?),
        OrderFact::Other => None,
    };
    match change {
        Some(change) => carry_out(ctx, &order_id, change),
        None => Ok(()),
    }
}
