//! What checks say, and the rules: [`details`] and [`fraud`] judge, [`aggregate`] concludes, [`velocity`] only watches.
//!
//! Pure: times come in with what happens, and what has to be told to others goes out as data.

pub mod aggregate;
pub mod details;
pub mod fraud;
#[cfg(test)]
mod tests;
pub mod velocity;

use std::fmt;

/// One judge of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// The order itself.
    Details,
    /// What the customer orders altogether.
    Fraud,
    /// Whether each line can be supplied.
    Inventory,
    /// Whether the customer may spend the total.
    Credit,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Details => "DETAILS",
            Self::Fraud => "FRAUD",
            Self::Inventory => "INVENTORY",
            Self::Credit => "CREDIT",
        })
    }
}

/// How a line is fulfilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fulfilment {
    /// From stock.
    FromStock,
    /// Made for the order.
    MadeToOrder,
}

/// Pass or fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing against the order.
    Pass {
        /// How the line is fulfilled; only inventory says it.
        fulfilment: Option<Fulfilment>,
    },
    /// The order must be rejected.
    Fail {
        /// Why, for programs: UPPER_SNAKE.
        code: String,
        /// Why, for people.
        message: String,
    },
}

/// What one check says about one order, or about one line of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The check.
    pub check: Check,
    /// Index of the line from 0; 0 for checks of the whole order.
    pub line: u32,
    /// The product that it is about; empty when it is about the whole order.
    pub product_id: String,
    /// Pass or fail.
    pub outcome: Outcome,
}

impl Verdict {
    /// A pass of the whole order.
    #[must_use]
    pub fn pass(check: Check) -> Self {
        Self { check, line: 0, product_id: String::new(), outcome: Outcome::Pass { fulfilment: None } }
    }

    /// A fail of the whole order.
    #[must_use]
    pub fn fail(check: Check, code: &str, message: String) -> Self {
        Self { check, line: 0, product_id: String::new(), outcome: Outcome::Fail { code: code.to_owned(), message } }
    }
}

/// Why an order is rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The check that failed; none when time ran out.
    pub check: Option<Check>,
    /// The product that it is about; empty when it is about the whole order.
    pub product_id: String,
    /// For programs: UPPER_SNAKE.
    pub code: String,
    /// For people.
    pub message: String,
}

/// What is remembered of the orders of one customer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// Sessions that a late order could still join, oldest first.
    pub sessions: Vec<fraud::Session>,
    /// Windows that a late order could still count in, oldest first.
    pub windows: Vec<velocity::Window>,
}

/// An amount: a whole number of the currency's minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Money {
    /// Three letters of ISO 4217.
    pub currency: String,
    /// The amount in minor units.
    pub minor_units: i64,
}
