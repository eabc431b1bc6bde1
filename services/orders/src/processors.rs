//! What an orders task does, one file for each input and command, and what they share: load an order, let the domain decide,
//! carry out the change.

pub(crate) mod cancel;
pub(crate) mod create;
pub(crate) mod manufacture;
pub(crate) mod remember;
pub(crate) mod settle;
pub(crate) mod ship;
#[cfg(test)]
mod tests;

use service_host::input::InputError;
use task_runtime::{Context, ProcessError};

use crate::domain::life::{Decision, Fact, settle};
use crate::domain::{Change, Event, Mark, Marked, Order, State};
use crate::wire::reads::FactOf;
use crate::wire::{self, writes};
use crate::{stores, topics};

/// Lets a fact act on its order.
fn apply(ctx: &mut Context<'_>, fact: Option<FactOf>) -> Result<(), ProcessError> {
    let Some(FactOf { order_id, fact, marks }) = fact else { return Ok(()) };
    // Every fact answers something that this task has told about the order, so that the order is there.
    let Some(mut order) = load(ctx, &order_id)? else {
        return Err(InputError::contradiction("order", order_id, "it does not exist").into());
    };
    match fact {
        Fact::PieceMade => order.note_pieces(marks),
        _ => order.note(marks),
    }
    let before = order.state;
    match settle(&mut order, fact, ctx.now_ms()) {
        Decision::Changed(change) => carry_out(ctx, &order_id, Some(before), &mut order, &change),
        Decision::Unchanged => {
            ctx.put(stores::ORDERS, order_id.as_bytes(), writes::row(&order));
            Ok(())
        }
        Decision::Misplaced(rule) => Err(InputError::contradiction("order", order_id, rule).into()),
    }
}

fn load(ctx: &mut Context<'_>, order_id: &str) -> Result<Option<Order>, ProcessError> {
    let row = ctx.get(stores::ORDERS, order_id.as_bytes())?;
    Ok(row.map(wire::order_of_row).transpose()?)
}

/// Stores an order after a change, and tells everyone who has to know. `before` is the state that it was in, if it was there.
fn carry_out(
    ctx: &mut Context<'_>,
    order_id: &str,
    before: Option<State>,
    order: &mut Order,
    change: &Change,
) -> Result<(), ProcessError> {
    let now_ms = ctx.now_ms();
    let key = order_id.as_bytes();
    // A record's offset is at least its number less one.
    order.note([Mark { topic: Marked::Orders, at: ctx.sent_before(topics::ORDERS, key)? }]);
    ctx.put(stores::ORDERS, key, writes::row(order));
    if before != Some(order.state) {
        if let Some(left) = before.and_then(|before| stores::state_key(before, order_id)) {
            ctx.delete(stores::BY_STATE, &left);
        }
        if let Some(entered) = stores::state_key(order.state, order_id) {
            ctx.put(stores::BY_STATE, &entered, "");
        }
    }
    ctx.emit(topics::ORDERS, key, writes::order_event(order_id, order, &change.event, now_ms))?;
    let customer_id = &order.content.customer_id;
    match change.event {
        Event::Created => {
            ctx.put(stores::BY_CUSTOMER, &stores::customer_key(customer_id, order_id), "");
            ctx.emit(topics::ORDERS_BY_CUSTOMER, customer_id.as_bytes(), writes::order_placed(order_id, order))?;
        }
        // Clients do not see it.
        Event::CancellationRequested => {}
        _ => {
            let changed = writes::customer_order_changed(order_id, order);
            ctx.emit(topics::ORDER_CHANGES_BY_CUSTOMER, customer_id.as_bytes(), changed)?;
        }
    }
    if let Some(action) = change.stock {
        for (number, line) in (0..).zip(&order.content.lines) {
            let request = writes::stock_request(order_id, number, line, action, now_ms);
            ctx.emit(topics::STOCK_REQUESTS, line.product_id.as_bytes(), request)?;
        }
    }
    Ok(())
}
