//! Bytes and protobuf to domain and back: the only place that converts. Here: rows, answers and what they share; records
//! have their own files.

pub(crate) mod reads;
#[cfg(test)]
mod tests;
pub(crate) mod writes;

use bytes::Bytes;
use proto::common::v1 as common;
use proto::inventory::v1 as inventory;
use proto::validation::v1 as api;
use service_host::input::{InputError, decode};

use crate::domain::aggregate::{Awaited, Conclusion, Heard, Missing, Validation};
use crate::domain::fraud::Session;
use crate::domain::velocity::Window;
use crate::domain::{Check, Fulfilment, History, Money, Outcome, Verdict};

/// Reads the row of a validation.
pub(crate) fn validation(row: Bytes) -> Result<Validation, InputError> {
    let row: api::ValidationRow = decode("ValidationRow", row)?;
    let conclusion = match api::Conclusion::try_from(row.conclusion) {
        Ok(api::Conclusion::Unspecified) => None,
        Ok(api::Conclusion::Passed) => Some(Conclusion::Passed),
        Ok(api::Conclusion::Failed) => Some(Conclusion::Failed),
        Ok(api::Conclusion::Cancelled) => Some(Conclusion::Cancelled),
        Err(_) => return Err(InputError::UnknownValue { field: "ValidationRow.conclusion", value: row.conclusion }),
    };
    let awaited = Awaited { product_ids: row.product_ids, created_ms: row.create_time_ms };
    Ok(Validation {
        order: row.order_known.then_some(awaited),
        verdicts: row.verdicts.into_iter().map(verdict_of_row).collect::<Result<_, _>>()?,
        conclusion,
        timed_out: row.timed_out,
        heard: row.heard.into_iter().map(|place| Heard { topic: place.topic, offset: place.offset }).collect(),
    })
}

/// Reads the row of what is remembered of a customer's orders.
pub(crate) fn history(row: Bytes) -> Result<History, InputError> {
    let row: api::FraudSessionsRow = decode("FraudSessionsRow", row)?;
    let session = |session: api::FraudSession| Session {
        start_ms: session.start_time_ms,
        end_ms: session.end_time_ms,
        totals: session.totals.into_iter().map(money).collect(),
    };
    let window = |window: api::VelocityWindow| Window { start_ms: window.start_time_ms, count: window.count };
    Ok(History {
        sessions: row.sessions.into_iter().map(session).collect(),
        windows: row.windows.into_iter().map(window).collect(),
    })
}

/// An alert as clients see it.
pub(crate) fn alert_message(customer_id: String, start_ms: i64, row: Bytes) -> Result<api::FraudAlert, InputError> {
    let row: api::FraudAlertRow = decode("FraudAlertRow", row)?;
    Ok(api::FraudAlert {
        customer_id,
        window_start: Some(writes::timestamp(start_ms)),
        window_end: Some(writes::timestamp(row.end_time_ms)),
        count: i64::try_from(row.count).unwrap_or(i64::MAX),
    })
}

/// A validation as clients see it.
pub(crate) fn validation_message(order_id: String, validation: &Validation, required: &[Check]) -> api::Validation {
    let verdict = |verdict: &Verdict| {
        let (outcome, code, reason) = outcome_message(&verdict.outcome);
        api::CheckVerdict {
            check: check_message(verdict.check).into(),
            product_id: verdict.product_id.clone(),
            outcome: outcome.into(),
            reason: reason.to_owned(),
            code: code.to_owned(),
            line: verdict.line,
        }
    };
    let mut verdicts: Vec<_> = validation.verdicts.iter().collect();
    verdicts.sort_by_key(|verdict| (verdict.check, verdict.line));
    let outcome = match validation.conclusion {
        Some(Conclusion::Passed) => api::Outcome::Pass,
        Some(Conclusion::Failed) => api::Outcome::Fail,
        None | Some(Conclusion::Cancelled) => api::Outcome::Unspecified,
    };
    api::Validation {
        order_id,
        verdicts: verdicts.into_iter().map(verdict).collect(),
        missing: validation.missing(required).into_iter().map(missing_message).collect(),
        outcome: outcome.into(),
    }
}

fn missing_message(missing: Missing) -> api::MissingVerdict {
    let (line, product_id) = missing.line.unwrap_or_default();
    api::MissingVerdict { check: check_message(missing.check).into(), product_id, line }
}

fn verdict_of_row(row: api::VerdictRow) -> Result<Verdict, InputError> {
    Ok(Verdict {
        check: check(row.check)?,
        line: row.line,
        product_id: row.product_id,
        outcome: outcome(row.outcome, row.code, row.message, fulfilment(row.fulfilment)?)?,
    })
}

fn check(value: i32) -> Result<Check, InputError> {
    match api::Check::try_from(value) {
        Ok(api::Check::Details) => Ok(Check::Details),
        Ok(api::Check::Fraud) => Ok(Check::Fraud),
        Ok(api::Check::Inventory) => Ok(Check::Inventory),
        Ok(api::Check::Credit) => Ok(Check::Credit),
        Ok(api::Check::Unspecified) | Err(_) => Err(InputError::UnknownValue { field: "check", value }),
    }
}

fn check_message(check: Check) -> api::Check {
    match check {
        Check::Details => api::Check::Details,
        Check::Fraud => api::Check::Fraud,
        Check::Inventory => api::Check::Inventory,
        Check::Credit => api::Check::Credit,
    }
}

fn outcome(value: i32, code: String, message: String, fulfilment: Option<Fulfilment>) -> Result<Outcome, InputError> {
    match api::Outcome::try_from(value) {
        Ok(api::Outcome::Pass) => Ok(Outcome::Pass { fulfilment }),
        Ok(api::Outcome::Fail) => Ok(Outcome::Fail { code, message }),
        Ok(api::Outcome::Unspecified) | Err(_) => Err(InputError::UnknownValue { field: "outcome", value }),
    }
}

fn outcome_message(outcome: &Outcome) -> (api::Outcome, &str, &str) {
    match outcome {
        Outcome::Pass { .. } => (api::Outcome::Pass, "", ""),
        Outcome::Fail { code, message } => (api::Outcome::Fail, code, message),
    }
}

fn fulfilment(value: i32) -> Result<Option<Fulfilment>, InputError> {
    match inventory::Fulfilment::try_from(value) {
        Ok(inventory::Fulfilment::Unspecified) => Ok(None),
        Ok(inventory::Fulfilment::FromStock) => Ok(Some(Fulfilment::FromStock)),
        Ok(inventory::Fulfilment::MadeToOrder) => Ok(Some(Fulfilment::MadeToOrder)),
        Err(_) => Err(InputError::UnknownValue { field: "fulfilment", value }),
    }
}

fn fulfilment_message(fulfilment: Fulfilment) -> inventory::Fulfilment {
    match fulfilment {
        Fulfilment::FromStock => inventory::Fulfilment::FromStock,
        Fulfilment::MadeToOrder => inventory::Fulfilment::MadeToOrder,
    }
}

fn money(money: common::Money) -> Money {
    Money { currency: money.currency_code, minor_units: money.minor_units }
}
