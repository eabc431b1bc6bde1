//! The rules of work orders. Pure: what is known and what happened in, a change out.
//!
//! Always `0 <= manufactured <= quantity` for each item, a work order is completed exactly when every item has its full
//! quantity, and nothing leaves completed and cancelled.
//!
//! ```text
//! (early reports) --validated--> OPEN --everything is made--> COMPLETED
//!        |                        +-----order cancelled----> CANCELLED
//!        +--validated with nothing to make, rejected, cancelled--> (idle)
//! ```

/// How much of one product has to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The product.
    pub product_id: String,
    /// Pieces needed, 1 or more.
    pub quantity: i64,
    /// Pieces made so far, 0..=quantity.
    pub manufactured: i64,
}

impl Item {
    /// Pieces still to make.
    #[must_use]
    pub fn open(&self) -> i64 {
        self.quantity - self.manufactured
    }
}

/// Where a work order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Something is still to be made.
    Open,
    /// Everything is made. Final.
    Completed,
    /// The order was cancelled. Final.
    Cancelled,
}

/// What has to be made for one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkOrder {
    /// One item for each product, in the order of the order's lines.
    pub items: Vec<Item>,
    /// Where it stands.
    pub state: State,
    /// When it was opened, in milliseconds since the Unix epoch.
    pub opened_ms: i64,
    /// When it last changed, in milliseconds since the Unix epoch.
    pub changed_ms: i64,
    /// Grows by one with each change, from 1.
    pub version: u64,
}

/// Pieces of one product that were reported before the order was known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Early {
    /// The product.
    pub product_id: String,
    /// Pieces, 1 or more.
    pub quantity: i64,
}

/// Why nothing is ever made for an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Everything in it comes from stock.
    NothingToMake,
    /// It was rejected.
    Rejected,
    /// It was cancelled before it had a work order.
    Cancelled,
}

/// What is known of one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Only reports, one entry for each product; the order has not come.
    Early(Vec<Early>),
    /// Its work order.
    Opened(WorkOrder),
    /// That it has none.
    Idle(Idle),
}

/// A fact for everyone who follows the work order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It was opened, with nothing made yet.
    Opened(Vec<Item>),
    /// Pieces of one product were made.
    Manufactured {
        /// The item as it is now: its `manufactured` is a running total, so that a repeat changes nothing.
        item: Item,
        /// Pieces of this report alone.
        quantity: i64,
    },
    /// Everything is made.
    Completed,
    /// Nothing more will be made.
    Cancelled,
}

/// A work order that changed, and what that means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The work order from now on.
    pub work_order: WorkOrder,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Early reports that nobody needed: of products that are not on the work order, or beyond what it needs.
    pub surplus: Vec<Early>,
}

/// What an order means for its work order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It changes so.
    Work(Change),
    /// There will be none.
    Idle {
        /// Why.
        idle: Idle,
        /// Early reports, which nobody needs.
        surplus: Vec<Early>,
    },
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reported {
    /// The order is not known yet: these reports wait for it.
    Remembered(Vec<Early>),
    /// It is applied.
    Applied(Change),
}

/// Why a report changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// More pieces than are still to make.
    TooMany {
        /// Pieces needed altogether.
        needed: i64,
        /// Pieces made before this report.
        manufactured: i64,
    },
    /// Nothing of this product has to be made.
    NotOnWorkOrder,
    /// The order was cancelled.
    Cancelled,
    /// The order was rejected.
    Rejected,
    /// Reports of too many products wait for this order already.
    TooManyEarly {
        /// Most products that are remembered for one order.
        limit: usize,
    },
}

/// Opens the work order of a validated order. `needs` are the product and quantity of each line that is made to order; a
/// product in several lines is summed. What was decided about the order before stays so.
#[must_use]
pub fn open<'a>(known: Option<Known>, needs: impl IntoIterator<Item = (&'a str, i64)>, now_ms: i64) -> Option<Step> {
    let early = match known {
        Some(Known::Opened(_) | Known::Idle(_)) => return None,
        Some(Known::Early(early)) => early,
        None => Vec::new(),
    };
    let items = sum(needs);
    if items.is_empty() {
        return Some(Step::Idle { idle: Idle::NothingToMake, surplus: early });
    }
    let opened = Event::Opened(items.clone());
    let work_order = WorkOrder { items, state: State::Open, opened_ms: now_ms, changed_ms: now_ms, version: 1 };
    let mut change = Change { work_order, events: vec![opened], surplus: Vec::new() };
    for Early { product_id, quantity } in early {
        let item = change.work_order.items.iter_mut().find(|item| item.product_id == product_id);
        let used = item.as_ref().map_or(0, |item| quantity.min(item.open()));
        if let Some(item) = item.filter(|_| used > 0) {
            change.events.push(make(item, used));
        }
        if used < quantity {
            change.surplus.push(Early { product_id, quantity: quantity - used });
        }
    }
    complete(&mut change);
    Some(Step::Work(change))
}

/// Adds pieces, 1 or more, that someone made. At most `early_products_max` products are remembered for an order that is
/// not known yet.
///
/// # Errors
/// See [`Refusal`].
pub fn report(
    known: Option<Known>,
    (product_id, quantity): (&str, i64),
    early_products_max: usize,
    now_ms: i64,
) -> Result<Reported, Refusal> {
    let mut work_order = match known {
        Some(Known::Opened(work_order)) => work_order,
        Some(Known::Idle(Idle::NothingToMake)) => return Err(Refusal::NotOnWorkOrder),
        Some(Known::Idle(Idle::Rejected)) => return Err(Refusal::Rejected),
        Some(Known::Idle(Idle::Cancelled)) => return Err(Refusal::Cancelled),
        Some(Known::Early(early)) => return remember(early, product_id, quantity, early_products_max),
        None => return remember(Vec::new(), product_id, quantity, early_products_max),
    };
    let item = work_order.items.iter_mut().find(|item| item.product_id == product_id);
    let item = item.ok_or(Refusal::NotOnWorkOrder)?;
    if work_order.state == State::Cancelled {
        return Err(Refusal::Cancelled);
    }
    if quantity > item.open() {
        return Err(Refusal::TooMany { needed: item.quantity, manufactured: item.manufactured });
    }
    let events = vec![make(item, quantity)];
    let mut change = Change { work_order, events, surplus: Vec::new() };
    touch(&mut change.work_order, now_ms);
    complete(&mut change);
    Ok(Reported::Applied(change))
}

/// Makes up to `pieces` pieces of an open work order, item by item, and says how many it made.
#[must_use]
pub fn work(work_order: WorkOrder, pieces: i64, now_ms: i64) -> (Change, i64) {
    let mut change = Change { work_order, events: Vec::new(), surplus: Vec::new() };
    let mut left = pieces;
    if change.work_order.state == State::Open {
        for item in &mut change.work_order.items {
            let used = left.min(item.open());
            if used > 0 {
                left -= used;
                change.events.push(make(item, used));
            }
        }
    }
    if !change.events.is_empty() {
        touch(&mut change.work_order, now_ms);
        complete(&mut change);
    }
    (change, pieces - left)
}

/// Ends an order that was rejected or cancelled, as `idle` says: an open work order is closed, and without one there will be
/// none. What was decided about the order before stays so, and so does what was completed.
#[must_use]
pub fn end(known: Option<Known>, idle: Idle, now_ms: i64) -> Option<Step> {
    let mut work_order = match known {
        Some(Known::Opened(work_order)) if work_order.state == State::Open => work_order,
        Some(Known::Opened(_) | Known::Idle(_)) => return None,
        Some(Known::Early(surplus)) => return Some(Step::Idle { idle, surplus }),
        None => return Some(Step::Idle { idle, surplus: Vec::new() }),
    };
    work_order.state = State::Cancelled;
    touch(&mut work_order, now_ms);
    Some(Step::Work(Change { work_order, events: vec![Event::Cancelled], surplus: Vec::new() }))
}

fn sum<'a>(needs: impl IntoIterator<Item = (&'a str, i64)>) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for (product_id, quantity) in needs.into_iter().filter(|(_, quantity)| *quantity > 0) {
        match items.iter_mut().find(|item| item.product_id == product_id) {
            // A sum beyond 64 bits is more than anyone can make; shipping caps it in the same way.
            Some(item) => item.quantity = item.quantity.saturating_add(quantity),
            None => items.push(Item { product_id: product_id.to_owned(), quantity, manufactured: 0 }),
        }
    }
    items
}

fn remember(mut early: Vec<Early>, product_id: &str, quantity: i64, limit: usize) -> Result<Reported, Refusal> {
    let products = early.len();
    match early.iter_mut().find(|entry| entry.product_id == product_id) {
        // What goes beyond the need is cut when the order comes, so a cap here loses nothing.
        Some(entry) => entry.quantity = entry.quantity.saturating_add(quantity),
        None if products >= limit => return Err(Refusal::TooManyEarly { limit }),
        None => early.push(Early { product_id: product_id.to_owned(), quantity }),
    }
    Ok(Reported::Remembered(early))
}

fn make(item: &mut Item, quantity: i64) -> Event {
    item.manufactured += quantity;
    Event::Manufactured { item: item.clone(), quantity }
}

fn touch(work_order: &mut WorkOrder, now_ms: i64) {
    work_order.changed_ms = now_ms;
    work_order.version += 1;
}

fn complete(change: &mut Change) {
    if change.work_order.items.iter().all(|item| item.open() == 0) {
        change.work_order.state = State::Completed;
        change.events.push(Event::Completed);
    }
}

#[cfg(test)]
mod tests;
