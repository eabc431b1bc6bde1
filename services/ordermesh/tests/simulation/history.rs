//! What callers asked for and were told, and what counted commits have said: what the laws compare.

use std::collections::{BTreeMap, BTreeSet};

use notifications::sender::Mail;
use proto::customers::v1::CreditRow;
use proto::notifications::v1::NotificationRow;
use proto::orders::v1::{Order, OrderState};
use tokio::time::Instant;

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
    /// Commands to the catalog that were answered: key and request_id, to the first answer.
    pub(crate) catalog: BTreeMap<(String, String), Told>,
    /// What the mail server did with the e-mail about each order.
    pub(crate) mails: BTreeMap<String, Mailed>,
    /// The first try of each e-mail.
    pub(crate) first_mails: BTreeMap<String, Mail>,
}

/// How a command to the catalog was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// The version after it, and the number of the chapter that it added, or 0.
    Done { etag: String, chapter_id: i64 },
    /// The reason.
    Refused(String),
}

/// What the mail server did with an e-mail.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mailed {
    /// It took it so many times,
    pub(crate) taken: u32,
    /// said so many times that it has,
    pub(crate) told_taken: u32,
    /// and so many times that it has not.
    pub(crate) told_failed: u32,
    /// It said that it never will.
    pub(crate) told_hopeless: bool,
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
    /// Versions of authors and books.
    pub(crate) versions: BTreeMap<String, u64>,
    /// The number of the last chapter of each book.
    pub(crate) chapters: BTreeMap<String, i64>,
    /// E-mails by order.
    pub(crate) mails: BTreeMap<String, NotificationRow>,
    /// Since when an e-mail has its outcome.
    pub(crate) settled_mails: BTreeMap<String, Instant>,
    /// The order that each Message-ID is about.
    pub(crate) message_ids: BTreeMap<String, String>,
}
