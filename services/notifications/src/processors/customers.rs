//! Takes who the customers are. Orders that waited for theirs are gone through a page at a time, so that a customer with many
//! of them is a small part of a commit.

use service_host::Chain;
use task_runtime::{Context, Definition, Input, ProcessError, Timer};

use super::conclude;
use crate::stores::{CUSTOMERS, JOINS, join_key, parse_join_key};
use crate::{Config, topics, wire};

/// Goes on behind the order whose key it has.
const TIMER: &str = "catch-up";
/// Orders of a page.
const PAGE_ORDERS: usize = 64;

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let (input_domain, timer_domain) = (config.message_id_domain.clone(), config.message_id_domain.clone());
    definition
        .patient(topics::CUSTOMERS, move |ctx, input| process(ctx, input, &input_domain))
        .timer(TIMER, move |ctx, timer| go_on(ctx, timer, &timer_domain))
}

fn process(ctx: &mut Context<'_>, input: &Input<'_>, message_id_domain: &str) -> Result<(), ProcessError> {
    let (customer_id, customer) = wire::customer_event(input.record.key.as_ref(), input.value()?)?;
    let Some(customer) = customer else { return Ok(()) };
    let is_new = ctx.get(CUSTOMERS, customer_id.as_bytes())?.is_none();
    ctx.put(CUSTOMERS, customer_id.as_bytes(), wire::customer_row(customer));
    // Orders of a known customer wait for nothing that a change of the customer could bring.
    if is_new { catch_up(ctx, &join_key(&customer_id, ""), message_id_domain) } else { Ok(()) }
}

fn go_on(ctx: &mut Context<'_>, timer: &Timer<'_>, message_id_domain: &str) -> Result<(), ProcessError> {
    catch_up(ctx, timer.key, message_id_domain)
}

/// Goes through the orders of one customer behind a key.
fn catch_up(ctx: &mut Context<'_>, after: &[u8], message_id_domain: &str) -> Result<(), ProcessError> {
    let Some((customer_id, _)) = parse_join_key(after) else { return Ok(()) };
    let Some(row) = ctx.get(CUSTOMERS, customer_id.as_bytes())? else { return Ok(()) };
    let customer = wire::customer(&row)?;
    let mut last = None;
    for (key, row) in ctx.scan_after(JOINS, after, PAGE_ORDERS)? {
        let Some((_, order_id)) = parse_join_key(&key).filter(|(owner, _)| *owner == customer_id) else {
            return Ok(());
        };
        match wire::join_row(&row) {
            Ok(row) => conclude(ctx, (&key, order_id), row, None, Some(&customer), message_id_domain)?,
            // The customer's other orders do not wait for somebody to see to it.
            Err(error) => {
                let error = Chain(&error);
                tracing::error!(customer_id, order_id, %error, "passed over an order whose row cannot be read");
            }
        }
        last = Some(key.clone());
    }
    if let Some(last) = last {
        ctx.schedule(TIMER, &last, ctx.now_ms());
    }
    Ok(())
}
