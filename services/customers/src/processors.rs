//! What a customers task reacts to, one file each, and what they share: rows of customers and of their orders.

pub(crate) mod changes;
pub(crate) mod commands;
pub(crate) mod greet;
pub(crate) mod payments;
pub(crate) mod placed;
#[cfg(test)]
mod tests;

use task_runtime::{Context, ProcessError};

use crate::domain::credit::{Credit, Decision, End, close};
use crate::stores::{CREDIT, PROGRESS};
use crate::wire;
use crate::wire::orders::Known;

fn credit(ctx: &mut Context<'_>, customer_id: &str) -> Result<Option<Credit>, ProcessError> {
    Ok(ctx.get(CREDIT, customer_id.as_bytes())?.map(|row| wire::credit(&row)).transpose()?)
}

fn known(ctx: &mut Context<'_>, key: &[u8]) -> Result<Known, ProcessError> {
    Ok(ctx.get(PROGRESS, key)?.map(|row| wire::orders::known(&row)).transpose()?.unwrap_or_default())
}

/// Gives back what an order holds. `known` is what is known of it so far, and what is to be stored of it afterwards.
fn release(ctx: &mut Context<'_>, customer_id: &str, known: &mut Known, end: End) -> Result<(), ProcessError> {
    let credit = credit(ctx, customer_id)?;
    let decision = close(credit.as_ref(), known.reservation.as_ref(), end);
    settle(ctx, customer_id, known, decision);
    Ok(())
}

/// Carries out what a decision changes of the credit, and notes what it says of the order.
fn settle(ctx: &mut Context<'_>, customer_id: &str, known: &mut Known, decision: Decision) {
    if let Some(credit) = decision.credit {
        ctx.put(CREDIT, customer_id.as_bytes(), wire::credit_row(&credit));
    }
    if decision.reservation.is_some() {
        known.reservation = decision.reservation;
    }
}
