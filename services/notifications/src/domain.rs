//! The rules of notifications. Pure: what is known and what happened in, what is to be done out.
//!
//! Always: each order is enriched once at most and mailed once at most, whatever comes first, and however often it comes.
//!
//! ```text
//! placed and validated, customer known                            -> enriched, once
//! placed, validated and paid, not ended, customer known           -> e-mail, once
//! ```

pub mod delivery;

/// What is known of one order. The default is what is known of an order that nobody has heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Join {
    /// What was ordered is known.
    pub placed: bool,
    /// Every check passed.
    pub validated: bool,
    /// It is paid in full.
    pub paid: bool,
    /// It was rejected or cancelled: its customer gets no e-mail any more.
    pub ended: bool,
    /// The enriched order was told.
    pub enriched: bool,
    /// The e-mail was decided.
    pub notified: bool,
}

/// What becomes known of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// It was placed.
    Placed,
    /// It passed every check.
    Validated,
    /// It is paid in full.
    Paid,
    /// It was rejected or cancelled.
    Ended,
}

/// What is to be done about an order now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conclusion {
    /// Tell the enriched order.
    pub enrich: bool,
    /// Send the e-mail.
    pub notify: bool,
}

impl Join {
    /// Takes a fact. False if it was known.
    pub fn learn(&mut self, fact: Fact) -> bool {
        let known = match fact {
            Fact::Placed => &mut self.placed,
            Fact::Validated => &mut self.validated,
            Fact::Paid => &mut self.paid,
            Fact::Ended => &mut self.ended,
        };
        !std::mem::replace(known, true)
    }

    /// Decides what is to be done, and takes it for done.
    pub fn conclude(&mut self, customer_is_known: bool) -> Conclusion {
        let is_complete = customer_is_known && self.placed && self.validated;
        let conclusion = Conclusion {
            enrich: is_complete && !self.enriched,
            notify: is_complete && self.paid && !self.ended && !self.notified,
        };
        self.enriched |= conclusion.enrich;
        self.notified |= conclusion.notify;
        conclusion
    }

    /// Whether what was ordered is still needed for something.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.enriched || !(self.notified || self.ended)
    }
}

#[cfg(test)]
mod tests;
