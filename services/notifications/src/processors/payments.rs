//! Takes that an order is paid in full.

use task_runtime::{Context, Definition, Input, ProcessError};

use super::learn;
use crate::domain::Fact;
use crate::{Config, topics, wire};

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let message_id_domain = config.message_id_domain.clone();
    definition.patient(topics::ORDER_PAYMENTS, move |ctx, input| process(ctx, input, &message_id_domain))
}

fn process(ctx: &mut Context<'_>, input: &Input<'_>, message_id_domain: &str) -> Result<(), ProcessError> {
    let paid = wire::order_paid(input.record.key.as_ref(), input.value()?)?;
    learn(ctx, (&paid.customer_id, &paid.order_id), Fact::Paid, message_id_domain, |_| {})
}
