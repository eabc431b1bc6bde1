//! What validation stores and tells others.

use bytes::Bytes;
use prost::Message;
use proto::common::v1 as common;
use proto::inventory::v1 as inventory;
use proto::validation::v1 as api;
pub(super) use service_host::timestamp;

use super::{check_message, fulfilment_message, outcome_message};
use crate::domain::aggregate::{Announcement, Conclusion, Heard, Validation};
use crate::domain::fraud::Session;
use crate::domain::velocity::{Alert, Window};
use crate::domain::{History, Outcome, Reason, Verdict};

/// The row of a validation.
pub(crate) fn validation_row(validation: Validation) -> Bytes {
    let order_known = validation.order.is_some();
    let (product_ids, create_time_ms) =
        validation.order.map_or((Vec::new(), 0), |order| (order.product_ids, order.created_ms));
    let conclusion = match validation.conclusion {
        None => api::Conclusion::Unspecified,
        Some(Conclusion::Passed) => api::Conclusion::Passed,
        Some(Conclusion::Failed) => api::Conclusion::Failed,
        Some(Conclusion::Cancelled) => api::Conclusion::Cancelled,
    };
    encode(&api::ValidationRow {
        order_known,
        product_ids,
        create_time_ms,
        verdicts: validation.verdicts.into_iter().map(verdict_row).collect(),
        conclusion: conclusion.into(),
        timed_out: validation.timed_out,
        heard: places(validation.heard),
    })
}

/// The row of what is remembered of a customer's orders.
pub(crate) fn history_row(history: History) -> Bytes {
    let total =
        |money: crate::domain::Money| common::Money { currency_code: money.currency, minor_units: money.minor_units };
    let session = |session: Session| api::FraudSession {
        start_time_ms: session.start_ms,
        end_time_ms: session.end_ms,
        totals: session.totals.into_iter().map(total).collect(),
    };
    let window = |window: Window| api::VelocityWindow { start_time_ms: window.start_ms, count: window.count };
    encode(&api::FraudSessionsRow {
        sessions: history.sessions.into_iter().map(session).collect(),
        windows: history.windows.into_iter().map(window).collect(),
    })
}

/// The row of an alert.
pub(crate) fn alert_row(alert: &Alert) -> Bytes {
    encode(&api::FraudAlertRow { end_time_ms: alert.end_ms, count: alert.count })
}

/// A record of the topic `order-verdicts`.
pub(crate) fn verdict(order_id: String, verdict: &Verdict, now_ms: i64) -> Bytes {
    let (outcome, code, message) = outcome_message(&verdict.outcome);
    encode(&api::Verdict {
        order_id,
        check: check_message(verdict.check).into(),
        line: verdict.line,
        product_id: verdict.product_id.clone(),
        outcome: outcome.into(),
        code: code.to_owned(),
        message: message.to_owned(),
        fulfilment: inventory::Fulfilment::Unspecified.into(),
        time: Some(timestamp(now_ms)),
    })
}

/// A record of the topic `order-validations`.
pub(crate) fn validation_event(order_id: String, announcement: Announcement, heard: Vec<Heard>, now_ms: i64) -> Bytes {
    use api::validation_event::Event;
    let event = match announcement {
        Announcement::Passed { fulfilments } => Event::Passed(api::ValidationPassed {
            fulfilments: fulfilments.into_iter().map(|fulfilment| fulfilment_message(fulfilment).into()).collect(),
        }),
        Announcement::Failed { reasons } => Event::Failed(api::ValidationFailed { reasons: reason_messages(reasons) }),
        Announcement::ReasonsAdded { reasons } => {
            Event::ReasonsAdded(api::ValidationReasonsAdded { reasons: reason_messages(reasons) })
        }
    };
    encode(&api::ValidationEvent { order_id, time: Some(timestamp(now_ms)), heard: places(heard), event: Some(event) })
}

fn places(heard: Vec<Heard>) -> Vec<api::RecordPlace> {
    heard.into_iter().map(|Heard { topic, offset }| api::RecordPlace { topic, offset }).collect()
}

fn verdict_row(verdict: Verdict) -> api::VerdictRow {
    let row = api::VerdictRow {
        check: check_message(verdict.check).into(),
        line: verdict.line,
        product_id: verdict.product_id,
        ..api::VerdictRow::default()
    };
    match verdict.outcome {
        Outcome::Pass { fulfilment } => api::VerdictRow {
            outcome: api::Outcome::Pass.into(),
            fulfilment: fulfilment.map_or(inventory::Fulfilment::Unspecified, fulfilment_message).into(),
            ..row
        },
        Outcome::Fail { code, message } => api::VerdictRow { outcome: api::Outcome::Fail.into(), code, message, ..row },
    }
}

fn reason_messages(reasons: Vec<Reason>) -> Vec<api::Reason> {
    let reason = |reason: Reason| api::Reason {
        check: reason.check.map_or(api::Check::Unspecified, check_message).into(),
        product_id: reason.product_id,
        code: reason.code,
        message: reason.message,
    };
    reasons.into_iter().map(reason).collect()
}

fn encode(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}
