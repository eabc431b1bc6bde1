//! What orders tells others, as records.

use bytes::Bytes;
use prost::Message;
use proto::inventory::v1 as inventory;
use proto::orders::v1 as api;

use super::{line_message, money_message, order_message, reason_message, state_message, timestamp};
use crate::domain::{Event, Fulfilment, Line, Order, StockAction};

/// A record of the topic `orders`. `order` is the order after the event.
pub(crate) fn order_event(order_id: &str, order: &Order, event: &Event, now_ms: i64) -> Bytes {
    use api::order_event::Event as Message;
    let event = match event {
        Event::Created => Message::Created(api::OrderCreated { order: Some(order_message(order_id, order)) }),
        Event::Validated { fulfilments } => Message::Validated(api::OrderValidated {
            order: Some(order_message(order_id, order)),
            fulfilments: fulfilments.iter().map(|fulfilment| fulfilment_message(*fulfilment).into()).collect(),
        }),
        Event::Rejected { reasons } => {
            Message::Rejected(api::OrderRejected { reasons: reasons.iter().map(reason_message).collect() })
        }
        Event::ReasonsAdded { reasons } => {
            Message::ReasonsAdded(api::OrderReasonsAdded { reasons: reasons.iter().map(reason_message).collect() })
        }
        Event::InManufacturing => Message::InManufacturing(api::OrderInManufacturing {}),
        Event::Ready => Message::Ready(api::OrderReady {}),
        Event::CancellationRequested => Message::CancellationRequested(api::OrderCancellationRequested {}),
        Event::Cancelled => Message::Cancelled(api::OrderCancelled {}),
        Event::Shipped => Message::Shipped(api::OrderShipped {}),
    };
    encode(&api::OrderEvent {
        order_id: order_id.to_owned(),
        time: Some(timestamp(now_ms)),
        customer_id: order.content.customer_id.clone(),
        state: state_message(order.state).into(),
        version: order.version,
        event: Some(event),
    })
}

/// A record of the topic `orders-by-customer`.
pub(crate) fn order_placed(order_id: &str, order: &Order) -> Bytes {
    encode(&api::OrderPlaced {
        order_id: order_id.to_owned(),
        customer_id: order.content.customer_id.clone(),
        time: Some(timestamp(order.created_ms)),
        total: order.content.total().ok().map(money_message),
        lines: order.content.lines.iter().map(line_message).collect(),
    })
}

/// A record of the topic `order-changes-by-customer`. `order` is the order after the change.
pub(crate) fn customer_order_changed(order_id: &str, order: &Order) -> Bytes {
    encode(&api::CustomerOrderChanged {
        order_id: order_id.to_owned(),
        customer_id: order.content.customer_id.clone(),
        time: Some(timestamp(order.updated_ms)),
        state: state_message(order.state).into(),
        reasons: order.reasons.iter().map(reason_message).collect(),
        version: order.version,
    })
}

/// A record of the topic `stock-requests`.
pub(crate) fn stock_request(order_id: &str, number: u32, line: &Line, action: StockAction, now_ms: i64) -> Bytes {
    let action = match action {
        StockAction::Reserve => api::StockAction::Reserve,
        StockAction::Release => api::StockAction::Release,
        StockAction::Ship => api::StockAction::Ship,
    };
    encode(&api::StockRequest {
        product_id: line.product_id.clone(),
        order_id: order_id.to_owned(),
        line: number,
        action: action.into(),
        quantity: line.quantity,
        time: Some(timestamp(now_ms)),
    })
}

/// The row of an order.
pub(crate) fn row(order: &Order) -> Bytes {
    encode(&super::row(order))
}

fn fulfilment_message(fulfilment: Fulfilment) -> inventory::Fulfilment {
    match fulfilment {
        Fulfilment::FromStock => inventory::Fulfilment::FromStock,
        Fulfilment::MadeToOrder => inventory::Fulfilment::MadeToOrder,
    }
}

fn encode(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}
