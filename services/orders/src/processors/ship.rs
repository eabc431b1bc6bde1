//! Shipping's decision: SHIPPED, or CANCELLED as it was asked for.

use task_runtime::{Context, Definition, Input, ProcessError};

use super::apply;
use crate::topics;
use crate::wire::reads::shipment_fact;

pub(crate) fn register(definition: Definition) -> Definition {
    definition.input(topics::SHIPMENTS, process)
}

fn process(ctx: &mut Context<'_>, input: &Input<'_>) -> Result<(), ProcessError> {
    apply(ctx, shipment_fact(input)?)
}
