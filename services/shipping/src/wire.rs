//! Bytes and proto to domain and back; the only place that converts.

use bytes::Bytes;
use prost::Message;
use proto::inventory::v1::Fulfilment;
use proto::manufacturing::v1::{ManufacturingEvent, manufacturing_event};
use proto::orders::v1::{OrderEvent, order_event};
use proto::shipping::v1 as pb;
use service_host::Chain;
use service_host::input::{InputError, check_key, decode};
use service_host::timestamp;
use task_runtime::Place;

use crate::domain::{Event, Fact, Item, Shipment, State};

/// Reads a record of `orders`, checked against its key.
pub(crate) fn order_event(key: Option<&Bytes>, value: &Bytes) -> Result<OrderEvent, InputError> {
    let event: OrderEvent = decode("OrderEvent", value)?;
    check_key("order", &event.order_id, key)?;
    Ok(event)
}

/// What an order event means here; none if nothing, or if this version does not know it.
pub(crate) fn order_fact(event: &OrderEvent) -> Result<Option<Fact<'_>>, InputError> {
    let validated = match &event.event {
        Some(order_event::Event::Validated(validated)) => validated,
        Some(order_event::Event::CancellationRequested(_)) => return Ok(Some(Fact::CancellationRequested)),
        Some(order_event::Event::Cancelled(_)) => return Ok(Some(Fact::Cancelled)),
        _ => return Ok(None),
    };
    let lines = validated.order.as_ref().map_or(&[][..], |order| &order.lines);
    let fulfilments = &validated.fulfilments;
    if lines.len() != fulfilments.len() {
        let rule = format!("it has {} lines, but {} fulfilments", lines.len(), fulfilments.len());
        return Err(InputError::contradiction("order", &event.order_id, rule));
    }
    let made_to_order = i32::from(Fulfilment::MadeToOrder);
    let needed = lines.iter().zip(fulfilments).filter(|(_, fulfilment)| **fulfilment == made_to_order);
    Ok(Some(Fact::Validated(needed.map(|(line, _)| (line.product_id.as_str(), line.quantity)).collect())))
}

/// Reads a record of `manufactured`, checked against its key.
pub(crate) fn manufacturing_event(key: Option<&Bytes>, value: &Bytes) -> Result<ManufacturingEvent, InputError> {
    let event: ManufacturingEvent = decode("ManufacturingEvent", value)?;
    check_key("order", &event.order_id, key)?;
    Ok(event)
}

/// What a manufacturing event means here. Only what is made counts: what is needed says the order itself.
pub(crate) fn manufacturing_fact(event: &ManufacturingEvent) -> Option<Fact<'_>> {
    match &event.event {
        Some(manufacturing_event::Event::ItemManufactured(item)) => {
            Some(Fact::Made { product_id: &item.product_id, total: item.manufactured })
        }
        _ => None,
    }
}

/// A record of `shipments`.
pub(crate) fn event(order_id: &str, event: Event, now_ms: i64) -> Vec<u8> {
    let event = match event {
        Event::Shipped => pb::shipment_event::Event::Shipped(pb::ShipmentShipped {}),
        Event::Cancelled => pb::shipment_event::Event::Cancelled(pb::ShipmentCancelled {}),
    };
    pb::ShipmentEvent { order_id: order_id.to_owned(), time: Some(timestamp(now_ms)), event: Some(event) }
        .encode_to_vec()
}

/// The change that a record of `shipments` tells those who watch; none for what says no decision that is known here.
pub(crate) fn change(value: &Bytes, place: Place) -> Option<pb::ShipmentChange> {
    let event: pb::ShipmentEvent = match decode("ShipmentEvent", value) {
        Ok(event) => event,
        Err(error) => {
            let Place { partition, sequence } = place;
            tracing::error!(partition, sequence, error = %Chain(&error), "a record of shipments is left out of watches");
            return None;
        }
    };
    let state = match event.event? {
        pb::shipment_event::Event::Shipped(_) => pb::ShipmentState::Shipped,
        pb::shipment_event::Event::Cancelled(_) => pb::ShipmentState::Cancelled,
    };
    Some(pb::ShipmentChange {
        order_id: event.order_id,
        state: state.into(),
        time: event.time,
        partition: i32::try_from(place.partition).unwrap_or(i32::MAX),
        sequence: i64::try_from(place.sequence).unwrap_or(i64::MAX),
    })
}

/// The class that changes into this state have for those who watch.
pub(crate) fn class(state: State) -> u32 {
    i32::from(state_to_proto(state)).unsigned_abs()
}

/// A shipment as clients see it; none while its order is not known.
pub(crate) fn shipment_to_proto(order_id: &str, shipment: Shipment) -> Option<pb::Shipment> {
    let state = state_to_proto(shipment.state);
    if state == pb::ShipmentState::Unspecified {
        return None;
    }
    Some(pb::Shipment {
        order_id: order_id.to_owned(),
        state: state.into(),
        progress: format!("{} manufactured", progress(&shipment)),
        missing: match shipment.state {
            State::Waiting => shipment.missing().map(str::to_owned).collect(),
            State::Early | State::Shipped | State::Cancelled => Vec::new(),
        },
        create_time: Some(timestamp(shipment.created_ms)),
        update_time: Some(timestamp(shipment.changed_ms)),
        etag: shipment.version.to_string(),
        items: shipment.items.into_iter().map(item_to_proto).collect(),
    })
}

/// Pieces made of pieces needed, such as "1/2".
pub(crate) fn progress(shipment: &Shipment) -> String {
    let (made, needed) = shipment.pieces();
    format!("{made}/{needed}")
}

/// The state that a list asks for; `Ok(None)` for all.
pub(crate) fn state_filter(value: i32) -> Result<Option<State>, ()> {
    match pb::ShipmentState::try_from(value) {
        Ok(pb::ShipmentState::Unspecified) => Ok(None),
        Ok(pb::ShipmentState::Waiting) => Ok(Some(State::Waiting)),
        Ok(pb::ShipmentState::Shipped) => Ok(Some(State::Shipped)),
        Ok(pb::ShipmentState::Cancelled) => Ok(Some(State::Cancelled)),
        Err(_) => Err(()),
    }
}

/// Reads a row.
pub(crate) fn shipment(row: &Bytes) -> Result<Shipment, InputError> {
    let row: pb::ShipmentRow = decode("ShipmentRow", row)?;
    let state = match pb::ShipmentState::try_from(row.state) {
        Ok(pb::ShipmentState::Unspecified) => State::Early,
        Ok(pb::ShipmentState::Waiting) => State::Waiting,
        Ok(pb::ShipmentState::Shipped) => State::Shipped,
        Ok(pb::ShipmentState::Cancelled) => State::Cancelled,
        Err(_) => return Err(InputError::UnknownValue { field: "ShipmentRow.state", value: row.state }),
    };
    let item = |item: pb::ShipmentItem| {
        let pb::ShipmentItem { product_id, quantity, manufactured } = item;
        Item { product_id, needed: quantity, made: manufactured }
    };
    let pb::ShipmentRow { items, version, created_ms, changed_ms, .. } = row;
    Ok(Shipment { items: items.into_iter().map(item).collect(), state, created_ms, changed_ms, version })
}

/// The row of a shipment.
pub(crate) fn shipment_row(shipment: Shipment) -> Vec<u8> {
    pb::ShipmentRow {
        state: state_to_proto(shipment.state).into(),
        items: shipment.items.into_iter().map(item_to_proto).collect(),
        version: shipment.version,
        created_ms: shipment.created_ms,
        changed_ms: shipment.changed_ms,
    }
    .encode_to_vec()
}

fn item_to_proto(Item { product_id, needed, made }: Item) -> pb::ShipmentItem {
    pb::ShipmentItem { product_id, quantity: needed, manufactured: made }
}

fn state_to_proto(state: State) -> pb::ShipmentState {
    match state {
        State::Early => pb::ShipmentState::Unspecified,
        State::Waiting => pb::ShipmentState::Waiting,
        State::Shipped => pb::ShipmentState::Shipped,
        State::Cancelled => pb::ShipmentState::Cancelled,
    }
}

#[cfg(test)]
mod tests;
