//! How far an order of a customer has come, as the customer-orders view shows it. Changes come with the version that the
//! order has since: the highest says everything, so that the view is the same whatever the order of arrival.

use super::credit::End;

/// How far an order has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The version of the order that this is of.
    pub version: u64,
    /// Where it stands.
    pub state: State,
    /// Why it was rejected.
    pub reasons: Vec<Reason>,
    /// When clients last saw it change, in milliseconds since the Unix epoch.
    pub updated_ms: i64,
}

/// Where an order stands.
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

/// Why an order was rejected, exactly as others said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Number of the check that failed.
    pub check: i32,
    /// The product that it is about; empty when it is about the whole order.
    pub product_id: String,
    /// For programs: UPPER_SNAKE.
    pub code: String,
    /// For people.
    pub message: String,
}

impl Progress {
    /// Whether this says more than what is known.
    #[must_use]
    pub fn is_news(&self, known: Option<&Self>) -> bool {
        known.is_none_or(|known| known.version < self.version)
    }

    /// How the order needs no credit any more; none while it does. A shipped order still does, until it is paid.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        match self.state {
            State::Rejected | State::Cancelled => Some(End::Unpaid),
            State::Created | State::Validated | State::InManufacturing | State::Ready | State::Shipped => None,
        }
    }
}
