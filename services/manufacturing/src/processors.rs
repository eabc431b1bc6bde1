//! What a manufacturing task reacts to, one file each, and how it carries out what the domain decides.

pub(crate) mod orders;
pub(crate) mod reports;
pub(crate) mod sweep;
#[cfg(test)]
mod tests;
pub(crate) mod workshop;

use task_runtime::{Context, ProcessError};

use self::sweep::IDLE_ORDERS;
use crate::domain::{Change, Early, Event, Idle, Known, State};
use crate::stores::{IDLE, OPEN, WORK_ORDERS, open_key};
use crate::{topics, wire};

/// What is known of an order.
fn known(ctx: &mut Context<'_>, order_id: &[u8]) -> Result<Option<Known>, ProcessError> {
    if let Some(row) = ctx.get(WORK_ORDERS, order_id)? {
        return Ok(Some(wire::known(&row)?));
    }
    Ok(ctx.get(IDLE, order_id)?.map(|row| wire::idle(&row)).transpose()?.map(Known::Idle))
}

/// Stores a change, keeps the queue of open work orders, and tells the others.
fn carry_out(ctx: &mut Context<'_>, order_id: &str, change: Change) -> Result<(), ProcessError> {
    let Change { work_order, events, surplus } = change;
    ctx.put(WORK_ORDERS, order_id.as_bytes(), wire::work_order_row(&work_order));
    let was_opened = matches!(events.first(), Some(Event::Opened(_)));
    let is_open = work_order.state == State::Open;
    match (was_opened, is_open) {
        (true, true) => ctx.put(OPEN, &open_key(work_order.opened_ms, order_id.as_bytes()), Vec::new()),
        (false, false) => ctx.delete(OPEN, &open_key(work_order.opened_ms, order_id.as_bytes())),
        // It was opened and completed at once, or goes on waiting in the queue.
        (true, false) | (false, true) => {}
    }
    drop_surplus(order_id, &surplus);
    for event in events {
        ctx.emit(topics::MANUFACTURED, order_id.as_bytes(), wire::event(order_id, event, ctx.now_ms()))?;
    }
    Ok(())
}

/// Notes that an order has no work order and never will.
fn rest(ctx: &mut Context<'_>, order_id: &str, idle: Idle, surplus: &[Early]) -> Result<(), ProcessError> {
    ctx.put(IDLE, order_id.as_bytes(), wire::idle_row(idle, ctx.now_ms()));
    drop_surplus(order_id, surplus);
    IDLE_ORDERS.ensure(ctx)
}

fn drop_surplus(order_id: &str, surplus: &[Early]) {
    for Early { product_id, quantity } in surplus {
        // Not louder: whoever can report could fill the log.
        tracing::debug!(order_id, product_id, quantity, "dropped early reports that nobody needs");
    }
}
