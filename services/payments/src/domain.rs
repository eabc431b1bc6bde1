//! The rules of payments: bring what an order costs together with what comes in for it, in whatever order. Pure.
//!
//! Always: what is paid is the sum of the distinct payments that are booked; payments that are booked have the order's
//! currency; an order is told to be paid at most once, and then as much as it costs is booked. Money is never forgotten:
//! a payment stays whatever becomes of its order.
//!
//! ```text
//! of a payment    (order unknown) PENDING --order comes--> BOOKED, or REFUSED when its currency is another
//!                 (order known)   BOOKED at once; another currency is refused and leaves no trace
//! of an order     not settled --as much booked as it costs, and neither rejected nor cancelled--> settled, once
//! ```

/// An amount in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Money {
    /// ISO 4217.
    pub currency: String,
    /// In minor units.
    pub minor_units: i64,
}

/// What became of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentState {
    /// Its order is not known yet.
    Pending,
    /// It counts. Final.
    Booked,
    /// It was remembered, and has another currency than the order. Final.
    Refused,
}

/// Money that came in for an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Unique within its order.
    pub payment_id: String,
    /// Above zero.
    pub amount: Money,
    /// What became of it.
    pub state: PaymentState,
    /// When it came in, in milliseconds since the Unix epoch.
    pub recorded_ms: i64,
}

/// What an order says about its payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// Who ordered.
    pub customer_id: String,
    /// What the order costs; none when its lines have no common currency, or their sum is no number.
    pub total: Option<Money>,
}

/// What is known of the payments of one order. The default is what is known of an order that nobody has heard of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// Known from the order's creation on.
    pub bill: Option<Bill>,
    /// The order was rejected or cancelled: it costs nothing any more.
    pub ended: bool,
    /// It was told that the order is paid.
    pub settled: bool,
    /// In order of arrival.
    pub payments: Vec<Payment>,
}

/// How what is paid compares with what the order costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Nothing is known of what the order costs.
    Unknown,
    /// Nothing was paid.
    Unpaid,
    /// Something, but not enough.
    Underpaid,
    /// Exactly enough; also an order that costs nothing.
    Paid,
    /// Too much.
    Overpaid,
}

/// A fact for everyone who follows the payments of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A payment came in; with what is paid now, if the order is known.
    Recorded(Payment, Option<Money>),
    /// A pending payment counts now; with what is paid now.
    Booked(Payment, Money),
    /// A pending payment does not count.
    Refused(Payment),
    /// The order is paid in full.
    Settled {
        /// Who ordered.
        customer_id: String,
        /// What the order costs.
        due: Money,
        /// What is paid.
        paid: Money,
    },
}

/// An account that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The account from now on.
    pub account: Account,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// What became of a payment that a client records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// It is new.
    New(Change),
    /// The same payment was recorded before, and stands as it does.
    Known(Account),
}

/// Why a payment is not recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The order has another currency.
    CurrencyMismatch {
        /// The order's.
        wanted: String,
    },
    /// The lines of the order have no common currency, so that nothing can be paid for it.
    NoTotal,
    /// The id is taken by another amount.
    Exists,
    /// The order has as many payments as are kept.
    TooMany {
        /// Most payments of one order.
        limit: usize,
    },
    /// The sum would be more than a 64-bit number.
    TooLarge,
}

impl Account {
    /// Sum of the payments that count; of those that wait while the order is not known. None if these have several
    /// currencies, or if there is nothing that says which currency it is.
    #[must_use]
    pub fn paid(&self) -> Option<Money> {
        match &self.bill {
            Some(bill) => {
                let currency = bill.total.as_ref()?.currency.clone();
                let minor_units = self.sum(&currency, PaymentState::Booked);
                Some(Money { currency, minor_units })
            }
            None => {
                let currency = self.payments.first()?.amount.currency.clone();
                let is_one = self.payments.iter().all(|payment| payment.amount.currency == currency);
                let minor_units = self.sum(&currency, PaymentState::Pending);
                is_one.then_some(Money { currency, minor_units })
            }
        }
    }

    /// What the order costs: nothing once it is rejected or cancelled. None while that is not known.
    #[must_use]
    pub fn due(&self) -> Option<Money> {
        let total = self.bill.as_ref()?.total.clone()?;
        Some(if self.ended { Money { minor_units: 0, ..total } } else { total })
    }

    /// What is still to pay; below zero when too much was paid.
    #[must_use]
    pub fn balance(&self) -> Option<Money> {
        let (due, paid) = (self.due()?, self.paid()?);
        // Only a total near the end of the numbers, which no check lets through, could be cut.
        Some(Money { minor_units: due.minor_units.saturating_sub(paid.minor_units), ..due })
    }

    /// How what is paid compares with what the order costs.
    #[must_use]
    pub fn settlement(&self) -> Settlement {
        let (Some(due), Some(paid)) = (self.due(), self.paid()) else { return Settlement::Unknown };
        match paid.minor_units.cmp(&due.minor_units) {
            _ if paid.minor_units == 0 && (due.minor_units > 0 || self.ended) => Settlement::Unpaid,
            std::cmp::Ordering::Less => Settlement::Underpaid,
            std::cmp::Ordering::Equal => Settlement::Paid,
            std::cmp::Ordering::Greater => Settlement::Overpaid,
        }
    }

    /// The payment of this id.
    #[must_use]
    pub fn payment(&self, payment_id: &str) -> Option<&Payment> {
        self.payments.iter().find(|payment| payment.payment_id == payment_id)
    }

    /// [`record`] keeps the sum of each currency within 64 bits.
    fn sum(&self, currency: &str, state: PaymentState) -> i64 {
        let counts = |payment: &&Payment| payment.state == state && payment.amount.currency == currency;
        self.payments.iter().filter(counts).map(|payment| payment.amount.minor_units).sum()
    }
}

/// Records a payment of an amount above zero. One that has the id and the amount of an earlier one is that one.
///
/// # Errors
/// See [`Refusal`]; then nothing changes.
pub fn record(
    mut account: Account,
    payment_id: &str,
    amount: Money,
    payments_max: usize,
    now_ms: i64,
) -> Result<Recorded, Refusal> {
    match account.payment(payment_id) {
        Some(known) if known.amount == amount => return Ok(Recorded::Known(account)),
        Some(_) => return Err(Refusal::Exists),
        None => {}
    }
    let state = match &account.bill {
        None => PaymentState::Pending,
        Some(Bill { total: None, .. }) => return Err(Refusal::NoTotal),
        Some(Bill { total: Some(total), .. }) if total.currency != amount.currency => {
            return Err(Refusal::CurrencyMismatch { wanted: total.currency.clone() });
        }
        Some(_) => PaymentState::Booked,
    };
    if account.payments.len() >= payments_max {
        return Err(Refusal::TooMany { limit: payments_max });
    }
    account.sum(&amount.currency, state).checked_add(amount.minor_units).ok_or(Refusal::TooLarge)?;
    let payment = Payment { payment_id: payment_id.to_owned(), amount, state, recorded_ms: now_ms };
    account.payments.push(payment.clone());
    let paid = account.bill.is_some().then(|| account.paid()).flatten();
    let mut change = Change { account, events: vec![Event::Recorded(payment, paid)] };
    settle(&mut change);
    Ok(Recorded::New(change))
}

/// Takes what a new order costs, and books or refuses the payments that waited for it. None if that is known.
#[must_use]
pub fn created(mut account: Account, bill: Bill) -> Option<Change> {
    if account.bill.is_some() {
        return None;
    }
    let total = bill.total.clone();
    account.bill = Some(bill);
    let mut change = Change { account, events: Vec::new() };
    for index in 0..change.account.payments.len() {
        let payment = &mut change.account.payments[index];
        let is_right = total.as_ref().is_some_and(|total| total.currency == payment.amount.currency);
        payment.state = if is_right { PaymentState::Booked } else { PaymentState::Refused };
        let payment = payment.clone();
        let event = match change.account.paid() {
            Some(paid) if is_right => Event::Booked(payment, paid),
            _ => Event::Refused(payment),
        };
        change.events.push(event);
    }
    settle(&mut change);
    Some(change)
}

/// The order is rejected or cancelled. None if that is known.
#[must_use]
pub fn ended(mut account: Account) -> Option<Change> {
    if account.ended {
        return None;
    }
    account.ended = true;
    Some(Change { account, events: Vec::new() })
}

/// Tells that the order is paid when it is, once.
fn settle(change: &mut Change) {
    let account = &mut change.account;
    let (Some(due), Some(paid)) = (account.due(), account.paid()) else { return };
    // A price below zero is for the checks to reject; nobody is to believe that such an order was paid.
    let is_paid = due.minor_units >= 0 && paid.minor_units >= due.minor_units;
    if account.settled || account.ended || !is_paid {
        return;
    }
    account.settled = true;
    let customer_id = account.bill.as_ref().map(|bill| bill.customer_id.clone()).unwrap_or_default();
    change.events.push(Event::Settled { customer_id, due, paid });
}

#[cfg(test)]
mod tests;
