//! Bytes and proto to domain and back; the only place that converts.

use bytes::Bytes;
use prost::Message;
use proto::inventory::v1::Fulfilment;
use proto::manufacturing::v1 as pb;
use proto::manufacturing::v1::manufacturing_event;
use proto::orders::v1::{OrderEvent, OrderValidated, order_event};
use service_host::Problem;
use service_host::input::{InputError, check_key, decode};
use service_host::timestamp;

use crate::domain::{Early, Event, Idle, Item, Known, Refusal, State, WorkOrder};

/// What an order event means here.
#[derive(Debug)]
pub(crate) enum OrderFact {
    /// It is validated. Product and quantity of each line that is made to order.
    Validated(Vec<(String, i64)>),
    /// It ended before it was shipped, for this reason.
    Ended(Idle),
    /// Nothing, or something that this version does not know.
    Other,
}

/// Reads a record of `orders`.
pub(crate) fn order_fact(key: Option<&Bytes>, value: &Bytes) -> Result<OrderFact, InputError> {
    let event: OrderEvent = decode("OrderEvent", value)?;
    check_key("order", &event.order_id, key)?;
    Ok(match event.event {
        Some(order_event::Event::Validated(validated)) => OrderFact::Validated(needs(event.order_id, validated)?),
        Some(order_event::Event::Rejected(_)) => OrderFact::Ended(Idle::Rejected),
        Some(order_event::Event::Cancelled(_)) => OrderFact::Ended(Idle::Cancelled),
        _ => OrderFact::Other,
    })
}

fn needs(order_id: String, validated: OrderValidated) -> Result<Vec<(String, i64)>, InputError> {
    let lines = validated.order.unwrap_or_default().lines;
    let fulfilments = validated.fulfilments;
    if lines.len() != fulfilments.len() {
        let rule = format!("it has {} lines, but {} fulfilments", lines.len(), fulfilments.len());
        return Err(InputError::contradiction("order", order_id, rule));
    }
    let made_to_order = i32::from(Fulfilment::MadeToOrder);
    let needed = lines.into_iter().zip(fulfilments).filter(|(_, fulfilment)| *fulfilment == made_to_order);
    Ok(needed.map(|(line, _)| (line.product_id, line.quantity)).collect())
}

/// A record of `manufactured`.
pub(crate) fn event(order_id: &str, event: Event, now_ms: i64) -> Vec<u8> {
    let event = match event {
        Event::Opened(items) => {
            let items = items.into_iter().map(item_to_proto).collect();
            manufacturing_event::Event::Opened(pb::WorkOrderOpened { items })
        }
        Event::Manufactured { item, quantity } => {
            let Item { product_id, quantity: needed, manufactured } = item;
            manufacturing_event::Event::ItemManufactured(pb::ItemManufactured {
                product_id,
                quantity,
                manufactured,
                needed,
            })
        }
        Event::Completed => manufacturing_event::Event::Completed(pb::WorkOrderCompleted {}),
        Event::Cancelled => manufacturing_event::Event::Cancelled(pb::WorkOrderCancelled {}),
    };
    pb::ManufacturingEvent { order_id: order_id.to_owned(), time: Some(timestamp(now_ms)), event: Some(event) }
        .encode_to_vec()
}

/// A work order as clients see it.
pub(crate) fn work_order_to_proto(order_id: &str, work_order: WorkOrder) -> pb::WorkOrder {
    pb::WorkOrder {
        order_id: order_id.to_owned(),
        items: work_order.items.into_iter().map(item_to_proto).collect(),
        state: state_to_proto(work_order.state).into(),
        create_time: Some(timestamp(work_order.opened_ms)),
        update_time: Some(timestamp(work_order.changed_ms)),
        etag: work_order.version.to_string(),
    }
}

/// The state that a list asks for; `Ok(None)` for all.
pub(crate) fn state_filter(value: i32) -> Result<Option<State>, ()> {
    match pb::WorkOrderState::try_from(value) {
        Ok(pb::WorkOrderState::Unspecified) => Ok(None),
        Ok(pb::WorkOrderState::Open) => Ok(Some(State::Open)),
        Ok(pb::WorkOrderState::Completed) => Ok(Some(State::Completed)),
        Ok(pb::WorkOrderState::Cancelled) => Ok(Some(State::Cancelled)),
        Err(_) => Err(()),
    }
}

/// What a client is told of a refusal.
pub(crate) fn problem(refusal: &Refusal, order_id: &str, product_id: &str) -> Problem {
    match refusal {
        Refusal::TooMany { needed, manufactured } => {
            let message =
                format!("more pieces of {product_id} than needed: {needed} needed, {manufactured} made before");
            Problem::refused("TOO_MANY", message).with("needed", needed).with("manufactured", manufactured)
        }
        Refusal::NotOnWorkOrder => {
            let message = format!("nothing of {product_id} has to be made for order {order_id}");
            Problem::refused("NOT_ON_WORK_ORDER", message).with("product_id", product_id)
        }
        Refusal::Cancelled => Problem::illegal_transition("CANCELLED", "ReportManufactured"),
        Refusal::Rejected => Problem::illegal_transition("REJECTED", "ReportManufactured"),
        Refusal::TooManyEarly { limit } => {
            let message = format!("order {order_id} is not known, and reports of {limit} products wait for it already");
            Problem::refused("TOO_MANY_EARLY_REPORTS", message).with("limit", limit)
        }
    }
}

/// Reads a row.
pub(crate) fn known(row: &Bytes) -> Result<Known, InputError> {
    let row: pb::WorkOrderRow = decode("WorkOrderRow", row)?;
    let state = match pb::WorkOrderState::try_from(row.state) {
        Ok(pb::WorkOrderState::Open) => State::Open,
        Ok(pb::WorkOrderState::Completed) => State::Completed,
        Ok(pb::WorkOrderState::Cancelled) => State::Cancelled,
        Ok(pb::WorkOrderState::Unspecified) => {
            let early = |item: pb::WorkOrderItem| Early { product_id: item.product_id, quantity: item.manufactured };
            return Ok(Known::Early(row.items.into_iter().map(early).collect()));
        }
        Err(_) => return Err(InputError::UnknownValue { field: "WorkOrderRow.state", value: row.state }),
    };
    let item = |item: pb::WorkOrderItem| {
        let pb::WorkOrderItem { product_id, quantity, manufactured } = item;
        Item { product_id, quantity, manufactured }
    };
    let items = row.items.into_iter().map(item).collect();
    let pb::WorkOrderRow { version, opened_ms, changed_ms, .. } = row;
    Ok(Known::Opened(WorkOrder { items, state, opened_ms, changed_ms, version }))
}

/// The row of a work order.
pub(crate) fn work_order_row(work_order: &WorkOrder) -> Vec<u8> {
    pb::WorkOrderRow {
        state: state_to_proto(work_order.state).into(),
        items: work_order.items.iter().cloned().map(item_to_proto).collect(),
        version: work_order.version,
        opened_ms: work_order.opened_ms,
        changed_ms: work_order.changed_ms,
    }
    .encode_to_vec()
}

/// The row of reports that came before their order.
pub(crate) fn early_row(early: Vec<Early>) -> Vec<u8> {
    let item = |Early { product_id, quantity }| pb::WorkOrderItem { product_id, quantity: 0, manufactured: quantity };
    pb::WorkOrderRow { items: early.into_iter().map(item).collect(), ..Default::default() }.encode_to_vec()
}

/// Reads the row of an order without a work order.
pub(crate) fn idle(row: &Bytes) -> Result<Idle, InputError> {
    let row: pb::IdleOrderRow = decode("IdleOrderRow", row)?;
    match row.reason() {
        pb::IdleReason::NothingToMake => Ok(Idle::NothingToMake),
        pb::IdleReason::Rejected => Ok(Idle::Rejected),
        pb::IdleReason::Cancelled => Ok(Idle::Cancelled),
        pb::IdleReason::Unspecified => {
            Err(InputError::UnknownValue { field: "IdleOrderRow.reason", value: row.reason })
        }
    }
}

/// The row of an order without a work order.
pub(crate) fn idle_row(idle: Idle, now_ms: i64) -> Vec<u8> {
    let reason = match idle {
        Idle::NothingToMake => pb::IdleReason::NothingToMake,
        Idle::Rejected => pb::IdleReason::Rejected,
        Idle::Cancelled => pb::IdleReason::Cancelled,
    };
    pb::IdleOrderRow { reason: reason.into(), closed_ms: now_ms }.encode_to_vec()
}

/// Since when the order of a row has no work order: always, for the sweep's sake.
pub(crate) fn idle_since_ms(row: &Bytes) -> Result<Option<i64>, InputError> {
    decode::<pb::IdleOrderRow>("IdleOrderRow", row).map(|row| Some(row.closed_ms))
}

fn item_to_proto(Item { product_id, quantity, manufactured }: Item) -> pb::WorkOrderItem {
    pb::WorkOrderItem { product_id, quantity, manufactured }
}

fn state_to_proto(state: State) -> pb::WorkOrderState {
    match state {
        State::Open => pb::WorkOrderState::Open,
        State::Completed => pb::WorkOrderState::Completed,
        State::Cancelled => pb::WorkOrderState::Cancelled,
    }
}

#[cfg(test)]
mod tests;
