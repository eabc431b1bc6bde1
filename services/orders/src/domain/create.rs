//! How an order comes to be. The same content under one id is one order, however often it is sent.

use super::{Change, Content, Event, Order, State, StockAction};

/// What became of the wish to create an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creation {
    /// There is a new order.
    Created(Order, Change),
    /// The order exists already, with the same content. Nothing changes.
    Exists,
    /// The id belongs to an order with other content. Nothing changes.
    Taken,
}

/// Decides what a well-formed wish for an order comes to, `existing` being the order with its id.
#[must_use]
pub fn create(existing: Option<&Order>, content: Content, now_ms: i64) -> Creation {
    match existing {
        Some(order) if order.content == content => Creation::Exists,
        Some(_) => Creation::Taken,
        None => {
            let order = Order {
                content,
                state: State::Created,
                reasons: Vec::new(),
                created_ms: now_ms,
                updated_ms: now_ms,
                version: 1,
                cancellation_requested: false,
                history: Vec::new(),
            };
            Creation::Created(order, Change { event: Event::Created, stock: Some(StockAction::Reserve) })
        }
    }
}
