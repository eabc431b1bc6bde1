//! What a payments task reacts to, one file each, and how it carries out what the domain decides.

pub(crate) mod commands;
pub(crate) mod orders;
#[cfg(test)]
mod tests;

use task_runtime::{Context, ProcessError};

use crate::domain::{Account, Change, Event};
use crate::stores::ACCOUNTS;
use crate::{topics, wire};

fn account(ctx: &mut Context<'_>, order_id: &str) -> Result<Account, ProcessError> {
    match ctx.get(ACCOUNTS, order_id.as_bytes())? {
        Some(row) => Ok(wire::account(&row)?),
        None => Ok(Account::default()),
    }
}

/// Stores the account and tells the others, each where its reader looks.
fn carry_out(ctx: &mut Context<'_>, order_id: &str, change: Change) -> Result<(), ProcessError> {
    ctx.put(ACCOUNTS, order_id.as_bytes(), wire::account_row(change.account));
    for event in change.events {
        ctx.emit(topics::PAYMENTS, order_id.as_bytes(), wire::event(order_id, &event, ctx.now_ms()))?;
        if let Event::Settled { customer_id, due, paid } = &event {
            tracing::debug!(order_id, customer_id, "order is paid in full");
            let paid = wire::order_paid(order_id, customer_id, due, paid, ctx.now_ms());
            ctx.emit(topics::ORDER_PAYMENTS, customer_id.as_bytes(), paid)?;
        }
    }
    Ok(())
}
