//! What is paid for an order and mailed about it: no rule of an order looks at it, its history has it.
//!
//! Money may come before the order that it is for. What was told by then is remembered apart, for as long as it takes:
//! payments does not forget it either, and limits how much there is.

use task_runtime::{Context, Definition, Input, ProcessError};

use super::{apply, load};
use crate::domain::{Mark, note};
use crate::wire::reads::{FactOf, mail_fact, payment_fact};
use crate::wire::{history, writes};
use crate::{stores, topics};

pub(crate) fn register(definition: Definition) -> Definition {
    // Nobody waits for a history, so that what comes here may share its commits.
    definition.patient(topics::PAYMENTS, payment).patient(topics::MAILS, mail)
}

fn payment(ctx: &mut Context<'_>, input: &Input<'_>) -> Result<(), ProcessError> {
    let Some(FactOf { order_id, marks, .. }) = payment_fact(input)? else { return Ok(()) };
    let key = order_id.as_bytes();
    if let Some(mut order) = load(ctx, &order_id)? {
        order.note(marks);
        ctx.put(stores::ORDERS, key, writes::row(&order));
    } else {
        let mut early = early(ctx, &order_id)?;
        note(&mut early, marks);
        ctx.put(stores::EARLY, key, history::early_row(&early));
    }
    Ok(())
}

fn mail(ctx: &mut Context<'_>, input: &Input<'_>) -> Result<(), ProcessError> {
    apply(ctx, mail_fact(input)?)
}

/// What was told of an order that comes now.
pub(super) fn take(ctx: &mut Context<'_>, order_id: &str) -> Result<Vec<Mark>, ProcessError> {
    let early = early(ctx, order_id)?;
    if !early.is_empty() {
        ctx.delete(stores::EARLY, order_id.as_bytes());
    }
    Ok(early)
}

fn early(ctx: &mut Context<'_>, order_id: &str) -> Result<Vec<Mark>, ProcessError> {
    let row = ctx.get(stores::EARLY, order_id.as_bytes())?;
    Ok(row.map(history::early).transpose()?.unwrap_or_default())
}
