//! What a notifications task reacts to, one file each, and how it carries out what the domain decides.

pub(crate) mod customers;
pub(crate) mod deliveries;
pub(crate) mod orders;
pub(crate) mod payments;
#[cfg(test)]
mod tests;

use proto::customers::v1::Customer;
use proto::notifications::v1::JoinRow;
use task_runtime::{Context, ProcessError};

use crate::domain::Fact;
use crate::mail::{self, Mail};
use crate::stores::{CUSTOMERS, JOINS, NOTIFICATIONS, join_key};
use crate::wire;

/// Takes one fact about one order; `note` writes down what comes with it.
fn learn(
    ctx: &mut Context<'_>,
    (customer_id, order_id): (&str, &str),
    fact: Fact,
    message_id_domain: &str,
    note: impl FnOnce(&mut JoinRow),
) -> Result<(), ProcessError> {
    ctx.trace_field("order_id", order_id);
    let key = join_key(customer_id, order_id);
    let mut row = ctx.get(JOINS, &key)?.map(|row| wire::join_row(&row)).transpose()?.unwrap_or_default();
    if !wire::join(&row).learn(fact) {
        tracing::trace!(order_id, "nothing new about the order");
        return Ok(());
    }
    note(&mut row);
    let customer = ctx.get(CUSTOMERS, customer_id.as_bytes())?.map(|row| wire::customer(&row)).transpose()?;
    conclude(ctx, (&key, order_id), row, Some(fact), customer.as_ref(), message_id_domain)
}

/// Does what is to be done about an order now, and stores what is known of it.
fn conclude(
    ctx: &mut Context<'_>,
    (key, order_id): (&[u8], &str),
    row: JoinRow,
    fact: Option<Fact>,
    customer: Option<&Customer>,
    message_id_domain: &str,
) -> Result<(), ProcessError> {
    let mut join = wire::join(&row);
    let before = join;
    if let Some(fact) = fact {
        join.learn(fact);
    }
    let conclusion = join.conclude(customer.is_some());
    if let Some(customer) = customer {
        if conclusion.enrich {
            let (topic, record) = wire::enriched(order_id, &row, customer, ctx.now_ms());
            tracing::debug!(order_id, topic, "validated order and its customer are together");
            ctx.emit(topic, order_id.as_bytes(), record)?;
        }
        // A row that is there says that it was decided before, whatever else is known.
        if conclusion.notify && ctx.get(NOTIFICATIONS, order_id.as_bytes())?.is_none() {
            let mail = Mail {
                order_id: order_id.to_owned(),
                recipient: deliveries::recipient(customer),
                subject: mail::subject(order_id),
                body: mail::body(order_id, customer, &row.lines, row.total.as_ref()),
                message_id: mail::message_id(order_id, message_id_domain),
                created_ms: ctx.now_ms(),
            };
            tracing::debug!(order_id, "e-mail is to be sent");
            deliveries::add(ctx, order_id, wire::new_notification(&customer.customer_id, mail))?;
        }
    }
    if join != before {
        ctx.put(JOINS, key, wire::joined(row, join));
    }
    Ok(())
}
