//! A new order: shows it in the view, and judges whether its customer may spend it. One verdict for each.

use task_runtime::{Context, Definition, Input, ProcessError};

use super::{credit, known, settle};
use crate::domain::credit::judge;
use crate::stores::{ORDERS, PROGRESS, order_key};
use crate::topics;
use crate::wire::{self, records};

pub(crate) fn register(definition: Definition) -> Definition {
    definition.input(topics::ORDERS_BY_CUSTOMER, process)
}

fn process(ctx: &mut Context<'_>, input: &Input<'_>) -> Result<(), ProcessError> {
    let mut placed = records::placed(input)?;
    ctx.trace_field("order_id", &placed.order_id);
    let key = order_key(&placed.customer_id, &placed.order_id);
    ctx.put(ORDERS, &key, std::mem::take(&mut placed.row));
    let mut known = known(ctx, &key)?;
    let credit = credit(ctx, &placed.customer_id)?;
    let decision = judge(credit.as_ref(), known.reservation.as_ref(), placed.total.as_ref());
    let verdict = decision.verdict;
    settle(ctx, &placed.customer_id, &mut known, decision);
    ctx.put(PROGRESS, &key, wire::orders::known_row(&known));
    match verdict {
        Some(verdict) => {
            let record = records::verdict(&placed, verdict, ctx.now_ms());
            ctx.emit(topics::CREDIT_VERDICTS, placed.order_id.as_bytes(), record)
        }
        None => Ok(()),
    }
}
