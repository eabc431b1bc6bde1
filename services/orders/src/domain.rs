//! What an order is. The rules stand in [`life`] (how it changes) and [`create`] (how it comes to be).
//!
//! Pure: times and ids come in from outside, and what has to be told to others goes out as data.

pub mod create;
pub mod life;
#[cfg(test)]
mod tests;

/// An amount: a whole number of the currency's minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Money {
    /// Three letters of ISO 4217.
    pub currency: String,
    /// The amount in minor units.
    pub minor_units: i64,
}

/// One product of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The product.
    pub product_id: String,
    /// Pieces. May be 0 or less here: a check rejects it, so that the rule and its reason are on the record.
    pub quantity: i64,
    /// Price of one piece.
    pub unit_price: Money,
}

/// What a client decides about an order. Never changes after creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Who ordered.
    pub customer_id: String,
    /// 1..100 lines.
    pub lines: Vec<Line>,
}

/// Why the sum of an order is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTotal {
    /// The lines have several currencies: there is no sum, but the order is well formed (a check rejects it).
    MixedCurrencies,
    /// The sum does not fit an amount: such an order is not well formed.
    TooLarge,
}

impl Content {
    /// Sum of quantity x price over the lines.
    ///
    /// # Errors
    /// See [`total`].
    pub fn total(&self) -> Result<Money, NoTotal> {
        total(self.lines.iter().map(|line| (line.quantity, line.unit_price.minor_units, &*line.unit_price.currency)))
    }
}

/// Sum of quantity x price over lines of (quantity, price in minor units, currency).
///
/// # Errors
/// [`NoTotal::TooLarge`] goes before [`NoTotal::MixedCurrencies`]: the sum of all lines' absolute values must fit, so that
/// no order of adding them up can overflow anywhere in the mesh.
pub fn total<'a>(lines: impl Iterator<Item = (i64, i64, &'a str)>) -> Result<Money, NoTotal> {
    let (mut sum, mut magnitude) = (0_i128, 0_i128);
    let (mut currency, mut is_mixed) = (None, false);
    for (quantity, price, line_currency) in lines {
        let amount = i128::from(quantity) * i128::from(price);
        sum = sum.saturating_add(amount);
        magnitude = magnitude.saturating_add(amount.saturating_abs());
        is_mixed |= *currency.get_or_insert(line_currency) != line_currency;
    }
    match (i64::try_from(sum), i64::try_from(magnitude)) {
        (Ok(_), Ok(_)) if is_mixed => Err(NoTotal::MixedCurrencies),
        (Ok(minor_units), Ok(_)) => Ok(Money { currency: currency.unwrap_or_default().to_owned(), minor_units }),
        _ => Err(NoTotal::TooLarge),
    }
}

/// Where an order stands.
///
/// ```text
/// Created --> Validated --> InManufacturing --> Ready --> Shipped
///    |  \         |                |              |
///    |   \        +----------------+--------------+-----> Cancelled
///    |    +-------------------------------------------------^
///    +-----> Rejected
/// ```
/// A state is never left for one above it, steps may be skipped, and nothing leaves the three final states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Accepted; the checks judge it.
    Created,
    /// Every check passed.
    Validated,
    /// Something of it is being made.
    InManufacturing,
    /// Everything is made.
    Ready,
    /// On its way. Final.
    Shipped,
    /// A check failed, or the checks took too long. Final.
    Rejected,
    /// Cancelled on request. Final.
    Cancelled,
}

impl State {
    /// Whether nothing ever leaves this state.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Shipped | Self::Rejected | Self::Cancelled)
    }

    /// Its name as clients see it, without a prefix.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Validated => "VALIDATED",
            Self::InManufacturing => "IN_MANUFACTURING",
            Self::Ready => "READY",
            Self::Shipped => "SHIPPED",
            Self::Rejected => "REJECTED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Milestone {
    /// The order exists.
    Created,
    /// The checks have decided, or the order is over.
    Validated,
    /// The order is over.
    Shipped,
}

impl Milestone {
    /// Whether an order in this state has got there.
    #[must_use]
    pub fn is_reached(self, state: State) -> bool {
        match self {
            Self::Created => true,
            Self::Validated => state != State::Created,
            Self::Shipped => state.is_final(),
        }
    }
}

/// A judge of orders, as far as orders knows them: by name in a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The order itself.
    Details,
    /// What the customer orders altogether.
    Fraud,
    /// Whether it can be supplied.
    Inventory,
    /// Whether the customer may spend it.
    Credit,
}

/// Why an order was rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The check that failed; none when no check gave it, such as a timeout.
    pub check: Option<Check>,
    /// The product that it is about; empty when it is about the whole order.
    pub product_id: String,
    /// For programs: UPPER_SNAKE.
    pub code: String,
    /// For people.
    pub message: String,
}

/// One order. Its id is its key and not repeated here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What the client wants.
    pub content: Content,
    /// Where it stands.
    pub state: State,
    /// Why it was rejected; grows when a check answers late.
    pub reasons: Vec<Reason>,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// When clients last saw it change, in milliseconds since the Unix epoch.
    pub updated_ms: i64,
    /// From 1, one more with each change that clients see: the etag.
    pub version: u64,
    /// A cancellation was asked for and shipping has not answered yet. Not part of what clients see.
    pub cancellation_requested: bool,
    /// Where the records stand that tell of it. No rule looks at it.
    pub history: Vec<Mark>,
}

/// Leads to one record about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Its topic.
    pub topic: Marked,
    /// Its offset; for the topic of orders itself, one that it cannot stand before.
    pub at: u64,
}

/// A topic whose records belong to the history of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// What happened to orders.
    Orders,
    /// What validation decided.
    Validations,
    /// What was made.
    Manufactured,
    /// What shipping decided.
    Shipments,
    /// What FRAUD said.
    OrderVerdicts,
    /// What INVENTORY said.
    InventoryVerdicts,
    /// What CREDIT said.
    CreditVerdicts,
    /// What was paid.
    Payments,
    /// What became of the e-mail.
    Mails,
}

/// Marks that an order keeps; what comes after them is left out of its history.
const HISTORY_MAX: usize = 1_000;
/// With so many marks single pieces that were made are left out, which may be any number, so that everything else has room.
const HISTORY_OF_PIECES_MAX: usize = 600;

impl Order {
    /// Keeps marks for its history.
    pub fn note(&mut self, marks: impl IntoIterator<Item = Mark>) {
        note(&mut self.history, marks);
    }

    /// Keeps marks of single pieces.
    pub fn note_pieces(&mut self, marks: impl IntoIterator<Item = Mark>) {
        let room = HISTORY_OF_PIECES_MAX.saturating_sub(self.history.len());
        self.note(marks.into_iter().take(room));
    }
}

/// Adds marks to a history, as far as it has room.
pub fn note(history: &mut Vec<Mark>, marks: impl IntoIterator<Item = Mark>) {
    let room = HISTORY_MAX.saturating_sub(history.len());
    history.extend(marks.into_iter().take(room));
}

/// What happened to an order: told to everyone on the topic `orders`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It was accepted.
    Created,
    /// Every check passed.
    Validated {
        /// How each line is fulfilled, in the order of the lines.
        fulfilments: Vec<Fulfilment>,
    },
    /// It will not be fulfilled.
    Rejected {
        /// Every reason known by then.
        reasons: Vec<Reason>,
    },
    /// More reasons became known after the rejection.
    ReasonsAdded {
        /// Only the further ones.
        reasons: Vec<Reason>,
    },
    /// Something of it is being made.
    InManufacturing,
    /// Everything is made.
    Ready,
    /// A client wants to cancel it; shipping decides.
    CancellationRequested,
    /// It is cancelled.
    Cancelled,
    /// It is shipped.
    Shipped,
}

/// How a line is fulfilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fulfilment {
    /// From stock.
    FromStock,
    /// Made for the order.
    MadeToOrder,
}

/// What inventory is asked to do, for every line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StockAction {
    /// Reserve it.
    Reserve,
    /// Give back what it holds.
    Release,
    /// Take what it holds out of the stock.
    Ship,
}

/// A change of an order and what others must be told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub event: Event,
    /// What inventory must do. In an order's life: Reserve once, then Release or Ship at most once, never both.
    pub stock: Option<StockAction>,
}
