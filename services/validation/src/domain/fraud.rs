//! The check FRAUD: what a customer orders altogether within one session.
//!
//! A session is a run of orders of one customer, each at most the gap after another (a gap of exactly that length still
//! joins them). Orders may come out of order: one that lies between two sessions merges them. Orders that fail keep counting.
//! Sessions never overlap and are kept oldest first.

use super::{Check, Money, Verdict};

/// A run of orders without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Event time of the first order.
    pub start_ms: i64,
    /// Event time of the last order.
    pub end_ms: i64,
    /// What the orders amount to, one for each currency. Amounts below zero count as 0.
    pub totals: Vec<Money>,
}

/// An order as this check sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Event time of the order.
    pub time_ms: i64,
    /// Its sum; none when it is no amount. It is part of the session then, but adds nothing to it.
    pub total: Option<Money>,
}

/// From what amount on a session is fraud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The amount in minor units of the order's currency.
    pub minor_units: i64,
    /// Decimal digits of the currency's minor units.
    pub exponent: u32,
}

/// How sessions are formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Longest inactivity within a session.
    pub gap_ms: i64,
    /// How long a session that ended is kept after its gap, for orders that come late.
    pub grace_ms: i64,
}

impl Windows {
    /// When a session is forgotten, in stream time.
    #[must_use]
    pub fn expiry_ms(&self, session: &Session) -> i64 {
        session.end_ms.saturating_add(self.gap_ms).saturating_add(self.grace_ms)
    }

    /// Forgets sessions that no order is expected to join any more.
    pub fn prune(&self, sessions: &mut Vec<Session>, stream_time_ms: i64) {
        sessions.retain(|session| self.expiry_ms(session) > stream_time_ms);
    }
}

/// Adds an order to its customer's sessions and judges it: reaching the limit fails.
pub fn judge(sessions: &mut Vec<Session>, placed: Placed, windows: Windows, limit: Limit) -> Verdict {
    let Placed { time_ms, total } = placed;
    let joins = |session: &Session| {
        session.start_ms.saturating_sub(windows.gap_ms) <= time_ms
            && time_ms <= session.end_ms.saturating_add(windows.gap_ms)
    };
    // Sessions are apart by more than a gap, so that those that join stand side by side.
    let first = sessions.iter().position(joins).unwrap_or_else(|| {
        let later = sessions.iter().position(|session| session.start_ms > time_ms).unwrap_or(sessions.len());
        sessions.insert(later, Session { start_ms: time_ms, end_ms: time_ms, totals: Vec::new() });
        later
    });
    let behind = first + 1;
    while sessions.get(behind).is_some_and(joins) {
        let next = sessions.remove(behind);
        sessions[first].end_ms = next.end_ms;
        for amount in next.totals {
            add(&mut sessions[first].totals, amount);
        }
    }
    let session = &mut sessions[first];
    session.start_ms = session.start_ms.min(time_ms);
    session.end_ms = session.end_ms.max(time_ms);
    let Some(total) = total else { return Verdict::pass(Check::Fraud) };
    let currency = total.currency.clone();
    let running = add(&mut session.totals, total);
    if running < limit.minor_units {
        return Verdict::pass(Check::Fraud);
    }
    let (running, limit) = (amount(running, limit.exponent), amount(limit.minor_units, limit.exponent));
    let message = format!("the customer's orders of this session amount to {running} {currency}, the limit is {limit}");
    Verdict::fail(Check::Fraud, "FRAUD_LIMIT_REACHED", message)
}

/// Adds to the total of the amount's currency, and returns it.
fn add(totals: &mut Vec<Money>, amount: Money) -> i64 {
    let minor_units = amount.minor_units.max(0);
    if let Some(total) = totals.iter_mut().find(|total| total.currency == amount.currency) {
        total.minor_units = total.minor_units.saturating_add(minor_units);
        return total.minor_units;
    }
    totals.push(Money { minor_units, ..amount });
    minor_units
}

/// An amount that is not negative, for people.
fn amount(minor_units: i64, exponent: u32) -> String {
    let unit = 10_i64.saturating_pow(exponent);
    match exponent {
        0 => minor_units.to_string(),
        digits => format!("{}.{:0digits$}", minor_units / unit, minor_units % unit, digits = digits as usize),
    }
}
