//! The command CreateOrder: a new order, or the one that is there.

use proto::orders::v1::CreateOrderReply;
use service_host::{Problem, reply};
use task_runtime::{Command, Context, Definition, ProcessError, Reply};

use super::{carry_out, load, remember};
use crate::domain::create::{Creation, create};
use crate::wire;
use crate::wire::requests::{CREATE, wanted_order};

pub(crate) fn register(definition: Definition) -> Definition {
    definition.command(CREATE, process)
}

fn process(ctx: &mut Context<'_>, command: &Command) -> Result<Reply, ProcessError> {
    let (order_id, is_made, content) = wanted_order(&command.payload, &command.attachment)?;
    let existing = load(ctx, &order_id)?;
    let mut answer = CreateOrderReply::default();
    match create(existing.as_ref(), content, ctx.now_ms()) {
        Creation::Created(mut order, change) => {
            order.note(remember::take(ctx, &order_id)?);
            carry_out(ctx, &order_id, None, &mut order, &change)?;
            answer.create_time_ms = order.created_ms;
        }
        Creation::Exists => answer.existing = existing.as_ref().map(wire::row),
        Creation::Taken => return Ok(Reply(reply::encode_problem(&Problem::already_exists("order", &order_id)))),
    }
    if is_made {
        answer.generated_order_id = order_id;
    }
    Ok(Reply(reply::encode_ok(&answer)))
}
