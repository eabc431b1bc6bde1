//! The check FRAUD: folds each order into its customer's sessions and answers with a verdict; and velocity: counts it in its
//! window and keeps the alert of that window current. The rules do not look at order ids: that each order is folded once is
//! the commit protocol's promise.

use task_runtime::{Context, Definition, Input, ProcessError, Timer};

use crate::config::Config;
use crate::domain::fraud::{Windows, judge};
use crate::domain::{History, velocity};
use crate::wire::{self, reads, writes};
use crate::{stores, topics};

/// By what orders of a customer are judged.
#[derive(Debug, Clone, Copy)]
struct Rules {
    sessions: Windows,
    limit_major_units: u32,
    velocity: velocity::Rule,
}

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let rules = Rules {
        sessions: config.windows(),
        limit_major_units: config.fraud_limit_major_units,
        velocity: config.velocity(),
    };
    definition
        .input(topics::ORDERS_BY_CUSTOMER, move |ctx, input| process(ctx, input, &rules))
        .timer(stores::SESSIONS_TIMER, move |ctx, timer| forget(ctx, timer, &rules))
}

fn process(ctx: &mut Context<'_>, input: &Input<'_>, rules: &Rules) -> Result<(), ProcessError> {
    let order = reads::customer_order(input, rules.limit_major_units)?;
    ctx.trace_field("order_id", &order.order_id);
    let customer = order.customer_id.as_bytes();
    let row = ctx.get(stores::FRAUD_SESSIONS, customer)?;
    let is_new = row.is_none();
    let mut history = row.map(wire::history).transpose()?.unwrap_or_default();
    // The time of others says nothing here: whoever catches up has seen it before the orders of this customer, which come one
    // after the other. Nor does a customer's own time count further ahead than the owner's clock allows.
    let newest_ms = history.sessions.iter().map(|session| session.end_ms).max();
    let newest_ms = newest_ms.max(Some(order.placed.time_ms)).unwrap_or(order.placed.time_ms).min(ctx.stream_time_ms());
    let alert = rules.velocity.count(&mut history.windows, order.placed.time_ms, newest_ms);
    if let Some(alert) = alert {
        ctx.put(
            stores::FRAUD_ALERTS,
            &stores::alert_key(&order.customer_id, alert.start_ms),
            writes::alert_row(&alert),
        );
    }
    rules.sessions.prune(&mut history.sessions, newest_ms);
    let verdict = judge(&mut history.sessions, order.placed, rules.sessions, order.limit);
    if is_new {
        schedule(ctx, customer, &history, rules);
    }
    ctx.put(stores::FRAUD_SESSIONS, customer, writes::history_row(history));
    let key = order.order_id.clone().into_bytes();
    let record = writes::verdict(order.order_id, &verdict, ctx.now_ms());
    ctx.emit(topics::ORDER_VERDICTS, &key, record)
}

/// Forgets what may be forgotten, so that customers who never come back leave nothing. One timer serves all orders of a
/// customer: it is set again only here, not with each order.
fn forget(ctx: &mut Context<'_>, timer: &Timer<'_>, rules: &Rules) -> Result<(), ProcessError> {
    let Some(row) = ctx.get(stores::FRAUD_SESSIONS, timer.key)? else { return Ok(()) };
    let mut history = wire::history(row)?;
    let now_ms = ctx.now_ms().max(timer.due_ms);
    rules.sessions.prune(&mut history.sessions, now_ms);
    rules.velocity.prune(&mut history.windows, now_ms);
    if history == History::default() {
        ctx.delete(stores::FRAUD_SESSIONS, timer.key);
        return Ok(());
    }
    schedule(ctx, timer.key, &history, rules);
    ctx.put(stores::FRAUD_SESSIONS, timer.key, writes::history_row(history));
    Ok(())
}

/// Sets the timer for the next session to go; windows, which are shorter, go with it unless they are all that is left.
fn schedule(ctx: &mut Context<'_>, customer: &[u8], history: &History, rules: &Rules) {
    let sessions = history.sessions.iter().map(|session| rules.sessions.expiry_ms(session)).min();
    let windows = || history.windows.iter().map(|window| rules.velocity.expiry_ms(window)).max();
    if let Some(due_ms) = sessions.or_else(windows) {
        ctx.schedule(stores::SESSIONS_TIMER, customer, due_ms);
    }
}
