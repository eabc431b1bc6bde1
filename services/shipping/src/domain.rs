//! The rules of shipments: bring an order together with what is made for it, in whatever order they arrive. Pure.
//!
//! An order ships exactly once, when every product that must be made has its full quantity: by membership and quantity,
//! never by counting. A repeated or late fact changes nothing, for what is made comes as running totals and nothing leaves
//! shipped and cancelled.
//!
//! ```text
//! (nothing) --made--> EARLY --validated--> WAITING --everything made--> SHIPPED
//!     |                 |                     +----------cancel-------> CANCELLED
//!     +--validated, cancel: as from EARLY
//! ```

/// How much of one product the shipment waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The product.
    pub product_id: String,
    /// Pieces needed; 0 while the order is not known.
    pub needed: i64,
    /// Pieces made so far.
    pub made: i64,
}

/// Where a shipment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Something was made, but the order is not known yet.
    Early,
    /// Something of the order is still to be made.
    Waiting,
    /// On its way. Final.
    Shipped,
    /// The order was cancelled before it left. Final.
    Cancelled,
}

/// How far one order is from leaving the house.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipment {
    /// What has to be made, one item for each product.
    pub items: Vec<Item>,
    /// Where it stands.
    pub state: State,
    /// When something of it became known, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// When it last changed, in milliseconds since the Unix epoch.
    pub changed_ms: i64,
    /// Grows by one with each change, from 1.
    pub version: u64,
}

impl Shipment {
    /// Pieces made and pieces needed, over all items. Wider than one item's quantity, so that the sums cannot overflow.
    #[must_use]
    pub fn pieces(&self) -> (i128, i128) {
        self.items.iter().fold((0, 0), |(made, needed), item| {
            (made + i128::from(item.made.min(item.needed)), needed + i128::from(item.needed))
        })
    }

    /// Products that are not complete.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.items.iter().filter(|item| item.made < item.needed).map(|item| item.product_id.as_str())
    }
}

/// What shipping learns about one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact<'a> {
    /// The order passed every check. Product and quantity of each line that is made to order.
    Validated(Vec<(&'a str, i64)>),
    /// So much of a product is made by now: a running total.
    Made {
        /// The product.
        product_id: &'a str,
        /// Pieces made so far.
        total: i64,
    },
    /// A client wants to cancel. Asks for an answer, which is that it is cancelled, or was shipped before.
    CancellationRequested,
    /// The order is cancelled, and shipping was not asked.
    Cancelled,
}

/// What others learn; one of them at most in the life of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The order left the house.
    Shipped,
    /// The order never will.
    Cancelled,
}

/// A shipment that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The shipment from now on.
    pub shipment: Shipment,
    /// What to tell the others.
    pub event: Option<Event>,
}

/// Decides what one fact does to the shipment of its order; none if it changes nothing.
#[must_use]
pub fn apply(shipment: Option<Shipment>, fact: &Fact<'_>, now_ms: i64) -> Option<Decision> {
    let mut shipment = shipment.unwrap_or(Shipment {
        items: Vec::new(),
        state: State::Early,
        created_ms: now_ms,
        changed_ms: now_ms,
        version: 0,
    });
    let event = match (fact, shipment.state) {
        (_, State::Shipped | State::Cancelled) => return None,
        (Fact::Validated(needs), State::Early) => {
            need(&mut shipment.items, needs);
            shipment.state = State::Waiting;
            ship_when_complete(&mut shipment)
        }
        (Fact::Validated(_), State::Waiting) => return None,
        (Fact::Made { product_id, total }, state) => {
            if !merge(&mut shipment.items, product_id, *total, state) {
                return None;
            }
            ship_when_complete(&mut shipment)
        }
        (Fact::CancellationRequested, State::Early | State::Waiting) => {
            shipment.state = State::Cancelled;
            Some(Event::Cancelled)
        }
        (Fact::Cancelled, state) => {
            shipment.state = State::Cancelled;
            // Without a shipment there is none to take back, and the order itself has said that it is cancelled.
            (state == State::Waiting).then_some(Event::Cancelled)
        }
    };
    shipment.changed_ms = now_ms;
    shipment.version += 1;
    Some(Decision { shipment, event })
}

/// Joins what is needed with what was made early. What was made and is not needed is forgotten.
fn need(items: &mut Vec<Item>, needs: &[(&str, i64)]) {
    let early = std::mem::take(items);
    for (product_id, quantity) in needs.iter().filter(|(_, quantity)| *quantity > 0) {
        if let Some(item) = items.iter_mut().find(|item| item.product_id == *product_id) {
            // A sum beyond 64 bits is more than anyone can make; manufacturing caps it in the same way.
            item.needed = item.needed.saturating_add(*quantity);
            continue;
        }
        let made = early.iter().find(|item| item.product_id == *product_id).map_or(0, |item| item.made);
        items.push(Item { product_id: (*product_id).to_owned(), needed: *quantity, made });
    }
}

/// Raises what is made to a running total; false if it says nothing new.
fn merge(items: &mut Vec<Item>, product_id: &str, total: i64, state: State) -> bool {
    match items.iter_mut().find(|item| item.product_id == product_id) {
        Some(item) if total > item.made => item.made = total,
        None if state == State::Early => {
            items.push(Item { product_id: product_id.to_owned(), needed: 0, made: total });
        }
        _ => return false,
    }
    true
}

fn ship_when_complete(shipment: &mut Shipment) -> Option<Event> {
    if shipment.state != State::Waiting || shipment.missing().next().is_some() {
        return None;
    }
    shipment.state = State::Shipped;
    Some(Event::Shipped)
}

#[cfg(test)]
mod tests;
