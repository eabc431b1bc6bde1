//! Collects verdicts by order, judges DETAILS on the way, and announces what follows.

use std::sync::Arc;

use task_runtime::{Context, Definition, Input, ProcessError};

use crate::config::Config;
use crate::domain::Check;
use crate::domain::aggregate::{Happening, Heard, Validation};
use crate::wire::{self, reads, writes};
use crate::{stores, topics};

/// What decides, and by when.
#[derive(Debug)]
pub(super) struct Rules {
    required: Vec<Check>,
    pub(super) timeout_ms: i64,
}

impl Rules {
    pub(super) fn of(config: &Config) -> Self {
        Self { required: config.required(), timeout_ms: config.timeout_ms() }
    }
}

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let rules = Arc::new(Rules::of(config));
    let of_orders = Arc::clone(&rules);
    let of_inventory = Arc::clone(&rules);
    let of_credit = Arc::clone(&rules);
    definition
        .input(topics::ORDERS, move |ctx, input| process_order(ctx, input, &of_orders))
        .input(topics::INVENTORY_VERDICTS, move |ctx, input| process_verdict(ctx, input, &of_inventory))
        .input(topics::CREDIT_VERDICTS, move |ctx, input| process_verdict(ctx, input, &of_credit))
        .input(topics::ORDER_VERDICTS, move |ctx, input| process_verdict(ctx, input, &rules))
}

fn process_order(ctx: &mut Context<'_>, input: &Input<'_>, rules: &Rules) -> Result<(), ProcessError> {
    match reads::order_happening(input)? {
        Some((order_id, happening)) => observe(ctx, order_id, happening, None, rules),
        None => Ok(()),
    }
}

fn process_verdict(ctx: &mut Context<'_>, input: &Input<'_>, rules: &Rules) -> Result<(), ProcessError> {
    let (order_id, happening) = reads::verdict(input)?;
    let heard = Heard { topic: input.topic.as_str().to_owned(), offset: input.offset.0 };
    observe(ctx, order_id, happening, Some(heard), rules)
}

/// Lets something happen to the validation of an order, and carries out what follows. `heard` is the record of a verdict.
pub(super) fn observe(
    ctx: &mut Context<'_>,
    order_id: String,
    happening: Happening,
    heard: Option<Heard>,
    rules: &Rules,
) -> Result<(), ProcessError> {
    let key = order_id.as_bytes();
    let row = ctx.get(stores::VALIDATIONS, key)?;
    let mut validation = row.map(wire::validation).transpose()?.unwrap_or_default();
    let was_awaiting = is_awaiting(&validation);
    let step = validation.observe(happening, &rules.required);
    if !step.is_changed {
        return Ok(());
    }
    match (was_awaiting, is_awaiting(&validation), &validation.order) {
        (false, true, Some(order)) => {
            ctx.schedule(stores::TIMEOUT_TIMER, key, order.created_ms.saturating_add(rules.timeout_ms));
        }
        (true, false, _) => ctx.cancel(stores::TIMEOUT_TIMER, key),
        _ => {}
    }
    validation.heard.extend(heard);
    let told = if step.announce.is_some() { std::mem::take(&mut validation.heard) } else { Vec::new() };
    ctx.put(stores::VALIDATIONS, key, writes::validation_row(validation));
    if let Some(announcement) = step.announce {
        let key = order_id.clone().into_bytes();
        let event = writes::validation_event(order_id, announcement, told, ctx.now_ms());
        ctx.emit(topics::ORDER_VALIDATIONS, &key, event)?;
    }
    Ok(())
}

/// The timer is set exactly as long as this holds.
fn is_awaiting(validation: &Validation) -> bool {
    validation.order.is_some() && validation.conclusion.is_none()
}
