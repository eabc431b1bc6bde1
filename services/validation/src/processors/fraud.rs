//! The check FRAUD: folds each order into its customer's sessions and answers with a verdict. The rule does not look at
//! order ids: that each order is folded once is the commit protocol's promise.

use task_runtime::{Context, Definition, Input, ProcessError, Timer};

use crate::config::Config;
use crate::domain::fraud::{Session, Windows, judge};
use crate::wire::{self, reads, writes};
use crate::{stores, topics};

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let (windows, limit_major_units) = (config.windows(), config.fraud_limit_major_units);
    definition
        .input(topics::ORDERS_BY_CUSTOMER, move |ctx, input| process(ctx, input, windows, limit_major_units))
        .timer(stores::SESSIONS_TIMER, move |ctx, timer| forget(ctx, timer, windows))
}

fn process(
    ctx: &mut Context<'_>,
    input: &Input<'_>,
    windows: Windows,
    limit_major_units: u32,
) -> Result<(), ProcessError> {
    let order = reads::customer_order(input, limit_major_units)?;
    ctx.trace_field("order_id", &order.order_id);
    let customer = order.customer_id.as_bytes();
    let row = ctx.get(stores::FRAUD_SESSIONS, customer)?;
    let is_new = row.is_none();
    let mut sessions = row.map(wire::sessions).transpose()?.unwrap_or_default();
    windows.prune(&mut sessions, ctx.stream_time_ms());
    let verdict = judge(&mut sessions, order.placed, windows, order.limit);
    if is_new {
        schedule(ctx, customer, &sessions, windows);
    }
    ctx.put(stores::FRAUD_SESSIONS, customer, writes::sessions_row(sessions));
    let key = order.order_id.clone().into_bytes();
    let record = writes::verdict(order.order_id, &verdict, ctx.now_ms());
    ctx.emit(topics::ORDER_VERDICTS, &key, record)
}

/// Forgets what may be forgotten, so that customers who never come back leave nothing. One timer serves all orders of a
/// customer: it is set again only here, not with each order.
fn forget(ctx: &mut Context<'_>, timer: &Timer<'_>, windows: Windows) -> Result<(), ProcessError> {
    let Some(row) = ctx.get(stores::FRAUD_SESSIONS, timer.key)? else { return Ok(()) };
    let mut sessions = wire::sessions(row)?;
    windows.prune(&mut sessions, ctx.now_ms().max(timer.due_ms));
    if sessions.is_empty() {
        ctx.delete(stores::FRAUD_SESSIONS, timer.key);
        return Ok(());
    }
    schedule(ctx, timer.key, &sessions, windows);
    ctx.put(stores::FRAUD_SESSIONS, timer.key, writes::sessions_row(sessions));
    Ok(())
}

fn schedule(ctx: &mut Context<'_>, customer: &[u8], sessions: &[Session], windows: Windows) {
    if let Some(due_ms) = sessions.iter().map(|session| windows.expiry_ms(session)).min() {
        ctx.schedule(stores::SESSIONS_TIMER, customer, due_ms);
    }
}
