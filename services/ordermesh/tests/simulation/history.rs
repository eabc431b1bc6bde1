//! What callers asked for and were told, and what counted commits have said: what the laws compare.

use std::collections::{BTreeMap, BTreeSet};

use proto::customers::v1::CreditRow;
use proto::orders::v1::{Order, OrderState};

/// The callers' side. Who calls insists until there is an answer, so that in the end nothing here is in doubt.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Every order that was ever sent, as it was sent.
    pub(crate) sent: BTreeMap<String, Order>,
    /// Orders of which somebody was told that they exist.
    pub(crate) acknowledged: BTreeSet<String>,
    /// Orders of which somebody was told that they are cancelled.
    pub(crate) cancelled: BTreeSet<String>,
    /// The highest version that anyone was told of an order.
    pub(crate) told: BTreeMap<String, u64>,
    /// Payments that were accepted: order and payment, to minor units and currency.
    pub(crate) payments: BTreeMap<(String, String), (i64, String)>,
    /// What was set and added of each product.
    pub(crate) stocked: BTreeMap<String, i64>,
    /// Customers that were created.
    pub(crate) customers: BTreeSet<String>,
}

/// What an order has said of itself so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage {
    pub(crate) state: OrderState,
    pub(crate) version: u64,
    pub(crate) was_validated: bool,
}

/// The log's side.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Effects that may happen once, and which service has them.
    pub(crate) effects: BTreeSet<String>,
    pub(crate) orders: BTreeMap<String, Stage>,
    pub(crate) credit: BTreeMap<Vec<u8>, CreditRow>,
}
