//! How far the work order has come: IN_MANUFACTURING, READY.

use task_runtime::{Context, Definition, Input, ProcessError};

use super::apply;
use crate::topics;
use crate::wire::reads::manufacturing_fact;

pub(crate) fn register(definition: Definition) -> Definition {
    definition.input(topics::MANUFACTURED, process)
}

fn process(ctx: &mut Context<'_>, input: &Input<'_>) -> Result<(), ProcessError> {
    apply(ctx, manufacturing_fact(input)?)
}
