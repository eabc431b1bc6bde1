//! Bytes and protobuf to domain and back: the only place that converts. Here: orders, as clients and rows hold them;
//! requests and records have their own files.

pub(crate) mod changes;
pub(crate) mod history;
pub(crate) mod reads;
pub(crate) mod requests;
#[cfg(test)]
mod tests;
pub(crate) mod writes;

use bytes::Bytes;
use proto::common::v1 as common;
use proto::orders::v1 as api;
use proto::validation::v1 as checks;
use service_host::input::{InputError, decode};
use service_host::timestamp;

use crate::domain::{Check, Content, Line, Money, Order, Reason, State};

/// Reads a row.
pub(crate) fn order_of_row(bytes: Bytes) -> Result<Order, InputError> {
    order(decode("OrderRow", bytes)?)
}

/// An order as its row holds it.
pub(crate) fn order(row: api::OrderRow) -> Result<Order, InputError> {
    Ok(Order {
        content: content(row.customer_id, row.lines),
        state: state(row.state).ok_or(InputError::UnknownValue { field: "OrderRow.state", value: row.state })?,
        reasons: row.reasons.into_iter().map(reason).collect::<Result<_, _>>()?,
        created_ms: row.create_time_ms,
        updated_ms: row.update_time_ms,
        version: row.version,
        cancellation_requested: row.cancellation_requested,
        history: row.history.iter().filter_map(history::mark).collect(),
    })
}

/// An order as its row holds it.
pub(crate) fn row(order: &Order) -> api::OrderRow {
    api::OrderRow {
        customer_id: order.content.customer_id.clone(),
        lines: order.content.lines.iter().map(line_message).collect(),
        state: state_message(order.state).into(),
        reasons: order.reasons.iter().map(reason_message).collect(),
        create_time_ms: order.created_ms,
        update_time_ms: order.updated_ms,
        version: order.version,
        cancellation_requested: order.cancellation_requested,
        history: order.history.iter().map(history::mark_message).collect(),
    }
}

/// An order as clients see it.
pub(crate) fn order_message(order_id: &str, order: &Order) -> api::Order {
    api::Order {
        order_id: order_id.to_owned(),
        customer_id: order.content.customer_id.clone(),
        lines: order.content.lines.iter().map(line_message).collect(),
        state: state_message(order.state).into(),
        reasons: order.reasons.iter().map(reason_message).collect(),
        total: order.content.total().ok().map(money_message),
        create_time: Some(timestamp(order.created_ms)),
        update_time: Some(timestamp(order.updated_ms)),
        etag: order.version.to_string(),
    }
}

/// What a client decides about an order.
pub(crate) fn content(customer_id: String, lines: Vec<api::OrderLine>) -> Content {
    Content { customer_id, lines: lines.into_iter().map(line).collect() }
}

/// A state; none for what is not one.
pub(crate) fn state(value: i32) -> Option<State> {
    match api::OrderState::try_from(value).ok()? {
        api::OrderState::Unspecified => None,
        api::OrderState::Created => Some(State::Created),
        api::OrderState::Validated => Some(State::Validated),
        api::OrderState::InManufacturing => Some(State::InManufacturing),
        api::OrderState::Ready => Some(State::Ready),
        api::OrderState::Shipped => Some(State::Shipped),
        api::OrderState::Rejected => Some(State::Rejected),
        api::OrderState::Cancelled => Some(State::Cancelled),
    }
}

/// The class that changes into this state have for those who watch.
pub(crate) fn class(state: State) -> u32 {
    i32::from(state_message(state)).unsigned_abs()
}

fn state_message(state: State) -> api::OrderState {
    match state {
        State::Created => api::OrderState::Created,
        State::Validated => api::OrderState::Validated,
        State::InManufacturing => api::OrderState::InManufacturing,
        State::Ready => api::OrderState::Ready,
        State::Shipped => api::OrderState::Shipped,
        State::Rejected => api::OrderState::Rejected,
        State::Cancelled => api::OrderState::Cancelled,
    }
}

fn line(line: api::OrderLine) -> Line {
    // The edge refuses a line without a price, so that an absent one is only the empty message.
    let price = line.unit_price.unwrap_or_default();
    let unit_price = Money { currency: price.currency_code, minor_units: price.minor_units };
    Line { product_id: line.product_id, quantity: line.quantity, unit_price }
}

fn line_message(line: &Line) -> api::OrderLine {
    api::OrderLine {
        product_id: line.product_id.clone(),
        quantity: line.quantity,
        unit_price: Some(money_message(line.unit_price.clone())),
    }
}

fn money_message(money: Money) -> common::Money {
    common::Money { currency_code: money.currency, minor_units: money.minor_units }
}

fn reason(reason: checks::Reason) -> Result<Reason, InputError> {
    let check = match checks::Check::try_from(reason.check) {
        Ok(checks::Check::Unspecified) => None,
        Ok(checks::Check::Details) => Some(Check::Details),
        Ok(checks::Check::Fraud) => Some(Check::Fraud),
        Ok(checks::Check::Inventory) => Some(Check::Inventory),
        Ok(checks::Check::Credit) => Some(Check::Credit),
        Err(_) => return Err(InputError::UnknownValue { field: "Reason.check", value: reason.check }),
    };
    Ok(Reason { check, product_id: reason.product_id, code: reason.code, message: reason.message })
}

fn reason_message(reason: &Reason) -> checks::Reason {
    let check = match reason.check {
        None => checks::Check::Unspecified,
        Some(Check::Details) => checks::Check::Details,
        Some(Check::Fraud) => checks::Check::Fraud,
        Some(Check::Inventory) => checks::Check::Inventory,
        Some(Check::Credit) => checks::Check::Credit,
    };
    checks::Reason {
        check: check.into(),
        product_id: reason.product_id.clone(),
        code: reason.code.clone(),
        message: reason.message.clone(),
    }
}
