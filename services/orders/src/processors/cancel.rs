//! The command CancelOrder. An answer without a problem promises only that the order's final state will tell how it ended.

use proto::orders::v1::CancelOrderReply;
use service_host::{Problem, reply};
use task_runtime::{Command, Context, Definition, ProcessError, Reply};

use super::{carry_out, load};
use crate::domain::life::{Cancellation, cancel};
use crate::wire::requests::{CANCEL, version_of_etag, wanted_cancellation};

pub(crate) fn register(definition: Definition) -> Definition {
    definition.command(CANCEL, process)
}

fn process(ctx: &mut Context<'_>, command: &Command) -> Result<Reply, ProcessError> {
    let (order_id, etag) = wanted_cancellation(&command.payload)?;
    let refuse = |problem: &Problem| Ok(Reply(reply::encode_problem(problem)));
    let Some(mut order) = load(ctx, &order_id)? else { return refuse(&Problem::not_found("order", &order_id)) };
    let before = order.state;
    let wanted = (!etag.is_empty()).then(|| version_of_etag(&etag));
    match cancel(&mut order, wanted, ctx.now_ms()) {
        Cancellation::Cancelled(change) | Cancellation::Requested(change) => {
            carry_out(ctx, &order_id, Some(before), &mut order, &change)?;
        }
        Cancellation::Pending => {}
        Cancellation::VersionConflict { current } => return refuse(&Problem::version_conflict(current, etag)),
        Cancellation::Illegal(state) => return refuse(&Problem::illegal_transition(state.name(), CANCEL)),
    }
    Ok(Reply(reply::encode_ok(&CancelOrderReply {})))
}
