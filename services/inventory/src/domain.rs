//! The rules of products, stock and reservations. Pure: state and a request in, a decision out.
//!
//! Always `0 <= reserved <= stock`, `reserved` is the sum of what the held lines hold, and `stock` is what was set and
//! added less what was shipped. A line is settled by what it holds, never by what the product says now, so that a change
//! of the fulfilment cannot strand a reservation.
//!
//! ```text
//!            reserve                         release, ship
//! (no line) ---------> HELD (from stock) ------------------+
//!     |     ---------> UNRESERVED (made to order) ---------+--> CLOSED, refuses every later reserve
//!     |     ---------> REFUSED (out of stock, no product) -+
//!     +----------------------------------------------------+
//! ```

/// How a product gets to the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fulfilment {
    /// Taken from stock, which an order reserves first.
    FromStock,
    /// Made for the order; nothing is reserved.
    MadeToOrder,
}

/// What changes often about a product. Its name is kept apart, for every order line rewrites this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stock {
    /// How orders of it are fulfilled.
    pub fulfilment: Fulfilment,
    /// Pieces in the warehouse, 0 or more.
    pub stock: i64,
    /// Pieces of the stock that lines hold, 0..=stock.
    pub reserved: i64,
    /// Grows by one with each change that a command makes, from 1. Reservations and shipments leave it, so that a product
    /// in demand can still be changed with an etag.
    pub version: u64,
}

impl Stock {
    /// Pieces that can still be ordered.
    #[must_use]
    pub fn available(&self) -> i64 {
        self.stock - self.reserved
    }
}

/// A product as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Name for people.
    pub name: String,
    /// The rest of it.
    pub stock: Stock,
}

/// Why a command changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such product.
    NotFound,
    /// The product is not in the version that the caller wants to change.
    VersionConflict {
        /// Its version; 0 when there is no such product.
        current: u64,
    },
    /// The stock would fall below what lines hold.
    BelowReserved {
        /// The stock as it would be.
        wanted: i64,
        /// Pieces that lines hold.
        reserved: i64,
    },
    /// The stock would be no 64-bit number.
    TooLarge,
}

/// Creates a product without stock, or changes the name and the fulfilment of one. `wanted` is the version that must be
/// current, if the caller cares. A product that is so already is returned as it is, in the same version.
///
/// # Errors
/// [`Refusal::VersionConflict`].
pub fn upsert(
    current: Option<&Product>,
    name: &str,
    fulfilment: Fulfilment,
    wanted: Option<u64>,
) -> Result<Product, Refusal> {
    check_version(current.map(|product| &product.stock), wanted)?;
    let Some(current) = current else {
        let stock = Stock { fulfilment, stock: 0, reserved: 0, version: 1 };
        return Ok(Product { name: name.to_owned(), stock });
    };
    let mut product = current.clone();
    if product.name != name || product.stock.fulfilment != fulfilment {
        name.clone_into(&mut product.name);
        product.stock.fulfilment = fulfilment;
        product.stock.version += 1;
    }
    Ok(product)
}

/// Sets the stock to a counted quantity. Stock that is so already stays in its version.
///
/// # Errors
/// Every [`Refusal`] but [`Refusal::TooLarge`].
pub fn set_stock(current: Option<&Stock>, quantity: i64, wanted: Option<u64>) -> Result<Stock, Refusal> {
    let current = current.ok_or(Refusal::NotFound)?;
    check_version(Some(current), wanted)?;
    if quantity < current.reserved {
        return Err(Refusal::BelowReserved { wanted: quantity, reserved: current.reserved });
    }
    let version = current.version + u64::from(quantity != current.stock);
    Ok(Stock { stock: quantity, version, ..*current })
}

/// Adds to the stock; a negative quantity takes away, down to what lines hold.
///
/// # Errors
/// Every [`Refusal`].
pub fn add_stock(current: Option<&Stock>, quantity: i64, wanted: Option<u64>) -> Result<Stock, Refusal> {
    let current = current.ok_or(Refusal::NotFound)?;
    check_version(Some(current), wanted)?;
    let sum = current.stock.checked_add(quantity).ok_or(Refusal::TooLarge)?;
    set_stock(Some(current), sum, None)
}

/// What does not exist is in no version, so that nothing that is wanted of it is current.
fn check_version(current: Option<&Stock>, wanted: Option<u64>) -> Result<(), Refusal> {
    let current = current.map(|stock| stock.version);
    if wanted.is_none() || wanted == current {
        return Ok(());
    }
    Err(Refusal::VersionConflict { current: current.unwrap_or(0) })
}

/// What orders asks for one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Hold the pieces of the line.
    Reserve,
    /// Give back what the line holds.
    Release,
    /// Take what the line holds out of the stock.
    Ship,
}

/// What is remembered of one line of one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Holds this many pieces, 1 or more.
    Held(i64),
    /// Passed without holding anything: the product is made to order.
    Unreserved,
    /// Was refused, and stays so although there may be stock by now.
    Refused(Fault),
    /// Was released or shipped, perhaps before it was ever reserved.
    Closed,
}

/// Why a line fails the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is no such product.
    ProductNotFound,
    /// Fewer pieces are available.
    OutOfStock,
    /// The line was released or shipped before.
    LineClosed,
}

/// What the inventory check says about a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It can be supplied, in this way.
    Pass(Fulfilment),
    /// It cannot.
    Fail(Fault),
}

/// What to do about one request. What is `None` stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Decision {
    /// The product's new stock.
    pub stock: Option<Stock>,
    /// The line's new state.
    pub line: Option<Line>,
    /// The answer; every reserve has one, nothing else does.
    pub verdict: Option<Verdict>,
}

/// What counts as known of a line. A closed one is remembered for `kept_ms` after it was closed and no longer, so that a line
/// of which nothing is left may be new, or closed long ago. A request that comes back from the dead letters, `age_ms` after it
/// was made, comes behind whatever closed its line: only while it is younger than `kept_ms` is it sure that nothing has. Other
/// requests have no age. However old one is, because the task was away, what closes its line comes behind it.
#[must_use]
pub fn recall(line: Option<Line>, age_ms: Option<i64>, kept_ms: i64) -> Option<Line> {
    line.or_else(|| age_ms.is_some_and(|age_ms| age_ms >= kept_ms).then_some(Line::Closed))
}

/// Decides what one request does to a product and to the line that it is about. A line of less than one piece touches
/// nothing: that its quantity is wrong is for another check to say, that there is no such product is for this one.
#[must_use]
pub fn settle(stock: Option<&Stock>, line: Option<&Line>, action: Action, quantity: i64) -> Decision {
    match action {
        Action::Reserve if quantity < 1 => {
            answer(stock.map_or(Verdict::Fail(Fault::ProductNotFound), |stock| Verdict::Pass(stock.fulfilment)))
        }
        Action::Reserve => reserve(stock, line, quantity),
        Action::Release | Action::Ship if quantity < 1 => Decision::default(),
        Action::Release => close(stock, line, |stock, held| Stock { reserved: stock.reserved - held, ..stock }),
        Action::Ship => close(stock, line, |stock, held| Stock {
            stock: stock.stock - held,
            reserved: stock.reserved - held,
            ..stock
        }),
    }
}

/// The same line is answered the same way however often it asks, until it is closed.
fn reserve(stock: Option<&Stock>, line: Option<&Line>, quantity: i64) -> Decision {
    match line {
        Some(Line::Held(_)) => return answer(Verdict::Pass(Fulfilment::FromStock)),
        Some(Line::Unreserved) => return answer(Verdict::Pass(Fulfilment::MadeToOrder)),
        Some(Line::Refused(fault)) => return answer(Verdict::Fail(*fault)),
        Some(Line::Closed) => return answer(Verdict::Fail(Fault::LineClosed)),
        None => {}
    }
    let Some(stock) = stock else {
        return refuse(Fault::ProductNotFound);
    };
    match stock.fulfilment {
        Fulfilment::MadeToOrder => {
            Decision { line: Some(Line::Unreserved), ..answer(Verdict::Pass(Fulfilment::MadeToOrder)) }
        }
        // Neither side can overflow: available is 0 or more, and reserved + quantity is at most stock.
        Fulfilment::FromStock if stock.available() >= quantity => Decision {
            stock: Some(Stock { reserved: stock.reserved + quantity, ..*stock }),
            line: Some(Line::Held(quantity)),
            verdict: Some(Verdict::Pass(Fulfilment::FromStock)),
        },
        Fulfilment::FromStock => refuse(Fault::OutOfStock),
    }
}

/// A line is closed once; what is closed, and what holds nothing, changes no stock.
fn close(stock: Option<&Stock>, line: Option<&Line>, take: impl Fn(Stock, i64) -> Stock) -> Decision {
    match (line, stock) {
        (Some(Line::Closed), _) => Decision::default(),
        (Some(Line::Held(held)), Some(stock)) => {
            Decision { stock: Some(take(*stock, *held)), line: Some(Line::Closed), verdict: None }
        }
        _ => Decision { line: Some(Line::Closed), ..Decision::default() },
    }
}

fn answer(verdict: Verdict) -> Decision {
    Decision { verdict: Some(verdict), ..Decision::default() }
}

fn refuse(fault: Fault) -> Decision {
    Decision { line: Some(Line::Refused(fault)), ..answer(Verdict::Fail(fault)) }
}

#[cfg(test)]
mod tests;
