//! The outbox: puts e-mails into it, takes what came of sending them, and sets aside those that are given up.

use proto::customers::v1::Customer;
use proto::notifications::v1::NotificationRow;
use task_runtime::{Command, Context, Definition, Input, ProcessError, Reply};

use crate::domain::delivery::{self, Delivery, Policy, State};
use crate::stores::{CUSTOMERS, NOTIFICATIONS, OUTBOX, SIGNAL, SIGNAL_KEY, outbox_key};
use crate::{Config, topics, wire};

/// Name of the command behind the courier's reports; its payload is a `DeliveryReport`.
pub(crate) const REPORT_DELIVERY: &str = "report-delivery";

pub(crate) fn register(definition: Definition, config: &Config) -> Definition {
    let policy = config.policy();
    definition
        .command(REPORT_DELIVERY, move |ctx, command| report(ctx, command, &policy))
        .letters(topics::UNDELIVERABLE_MAILS, renew)
}

/// Puts a new e-mail into the outbox.
pub(super) fn add(ctx: &mut Context<'_>, order_id: &str, row: NotificationRow) -> Result<(), ProcessError> {
    let delivery = wire::delivery_of(&row)?;
    save(ctx, order_id, None, row, delivery)
}

/// Where e-mails to a customer go.
pub(super) fn recipient(customer: &Customer) -> String {
    customer.email.trim().to_owned()
}

fn report(ctx: &mut Context<'_>, command: &Command, policy: &Policy) -> Result<Reply, ProcessError> {
    let (order_id, attempts_before, outcome) = wire::outcome(&command.payload)?;
    let done = Ok(Reply(bytes::Bytes::new()));
    let Some(row) = ctx.get(NOTIFICATIONS, order_id.as_bytes())? else { return done };
    let row = wire::notification_row(&row)?;
    let before = wire::delivery_of(&row)?;
    let Some(delivery) = delivery::report(&before, attempts_before, outcome, policy, ctx.now_ms()) else {
        return done;
    };
    match delivery.state {
        State::Sent => tracing::debug!(order_id, "e-mail is sent"),
        State::Pending => {
            tracing::warn!(
                order_id,
                attempts = delivery.attempts(),
                error = delivery.last_error,
                "e-mail is tried again"
            )
        }
        State::Undeliverable => {
            tracing::warn!(order_id, attempts = delivery.attempts(), error = delivery.last_error, "e-mail is given up")
        }
    }
    save(ctx, &order_id, Some(&before), row, delivery)?;
    done
}

/// Tries an e-mail anew whose dead letter is replayed.
fn renew(ctx: &mut Context<'_>, input: &Input<'_>) -> Result<(), ProcessError> {
    let mail = wire::undeliverable_mail(input.value()?)?;
    let Some(row) = ctx.get(NOTIFICATIONS, mail.order_id.as_bytes())? else { return Ok(()) };
    let mut row = wire::notification_row(&row)?;
    let before = wire::delivery_of(&row)?;
    let Some(delivery) = delivery::renew(&before) else { return Ok(()) };
    // The address may have been what was wrong.
    if let Some(customer) = ctx.get(CUSTOMERS, row.customer_id.as_bytes())? {
        row.recipient = recipient(&wire::customer(&customer)?);
    }
    save(ctx, &mail.order_id, Some(&before), row, delivery)
}

/// Stores how far the sending has come, and tells those who follow the e-mail; the outbox holds exactly what is pending.
fn save(
    ctx: &mut Context<'_>,
    order_id: &str,
    before: Option<&Delivery>,
    row: NotificationRow,
    delivery: Delivery,
) -> Result<(), ProcessError> {
    let (state, due_ms, reason) = (delivery.state, delivery.due_ms, delivery.last_error.clone());
    let row = wire::delivered(row, delivery, ctx.now_ms());
    if let Some(step) = delivery::step(before.map(|before| before.state), state) {
        let event = wire::mail_event(order_id, &row, step, ctx.now_ms());
        ctx.emit(topics::MAILS, order_id.as_bytes(), event)?;
    }
    if let Some(before) = before.filter(|before| before.state == State::Pending) {
        ctx.delete(OUTBOX, &outbox_key(before.due_ms, order_id));
    }
    match state {
        State::Pending => {
            ctx.put(OUTBOX, &outbox_key(due_ms, order_id), Vec::new());
            let count = ctx.get(SIGNAL, SIGNAL_KEY)?;
            let count = count.and_then(|count| Some(u64::from_be_bytes(count.as_ref().try_into().ok()?))).unwrap_or(0);
            ctx.put(SIGNAL, SIGNAL_KEY, count.wrapping_add(1).to_be_bytes().to_vec());
        }
        State::Undeliverable => {
            let key = row.customer_id.clone();
            ctx.set_aside(topics::UNDELIVERABLE_MAILS, key.as_bytes(), wire::undeliverable(order_id, &row), &reason)?;
        }
        State::Sent => {}
    }
    ctx.put(NOTIFICATIONS, order_id.as_bytes(), prost::Message::encode_to_vec(&row));
    Ok(())
}
