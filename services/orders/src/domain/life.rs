//! How an order changes, by facts of other services and by the wish to cancel it.
//!
//! Always: the state never goes back, final states stay, and whatever the facts' order of arrival each line is released or
//! shipped at most once, never both. Only this module makes an order VALIDATED, and nobody ships an order that is not; that
//! is why a cancel is final at once before it, and shipping's to decide after it.

use super::{Change, Event, Fulfilment, Order, Reason, State, StockAction};

/// What another service says about an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// Every check passed.
    ValidationPassed {
        /// How each line is fulfilled, in the order of the lines.
        fulfilments: Vec<Fulfilment>,
    },
    /// A check failed or they took too long; also for reasons that became known later.
    ValidationFailed {
        /// The reasons.
        reasons: Vec<Reason>,
    },
    /// Something has to be made for it.
    WorkOrderOpened,
    /// Everything is made.
    WorkOrderCompleted,
    /// It left the house.
    Shipped,
    /// It will never leave the house.
    ShipmentCancelled,
    /// A piece of it is made.
    PieceMade,
    /// Something that changes nothing here, and belongs to its history.
    Aside,
}

/// What a fact does to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The order changed.
    Changed(Change),
    /// The fact comes late or again.
    Unchanged,
    /// No order of arrival explains the fact: somebody broke a rule. A person should look at it.
    Misplaced(&'static str),
}

/// Lets a fact act on an order.
pub fn settle(order: &mut Order, fact: Fact, now_ms: i64) -> Decision {
    match fact {
        Fact::ValidationPassed { fulfilments } if order.state == State::Created => {
            if fulfilments.len() != order.content.lines.len() {
                return Decision::Misplaced("validation passed another number of lines than the order has");
            }
            changed(order, State::Validated, now_ms, Event::Validated { fulfilments }, None)
        }
        Fact::ValidationPassed { .. } => Decision::Unchanged,
        Fact::ValidationFailed { reasons } => reject(order, reasons, now_ms),
        Fact::WorkOrderOpened if order.state == State::Validated => {
            changed(order, State::InManufacturing, now_ms, Event::InManufacturing, None)
        }
        Fact::WorkOrderCompleted if matches!(order.state, State::Validated | State::InManufacturing) => {
            changed(order, State::Ready, now_ms, Event::Ready, None)
        }
        Fact::WorkOrderOpened | Fact::WorkOrderCompleted if order.state == State::Created => {
            Decision::Misplaced("a work order for an order that was never validated")
        }
        Fact::WorkOrderOpened | Fact::WorkOrderCompleted => Decision::Unchanged,
        Fact::PieceMade | Fact::Aside => Decision::Unchanged,
        Fact::Shipped => match order.state {
            State::Validated | State::InManufacturing | State::Ready => {
                changed(order, State::Shipped, now_ms, Event::Shipped, Some(StockAction::Ship))
            }
            State::Shipped => Decision::Unchanged,
            State::Created => Decision::Misplaced("a shipment of an order that was never validated"),
            State::Rejected | State::Cancelled => Decision::Misplaced("a shipment of an order that must not ship"),
        },
        Fact::ShipmentCancelled => match order.state {
            State::Validated | State::InManufacturing | State::Ready => {
                changed(order, State::Cancelled, now_ms, Event::Cancelled, Some(StockAction::Release))
            }
            State::Cancelled => Decision::Unchanged,
            State::Created | State::Rejected => {
                Decision::Misplaced("a cancelled shipment of an order that was never validated")
            }
            State::Shipped => Decision::Misplaced("a cancelled shipment of an order that was shipped"),
        },
    }
}

/// What the wish to cancel comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancellation {
    /// It is cancelled, at once.
    Cancelled(Change),
    /// Shipping is asked.
    Requested(Change),
    /// Shipping has been asked already and will answer this wish too.
    Pending,
    /// The caller has looked at another version.
    VersionConflict {
        /// The version that is current.
        current: u64,
    },
    /// An order in this state cannot be cancelled.
    Illegal(State),
}

/// Decides on the wish to cancel an order; `wanted`, if given, is the version that must be current.
pub fn cancel(order: &mut Order, wanted: Option<u64>, now_ms: i64) -> Cancellation {
    if wanted.is_some_and(|wanted| wanted != order.version) {
        return Cancellation::VersionConflict { current: order.version };
    }
    match order.state {
        State::Created => {
            enter(order, State::Cancelled, now_ms);
            Cancellation::Cancelled(Change { event: Event::Cancelled, stock: Some(StockAction::Release) })
        }
        State::Validated | State::InManufacturing | State::Ready if order.cancellation_requested => {
            Cancellation::Pending
        }
        State::Validated | State::InManufacturing | State::Ready => {
            // Clients do not see this, so the version stays: a caller who asks again with its etag means the same order.
            order.cancellation_requested = true;
            Cancellation::Requested(Change { event: Event::CancellationRequested, stock: None })
        }
        State::Shipped | State::Rejected | State::Cancelled => Cancellation::Illegal(order.state),
    }
}

fn reject(order: &mut Order, mut reasons: Vec<Reason>, now_ms: i64) -> Decision {
    reasons.retain(|reason| !order.reasons.contains(reason));
    match order.state {
        State::Created => {
            order.reasons.clone_from(&reasons);
            changed(order, State::Rejected, now_ms, Event::Rejected { reasons }, Some(StockAction::Release))
        }
        State::Rejected if reasons.is_empty() => Decision::Unchanged,
        State::Rejected => {
            order.reasons.extend(reasons.iter().cloned());
            changed(order, State::Rejected, now_ms, Event::ReasonsAdded { reasons }, None)
        }
        State::Validated | State::InManufacturing | State::Ready => {
            Decision::Misplaced("validation failed an order that it had passed")
        }
        // A cancelled order is over; a shipped one was validated, so the fact is as misplaced as above.
        State::Cancelled => Decision::Unchanged,
        State::Shipped => Decision::Misplaced("validation failed an order that it had passed"),
    }
}

fn changed(order: &mut Order, state: State, now_ms: i64, event: Event, stock: Option<StockAction>) -> Decision {
    enter(order, state, now_ms);
    Decision::Changed(Change { event, stock })
}

fn enter(order: &mut Order, state: State, now_ms: i64) {
    order.state = state;
    order.version += 1;
    order.cancellation_requested &= !state.is_final();
    // Facts carry the times of their own tasks, which may lag behind: an order's times never go back.
    order.updated_ms = order.updated_ms.max(now_ms);
}
