//! What a customer is. The rules stand in [`profile`] (who a customer is), [`credit`] (what orders hold of the limit) and
//! [`progress`] (how far an order has come).
//!
//! Pure: times and ids come in from outside, and what has to be told to others goes out as data.

pub mod credit;
pub mod profile;
pub mod progress;
#[cfg(test)]
mod tests;

/// An amount: a whole number of the currency's minor units.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money {
    /// Three letters of ISO 4217.
    pub currency: String,
    /// The amount in minor units.
    pub minor_units: i64,
}

/// A customer as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// Who it is.
    pub profile: profile::Profile,
    /// What it may spend.
    pub credit: credit::Credit,
}
