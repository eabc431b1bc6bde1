//! What a shipping task reacts to, one file each, and how it carries out what the domain decides.

pub(crate) mod manufactured;
pub(crate) mod orders;
#[cfg(test)]
mod tests;

use task_runtime::{Context, ProcessError};

use crate::domain::{self, Decision, Fact, State};
use crate::stores::{SHIPMENTS, WAITING};
use crate::{topics, wire};

/// Takes one fact about one order: stores what it changes and tells the others.
fn take(ctx: &mut Context<'_>, order_id: &str, fact: &Fact<'_>) -> Result<(), ProcessError> {
    let key = order_id.as_bytes();
    let before = ctx.get(SHIPMENTS, key)?.map(|row| wire::shipment(&row)).transpose()?;
    let state_before = before.as_ref().map_or(State::Early, |shipment| shipment.state);
    let Some(Decision { shipment, event }) = domain::apply(before, fact, ctx.now_ms()) else {
        tracing::trace!(order_id, "nothing new about the shipment");
        return Ok(());
    };
    match shipment.state {
        State::Early => tracing::debug!(order_id, "items manufactured, order not known yet"),
        State::Waiting => {
            tracing::debug!(order_id, progress = wire::progress(&shipment), "items manufactured, waiting")
        }
        State::Shipped => tracing::debug!(order_id, progress = wire::progress(&shipment), "shipped"),
        State::Cancelled => tracing::debug!(order_id, progress = wire::progress(&shipment), "cancelled, never ships"),
    }
    match (state_before == State::Waiting, shipment.state == State::Waiting) {
        (false, true) => ctx.put(WAITING, key, Vec::new()),
        (true, false) => ctx.delete(WAITING, key),
        (true, true) | (false, false) => {}
    }
    ctx.put(SHIPMENTS, key, wire::shipment_row(shipment));
    match event {
        Some(event) => ctx.emit(topics::SHIPMENTS, key, wire::event(order_id, event, ctx.now_ms())),
        None => Ok(()),
    }
}
