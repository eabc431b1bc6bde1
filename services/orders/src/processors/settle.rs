//! Validation's decision: VALIDATED, or REJECTED with reasons.

use task_runtime::{Context, Definition, Input, ProcessError};

use super::apply;
use crate::topics;
use crate::wire::reads::validation_fact;

pub(crate) fn register(definition: Definition) -> Definition {
    definition.input(topics::ORDER_VALIDATIONS, process)
}

fn process(ctx: &mut Context<'_>, input: &Input<'_>) -> Result<(), ProcessError> {
    apply(ctx, validation_fact(input)?)
}
