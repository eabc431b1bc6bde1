//! Takes what customers order, and how it fares.

use task_runtime::{Context, Definition, Input, ProcessError};

use super::learn;
use crate::domain::Fact;
use crate::{Config, topics, wire};

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let (placed_domain, changed_domain) = (config.message_id_domain.clone(), config.message_id_domain.clone());
    definition
        .patient(topics::ORDERS_BY_CUSTOMER, move |ctx, input| placed(ctx, input, &placed_domain))
        .patient(topics::ORDER_CHANGES_BY_CUSTOMER, move |ctx, input| changed(ctx, input, &changed_domain))
}

fn placed(ctx: &mut Context<'_>, input: &Input<'_>, message_id_domain: &str) -> Result<(), ProcessError> {
    let placed = wire::order_placed(input.record.key.as_ref(), input.value()?)?;
    let created_ms = wire::ms(placed.time.as_ref());
    learn(ctx, (&placed.customer_id, &placed.order_id), Fact::Placed, message_id_domain, |row| {
        row.lines = placed.lines.clone();
        row.total = placed.total.clone();
        row.created_ms = created_ms;
    })
}

fn changed(ctx: &mut Context<'_>, input: &Input<'_>, message_id_domain: &str) -> Result<(), ProcessError> {
    let changed = wire::order_changed(input.record.key.as_ref(), input.value()?)?;
    match wire::order_fact(&changed) {
        Some(fact) => learn(ctx, (&changed.customer_id, &changed.order_id), fact, message_id_domain, |_| {}),
        None => Ok(()),
    }
}
