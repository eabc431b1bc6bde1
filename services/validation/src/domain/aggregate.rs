//! Concludes from verdicts, by distinct (check, line) and never by counting: a repeated verdict changes nothing.
//!
//! ```text
//! open --> passed      every required check passed, each line of INVENTORY
//!    \---> failed      a required check failed, or time ran out; further reasons are told as they come
//!     \--> cancelled   the order was cancelled before
//! ```
//! Nothing is concluded before the order is known, and a conclusion never changes.

use std::fmt;

use super::{Check, Fulfilment, Outcome, Reason, Verdict};

/// What is known of the validation of one order. Verdicts may come before the order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Validation {
    /// The order; none until it arrives.
    pub order: Option<Awaited>,
    /// One for each distinct (check, line), as they came.
    pub verdicts: Vec<Verdict>,
    /// How it ended.
    pub conclusion: Option<Conclusion>,
    /// Whether time ran out.
    pub timed_out: bool,
    /// Where the records stand of verdicts that were heard since the last announcement. No rule looks at it.
    pub heard: Vec<Heard>,
}

/// The record that brought a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Its topic.
    pub topic: String,
    /// Its offset.
    pub offset: u64,
}

/// The order, as far as its validation depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// The product of each line.
    pub product_ids: Vec<String>,
    /// Event time of its creation.
    pub created_ms: i64,
}

/// An answer that is awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Of which check.
    pub check: Check,
    /// For which line and product, where the check answers for each line and the lines are known.
    pub line: Option<(u32, String)>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.line {
            Some((line, product_id)) => write!(f, "{} line {line} ({product_id})", self.check),
            None => self.check.fmt(f),
        }
    }
}

/// How a validation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// Every required check passed.
    Passed,
    /// A check failed, or time ran out.
    Failed,
    /// The order was cancelled before it was decided.
    Cancelled,
}

/// What happens to a validation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// The order was created; DETAILS judges it at once.
    Created(Awaited, Verdict),
    /// A check has judged.
    Judged(Verdict),
    /// The order was cancelled.
    Cancelled,
    /// The time for the checks is over.
    TimedOut,
}

/// What the others must be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    /// Every required check passed.
    Passed {
        /// How each line is fulfilled, in the order of the lines.
        fulfilments: Vec<Fulfilment>,
    },
    /// The order must be rejected.
    Failed {
        /// Every reason known by then.
        reasons: Vec<Reason>,
    },
    /// More reasons after a fail.
    ReasonsAdded {
        /// Only the further ones.
        reasons: Vec<Reason>,
    },
}

/// What a happening does to a validation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// Whether anything is to be stored.
    pub is_changed: bool,
    /// What the others must be told.
    pub announce: Option<Announcement>,
}

/// Code of the reason when the checks took too long.
pub const TIMED_OUT: &str = "VALIDATION_TIMED_OUT";

impl Validation {
    /// Lets something happen; `required` are the checks that decide. Others are on the record and decide nothing.
    pub fn observe(&mut self, happening: Happening, required: &[Check]) -> Step {
        match happening {
            Happening::Created(..) if self.order.is_some() => Step::default(),
            Happening::Created(order, details) => {
                // A verdict on a line that the order does not have judges nothing.
                let lines = order.product_ids.len();
                self.verdicts.retain(|verdict| verdict.check != Check::Inventory || (verdict.line as usize) < lines);
                self.order = Some(order);
                self.note(details);
                Step { is_changed: true, announce: self.conclude(required) }
            }
            Happening::Judged(verdict) => self.judged(verdict, required),
            Happening::Cancelled if self.conclusion.is_some() => Step::default(),
            Happening::Cancelled => {
                self.conclusion = Some(Conclusion::Cancelled);
                Step { is_changed: true, announce: None }
            }
            Happening::TimedOut if self.conclusion.is_some() => Step::default(),
            Happening::TimedOut => {
                // Other checks may be required than when the last verdict came.
                if let Some(announcement) = self.conclude(required) {
                    return Step { is_changed: true, announce: Some(announcement) };
                }
                let message = {
                    let missing: Vec<_> = self.missing(required).iter().map(ToString::to_string).collect();
                    format!("no verdict in time from {}", missing.join(", "))
                };
                self.conclusion = Some(Conclusion::Failed);
                self.timed_out = true;
                let reason = Reason { check: None, product_id: String::new(), code: TIMED_OUT.to_owned(), message };
                Step { is_changed: true, announce: Some(Announcement::Failed { reasons: vec![reason] }) }
            }
        }
    }

    /// Answers of required checks that are awaited.
    #[must_use]
    pub fn missing(&self, required: &[Check]) -> Vec<Missing> {
        let mut missing = Vec::new();
        for &check in required {
            match (&self.order, check) {
                (Some(order), Check::Inventory) => {
                    let lines = (0..).zip(&order.product_ids).filter(|(line, _)| self.verdict(check, *line).is_none());
                    missing.extend(lines.map(|(line, product)| Missing { check, line: Some((line, product.clone())) }));
                }
                // Until the order is known, nobody knows of how many lines.
                (None, Check::Inventory) => missing.push(Missing { check, line: None }),
                _ if self.verdict(check, 0).is_none() => missing.push(Missing { check, line: None }),
                _ => {}
            }
        }
        missing
    }

    fn judged(&mut self, verdict: Verdict, required: &[Check]) -> Step {
        let line = verdict.line as usize;
        let is_beyond = |order: &Awaited| verdict.check == Check::Inventory && line >= order.product_ids.len();
        if self.verdict(verdict.check, verdict.line).is_some() || self.order.as_ref().is_some_and(is_beyond) {
            return Step::default();
        }
        let reason = required.contains(&verdict.check).then(|| reason(&verdict)).flatten();
        self.note(verdict);
        let announce = match self.conclusion {
            None => self.conclude(required),
            Some(Conclusion::Failed) => reason.map(|reason| Announcement::ReasonsAdded { reasons: vec![reason] }),
            Some(Conclusion::Passed | Conclusion::Cancelled) => None,
        };
        Step { is_changed: true, announce }
    }

    /// Decides if it can be decided now.
    fn conclude(&mut self, required: &[Check]) -> Option<Announcement> {
        let order = self.order.as_ref()?;
        if self.conclusion.is_some() {
            return None;
        }
        let mut failed: Vec<_> = self.verdicts.iter().filter(|verdict| required.contains(&verdict.check)).collect();
        failed.sort_by_key(|verdict| (verdict.check, verdict.line));
        let reasons: Vec<_> = failed.into_iter().filter_map(reason).collect();
        if !reasons.is_empty() {
            self.conclusion = Some(Conclusion::Failed);
            return Some(Announcement::Failed { reasons });
        }
        if !self.is_complete(order, required) {
            return None;
        }
        let fulfilments = (0..).zip(&order.product_ids).map(|(line, _)| self.fulfilment(line)).collect();
        self.conclusion = Some(Conclusion::Passed);
        Some(Announcement::Passed { fulfilments })
    }

    fn is_complete(&self, order: &Awaited, required: &[Check]) -> bool {
        required.iter().all(|check| match check {
            Check::Inventory => (0..).zip(&order.product_ids).all(|(line, _)| self.verdict(*check, line).is_some()),
            check => self.verdict(*check, 0).is_some(),
        })
    }

    /// How a line is fulfilled. Where INVENTORY is not required and has not answered, everything is from stock.
    fn fulfilment(&self, line: u32) -> Fulfilment {
        match self.verdict(Check::Inventory, line).map(|verdict| &verdict.outcome) {
            Some(Outcome::Pass { fulfilment: Some(fulfilment) }) => *fulfilment,
            _ => Fulfilment::FromStock,
        }
    }

    fn verdict(&self, check: Check, line: u32) -> Option<&Verdict> {
        self.verdicts.iter().find(|verdict| verdict.check == check && verdict.line == line)
    }

    fn note(&mut self, verdict: Verdict) {
        if self.verdict(verdict.check, verdict.line).is_none() {
            self.verdicts.push(verdict);
        }
    }
}

fn reason(verdict: &Verdict) -> Option<Reason> {
    match &verdict.outcome {
        Outcome::Pass { .. } => None,
        Outcome::Fail { code, message } => Some(Reason {
            check: Some(verdict.check),
            product_id: verdict.product_id.clone(),
            code: code.clone(),
            message: message.clone(),
        }),
    }
}
