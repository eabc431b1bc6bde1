//! Bytes and proto to domain and back; the only place that converts.

use bytes::Bytes;
use prost::Message;
use proto::customers::v1::{Customer, CustomerEvent, CustomerLevel, customer_event};
use proto::notifications::v1 as pb;
use proto::orders::v1::{CustomerOrderChanged, Order, OrderPlaced, OrderState};
use proto::payments::v1::OrderPaid;
use service_host::input::{InputError, check_key, decode};
use service_host::timestamp;

use crate::domain::delivery::{Delivery, Outcome, State, Step};
use crate::domain::{Fact, Join};
use crate::mail::Mail;
use crate::topics;

/// Reads a record of `orders-by-customer`, checked against its key.
pub(crate) fn order_placed(key: Option<&Bytes>, value: &Bytes) -> Result<OrderPlaced, InputError> {
    let placed: OrderPlaced = decode("OrderPlaced", value)?;
    check_key("customer", &placed.customer_id, key)?;
    Ok(placed)
}

/// Reads a record of `order-changes-by-customer`, checked against its key.
pub(crate) fn order_changed(key: Option<&Bytes>, value: &Bytes) -> Result<CustomerOrderChanged, InputError> {
    let changed: CustomerOrderChanged = decode("CustomerOrderChanged", value)?;
    check_key("customer", &changed.customer_id, key)?;
    Ok(changed)
}

/// What the new state of an order means here; none if nothing.
pub(crate) fn order_fact(changed: &CustomerOrderChanged) -> Option<Fact> {
    match changed.state() {
        OrderState::Validated | OrderState::InManufacturing | OrderState::Ready | OrderState::Shipped => {
            Some(Fact::Validated)
        }
        OrderState::Rejected | OrderState::Cancelled => Some(Fact::Ended),
        OrderState::Unspecified | OrderState::Created => None,
    }
}

/// Reads a record of `order-payments`, checked against its key.
pub(crate) fn order_paid(key: Option<&Bytes>, value: &Bytes) -> Result<OrderPaid, InputError> {
    let paid: OrderPaid = decode("OrderPaid", value)?;
    check_key("customer", &paid.customer_id, key)?;
    Ok(paid)
}

/// Reads a record of `customers`, checked against its key. The customer as it is now; none if the event says nothing of it,
/// or this version does not know it.
pub(crate) fn customer_event(key: Option<&Bytes>, value: &Bytes) -> Result<(String, Option<Customer>), InputError> {
    let event: CustomerEvent = decode("CustomerEvent", value)?;
    check_key("customer", &event.customer_id, key)?;
    let customer = match event.event {
        Some(customer_event::Event::Created(created)) => created.customer,
        Some(customer_event::Event::Updated(updated)) => updated.customer,
        Some(customer_event::Event::CreditLimitSet(set)) => set.customer,
        None => return Ok((event.customer_id, None)),
    };
    let customer = customer.ok_or(InputError::Missing { field: "CustomerEvent.customer" })?;
    Ok((event.customer_id, Some(customer)))
}

/// The topic of a customer's level, and a record for it.
pub(crate) fn enriched(order_id: &str, row: &pb::JoinRow, customer: &Customer, now_ms: i64) -> (&'static str, Vec<u8>) {
    let (topic, level) = match customer.level() {
        CustomerLevel::Platinum => (topics::ORDERS_PLATINUM, CustomerLevel::Platinum),
        CustomerLevel::Gold => (topics::ORDERS_GOLD, CustomerLevel::Gold),
        CustomerLevel::Silver => (topics::ORDERS_SILVER, CustomerLevel::Silver),
        CustomerLevel::Bronze | CustomerLevel::Unspecified => (topics::ORDERS_BRONZE, CustomerLevel::Bronze),
    };
    let order = Order {
        order_id: order_id.to_owned(),
        customer_id: customer.customer_id.clone(),
        lines: row.lines.clone(),
        state: OrderState::Validated.into(),
        total: row.total.clone(),
        create_time: Some(timestamp(row.created_ms)),
        ..Default::default()
    };
    let record = pb::EnrichedOrder {
        order_id: order_id.to_owned(),
        order: Some(order),
        customer: Some(customer.clone()),
        level: level.into(),
        time: Some(timestamp(now_ms)),
    };
    (topic, record.encode_to_vec())
}

/// A record of `mails`; `row` is the e-mail behind the step.
pub(crate) fn mail_event(order_id: &str, row: &pb::NotificationRow, step: Step, now_ms: i64) -> Vec<u8> {
    use pb::mail_event::Event;
    let attempts = delivery_of(row).map_or(0, |delivery| count(delivery.attempts()));
    let event = match step {
        Step::Decided => Event::Decided(pb::MailDecided {}),
        Step::Sent => Event::Sent(pb::MailSent { attempts }),
        Step::GivenUp => Event::GivenUp(pb::MailGivenUp { attempts, error: row.last_error.clone() }),
        Step::Renewed => Event::Renewed(pb::MailRenewed {}),
    };
    pb::MailEvent {
        order_id: order_id.to_owned(),
        time: Some(timestamp(now_ms)),
        recipient: row.recipient.clone(),
        message_id: row.message_id.clone(),
        event: Some(event),
    }
    .encode_to_vec()
}

/// What the dead letters hold of an e-mail that was given up.
pub(crate) fn undeliverable(order_id: &str, row: &pb::NotificationRow) -> Vec<u8> {
    let attempts = delivery_of(row).map_or(0, |delivery| count(delivery.attempts()));
    pb::UndeliverableMail {
        order_id: order_id.to_owned(),
        customer_id: row.customer_id.clone(),
        recipient: row.recipient.clone(),
        attempts,
    }
    .encode_to_vec()
}

/// Reads what the dead letters hold of an e-mail.
pub(crate) fn undeliverable_mail(value: &Bytes) -> Result<pb::UndeliverableMail, InputError> {
    decode("UndeliverableMail", value)
}

/// The report of one try.
pub(crate) fn report(order_id: &str, attempts_before: u32, outcome: Outcome) -> Bytes {
    let (error, is_final) = match outcome {
        Outcome::Sent => (String::new(), false),
        // An empty reason would read as a success.
        Outcome::Failed { error, is_final } if error.is_empty() => ("failed".to_owned(), is_final),
        Outcome::Failed { mut error, is_final } => {
            error.truncate(error.floor_char_boundary(ERROR_BYTES_MAX));
            (error, is_final)
        }
    };
    pb::DeliveryReport { order_id: order_id.to_owned(), attempts_before, error, is_final }.encode_to_vec().into()
}

/// Longest reason of a failure that is kept, in bytes: it comes from a server that may say anything.
const ERROR_BYTES_MAX: usize = 1024;

/// Reads the report of one try: the order, the try, its outcome.
pub(crate) fn outcome(payload: &Bytes) -> Result<(String, u32, Outcome), InputError> {
    let pb::DeliveryReport { order_id, attempts_before, error, is_final } = decode("DeliveryReport", payload)?;
    let outcome = if error.is_empty() { Outcome::Sent } else { Outcome::Failed { error, is_final } };
    Ok((order_id, attempts_before, outcome))
}

/// A notification as clients see it.
pub(crate) fn notification_to_proto(order_id: &str, row: pb::NotificationRow) -> Result<pb::Notification, InputError> {
    let delivery = delivery_of(&row)?;
    Ok(pb::Notification {
        order_id: order_id.to_owned(),
        customer_id: row.customer_id,
        recipient: row.recipient,
        subject: row.subject,
        state: row.state,
        message_id: row.message_id,
        attempts: count(delivery.attempts()),
        next_attempt_time: (delivery.state == State::Pending).then(|| timestamp(delivery.due_ms.max(row.created_ms))),
        last_error: delivery.last_error,
        create_time: Some(timestamp(row.created_ms)),
        update_time: Some(timestamp(row.changed_ms)),
    })
}

/// The state that a list asks for; `Ok(None)` for all.
pub(crate) fn state_filter(value: i32) -> Result<Option<i32>, ()> {
    match pb::NotificationState::try_from(value) {
        Ok(pb::NotificationState::Unspecified) => Ok(None),
        Ok(_) => Ok(Some(value)),
        Err(_) => Err(()),
    }
}

/// Reads a row of the customers.
pub(crate) fn customer(row: &Bytes) -> Result<Customer, InputError> {
    let row: pb::CustomerRow = decode("CustomerRow", row)?;
    row.customer.ok_or(InputError::Missing { field: "CustomerRow.customer" })
}

/// A row of the customers.
pub(crate) fn customer_row(customer: Customer) -> Vec<u8> {
    pb::CustomerRow { customer: Some(customer) }.encode_to_vec()
}

/// Reads a row of the joins.
pub(crate) fn join_row(row: &Bytes) -> Result<pb::JoinRow, InputError> {
    decode("JoinRow", row)
}

/// What a row of the joins says.
pub(crate) fn join(row: &pb::JoinRow) -> Join {
    let pb::JoinRow { placed, validated, paid, ended, enriched, notified, .. } = *row;
    Join { placed, validated, paid, ended, enriched, notified }
}

/// The row with what is known now.
pub(crate) fn joined(row: pb::JoinRow, join: Join) -> Vec<u8> {
    let Join { placed, validated, paid, ended, enriched, notified } = join;
    let row = pb::JoinRow { placed, validated, paid, ended, enriched, notified, ..row };
    if join.is_open() {
        row.encode_to_vec()
    } else {
        pb::JoinRow { lines: Vec::new(), total: None, ..row }.encode_to_vec()
    }
}

/// Reads a row of the notifications.
pub(crate) fn notification_row(row: &Bytes) -> Result<pb::NotificationRow, InputError> {
    decode("NotificationRow", row)
}

/// The row of an e-mail that was just decided.
pub(crate) fn new_notification(customer_id: &str, mail: Mail) -> pb::NotificationRow {
    let Mail { recipient, subject, body, message_id, created_ms, .. } = mail;
    let row = pb::NotificationRow {
        customer_id: customer_id.to_owned(),
        recipient,
        subject,
        body,
        message_id,
        created_ms,
        ..Default::default()
    };
    delivered(row, Delivery::default(), created_ms)
}

/// How far the sending of a row's e-mail has come.
pub(crate) fn delivery_of(row: &pb::NotificationRow) -> Result<Delivery, InputError> {
    let state = match row.state() {
        pb::NotificationState::Pending => State::Pending,
        pb::NotificationState::Sent => State::Sent,
        pb::NotificationState::Undeliverable => State::Undeliverable,
        pb::NotificationState::Unspecified => {
            return Err(InputError::UnknownValue { field: "NotificationRow.state", value: row.state });
        }
    };
    let pb::NotificationRow { tries, tries_before, due_ms, .. } = *row;
    Ok(Delivery { state, tries, tries_before, last_error: row.last_error.clone(), due_ms })
}

/// The row with how far the sending has come.
pub(crate) fn delivered(row: pb::NotificationRow, delivery: Delivery, now_ms: i64) -> pb::NotificationRow {
    let Delivery { state, tries, tries_before, last_error, due_ms } = delivery;
    let body = if state == State::Sent { String::new() } else { row.body };
    let state = match state {
        State::Pending => pb::NotificationState::Pending,
        State::Sent => pb::NotificationState::Sent,
        State::Undeliverable => pb::NotificationState::Undeliverable,
    };
    pb::NotificationRow {
        state: state.into(),
        tries,
        tries_before,
        last_error,
        due_ms,
        body,
        changed_ms: now_ms,
        ..row
    }
}

/// The e-mail of a row.
pub(crate) fn mail(order_id: &str, row: pb::NotificationRow) -> Mail {
    let pb::NotificationRow { recipient, subject, body, message_id, created_ms, .. } = row;
    Mail { order_id: order_id.to_owned(), recipient, subject, body, message_id, created_ms }
}

/// A time of an event as a number; 0 without one.
pub(crate) fn ms(time: Option<&prost_types::Timestamp>) -> i64 {
    time.map_or(0, |time| time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos / 1_000_000)))
}

fn count(attempts: u32) -> i32 {
    i32::try_from(attempts).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
