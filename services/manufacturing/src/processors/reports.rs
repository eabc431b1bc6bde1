//! Takes reports of what was made; those of an order that is not known yet wait for it, and are forgotten in the end.

use proto::manufacturing::v1 as pb;
use service_host::input::decode;
use service_host::reply;
use task_runtime::{Command, Context, Definition, ProcessError, Reply, Timer};

use super::{carry_out, known, workshop};
use crate::domain::{self, Known, Reported, State};
use crate::stores::WORK_ORDERS;
use crate::{Config, wire};

/// Name of the command behind `ReportManufactured`; its payload is the request.
pub(crate) const REPORT_MANUFACTURED: &str = "report-manufactured";
/// Forgets the early reports of one order.
const FORGET: &str = "forget-early-reports";

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let config = config.clone();
    definition.command(REPORT_MANUFACTURED, move |ctx, command| report(ctx, command, &config)).timer(FORGET, forget)
}

/// The early reports of this order are used or dropped: nothing is left to forget.
pub(super) fn take_up(ctx: &mut Context<'_>, order_id: &[u8]) {
    ctx.delete(WORK_ORDERS, order_id);
    ctx.cancel(FORGET, order_id);
}

fn report(ctx: &mut Context<'_>, command: &Command, config: &Config) -> Result<Reply, ProcessError> {
    let request: pb::ReportManufacturedRequest = decode("ReportManufacturedRequest", &command.payload)?;
    let pb::ReportManufacturedRequest { order_id, product_id, quantity, .. } = request;
    let before = known(ctx, order_id.as_bytes())?;
    let is_first = before.is_none();
    let response = match domain::report(before, (&product_id, quantity), config.early_products_max, ctx.now_ms()) {
        Err(refusal) => return Ok(Reply(reply::encode_problem(&wire::problem(&refusal, &order_id, &product_id)))),
        Ok(Reported::Remembered(early)) => {
            ctx.put(WORK_ORDERS, order_id.as_bytes(), wire::early_row(early));
            if is_first {
                ctx.schedule(FORGET, order_id.as_bytes(), ctx.now_ms().saturating_add(config.early_reports_kept_ms()));
            }
            pb::ReportManufacturedResponse { remembered: true, ..Default::default() }
        }
        Ok(Reported::Applied(change)) => {
            if change.work_order.state == State::Open {
                workshop::ensure(ctx, config.items_per_second)?;
            }
            let work_order = Some(wire::work_order_to_proto(&order_id, change.work_order.clone()));
            carry_out(ctx, &order_id, change)?;
            pb::ReportManufacturedResponse { work_order, ..Default::default() }
        }
    };
    Ok(Reply(reply::encode_ok(&response)))
}

fn forget(ctx: &mut Context<'_>, timer: &Timer<'_>) -> Result<(), ProcessError> {
    if let Some(Known::Early(early)) = known(ctx, timer.key)? {
        let (order_id, products) = (timer.key.escape_ascii(), early.len());
        tracing::info!(%order_id, products, "forgot early reports, for their order never came");
        ctx.delete(WORK_ORDERS, timer.key);
    }
    Ok(())
}
