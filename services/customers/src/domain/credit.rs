//! The check CREDIT: what the open orders of a customer hold of its limit.
//!
//! Always `0 <= reserved`, and `reserved` is the sum of what the held orders hold, for each currency apart. What is available
//! is `limit - reserved`: below zero when the limit was lowered below what is held. An order is settled by what it holds, so
//! that a change of the limit cannot strand a reservation.
//!
//! ```text
//!             judge                                  paid, or ended unpaid
//! (no word) ---------> HELD (an amount) --------------------------+--> CLOSED: holds nothing ever again
//!     |     ---------> UNRESERVED (nothing to hold): stays        |
//!     |     ---------> REFUSED (no customer, no credit): stays    |
//!     +-----------------------------------------------------------+
//! ```

use super::Money;

/// What the open orders of one customer may amount to, and what they hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Credit {
    /// What they may amount to, 0 or more; none without a limit.
    pub limit: Option<Money>,
    /// What they hold, one for each currency by its code, each above 0.
    pub reserved: Vec<Money>,
    /// Grows by one with each change that a command makes to the customer, from 1. Orders leave it, so that a customer who
    /// orders much can still be changed with an etag.
    pub version: u64,
}

impl Credit {
    /// What open orders hold in a currency, in minor units.
    #[must_use]
    pub fn reserved_in(&self, currency: &str) -> i64 {
        self.reserved.iter().find(|held| held.currency == currency).map_or(0, |held| held.minor_units)
    }

    /// What further orders may amount to; none without a limit.
    #[must_use]
    pub fn available(&self) -> Option<Money> {
        let limit = self.limit.as_ref()?;
        // Both are 0 or more: the difference fits.
        let minor_units = limit.minor_units - self.reserved_in(&limit.currency);
        Some(Money { currency: limit.currency.clone(), minor_units })
    }

    /// The credit with `amount` more held; none when the sum is no 64-bit number.
    fn holding(&self, amount: &Money) -> Option<Self> {
        let sum = self.reserved_in(&amount.currency).checked_add(amount.minor_units)?;
        Some(self.with_reserved(&amount.currency, sum))
    }

    /// The credit with `amount`, which is held, given back.
    fn giving_back(&self, amount: &Money) -> Self {
        self.with_reserved(&amount.currency, self.reserved_in(&amount.currency) - amount.minor_units)
    }

    fn with_reserved(&self, currency: &str, minor_units: i64) -> Self {
        let mut credit = self.clone();
        credit.reserved.retain(|held| held.currency != currency);
        if minor_units > 0 {
            credit.reserved.push(Money { currency: currency.to_owned(), minor_units });
            credit.reserved.sort();
        }
        credit
    }
}

/// What is remembered of the credit of one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reservation {
    /// Passed, and holds this much, which is above 0.
    Held(Money),
    /// Passed without holding anything, for it costs nothing.
    Unreserved,
    /// Was refused, and stays so although there may be credit by now.
    Refused(Fault),
    /// Holds nothing any more, and never will, perhaps before it was ever judged.
    Closed(End),
}

/// Why an order needs no credit any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is paid in full.
    Paid,
    /// It was rejected or cancelled.
    Unpaid,
}

/// Why an order fails the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is no such customer.
    CustomerNotFound,
    /// The order is more than what is left of the limit.
    LimitExceeded,
    /// The limit is in another currency than the order.
    CurrencyDiffers,
    /// The order was rejected or cancelled before.
    OrderEnded,
}

/// What the credit check says about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The customer may spend it.
    Pass,
    /// It may not.
    Fail(Fault),
}

/// What to do about an order. What is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// The customer's new credit.
    pub credit: Option<Credit>,
    /// The order's new state.
    pub reservation: Option<Reservation>,
    /// The answer; every judgement has one, nothing else does.
    pub verdict: Option<Verdict>,
}

/// Judges an order of a customer; `credit` is none when there is no such customer, `total` when the sum of the order is no
/// amount, which is for another check to say. The same order is answered the same way however often it is judged, as long
/// as it is open. An order that is paid already needs no credit.
#[must_use]
pub fn judge(credit: Option<&Credit>, reservation: Option<&Reservation>, total: Option<&Money>) -> Decision {
    match (reservation, credit) {
        (Some(Reservation::Held(_) | Reservation::Unreserved), _) => return answer(Verdict::Pass),
        (Some(Reservation::Refused(fault)), _) => return answer(Verdict::Fail(*fault)),
        (Some(Reservation::Closed(End::Unpaid)), _) => return answer(Verdict::Fail(Fault::OrderEnded)),
        (Some(Reservation::Closed(End::Paid)), Some(_)) => return answer(Verdict::Pass),
        (Some(Reservation::Closed(End::Paid)), None) => return answer(Verdict::Fail(Fault::CustomerNotFound)),
        (None, _) => {}
    }
    let Some(credit) = credit else { return refuse(Fault::CustomerNotFound) };
    let Some(total) = total else { return unreserved() };
    if let Some(available) = credit.available() {
        if available.currency != total.currency {
            return refuse(Fault::CurrencyDiffers);
        }
        if available.minor_units < total.minor_units {
            return refuse(Fault::LimitExceeded);
        }
    }
    if total.minor_units <= 0 {
        return unreserved();
    }
    match credit.holding(total) {
        Some(credit) => Decision {
            credit: Some(credit),
            reservation: Some(Reservation::Held(total.clone())),
            verdict: Some(Verdict::Pass),
        },
        None => refuse(Fault::LimitExceeded),
    }
}

/// Gives back what an order holds, once, and sees to it that it never holds anything again.
#[must_use]
pub fn close(credit: Option<&Credit>, reservation: Option<&Reservation>, end: End) -> Decision {
    match (reservation, credit) {
        (Some(Reservation::Held(held)), Some(credit)) => Decision {
            credit: Some(credit.giving_back(held)),
            reservation: Some(Reservation::Closed(end)),
            verdict: None,
        },
        (None | Some(Reservation::Held(_)), _) => {
            Decision { reservation: Some(Reservation::Closed(end)), ..Decision::default() }
        }
        // These hold nothing, and are answered as before.
        (Some(Reservation::Unreserved | Reservation::Refused(_) | Reservation::Closed(_)), _) => Decision::default(),
    }
}

fn answer(verdict: Verdict) -> Decision {
    Decision { verdict: Some(verdict), ..Decision::default() }
}

fn unreserved() -> Decision {
    Decision { reservation: Some(Reservation::Unreserved), ..answer(Verdict::Pass) }
}

fn refuse(fault: Fault) -> Decision {
    Decision { reservation: Some(Reservation::Refused(fault)), ..answer(Verdict::Fail(fault)) }
}
