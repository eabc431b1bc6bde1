//! Records of the topics that customers reads, and the verdicts that it writes.
//!
//! What this version does not know yet is skipped, so that another service can add it; what is not a message at all, or
//! stands under another key, is an error.

use iso_currency::Currency;
use prost::Message;
use proto::customers::v1 as pb;
use proto::orders::v1 as orders;
use proto::payments::v1::OrderPaid;
use proto::validation::v1 as checks;
use service_host::input::{check_key, decode};
use task_runtime::{Input, ProcessError};

use super::orders::{reason, state};
use super::{money, timestamp};
use crate::domain::Money;
use crate::domain::credit::{Fault, Verdict};
use crate::domain::progress::Progress;

/// A new order of a customer.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) order_id: String,
    pub(crate) customer_id: String,
    pub(crate) total: Option<Money>,
    /// The row that shows it.
    pub(crate) row: Vec<u8>,
}

/// Reads a record of `orders-by-customer`.
pub(crate) fn placed(input: &Input<'_>) -> Result<Placed, ProcessError> {
    let message: orders::OrderPlaced = decode("OrderPlaced", input.value()?)?;
    check_key("customer", &message.customer_id, input.record.key.as_ref())?;
    let create_time_ms = message.time.as_ref().map_or(input.record.timestamp_ms, millis);
    let row = pb::PlacedRow { lines: message.lines, total: message.total.clone(), create_time_ms }.encode_to_vec();
    let (order_id, customer_id) = (message.order_id, message.customer_id);
    Ok(Placed { order_id, customer_id, total: message.total.map(money), row })
}

/// A change of an order, with what it belongs to.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) order_id: String,
    pub(crate) customer_id: String,
    pub(crate) progress: Progress,
}

/// Reads a record of `order-changes-by-customer`; none when the order is in a state that this version does not know.
pub(crate) fn changed(input: &Input<'_>) -> Result<Option<Changed>, ProcessError> {
    let message: orders::CustomerOrderChanged = decode("CustomerOrderChanged", input.value()?)?;
    check_key("customer", &message.customer_id, input.record.key.as_ref())?;
    let Some(state) = state(message.state) else { return Ok(None) };
    let progress = Progress {
        version: message.version,
        state,
        reasons: message.reasons.into_iter().map(reason).collect(),
        updated_ms: message.time.as_ref().map_or(input.record.timestamp_ms, millis),
    };
    Ok(Some(Changed { order_id: message.order_id, customer_id: message.customer_id, progress }))
}

/// Reads a record of `order-payments`: customer and order.
pub(crate) fn paid(input: &Input<'_>) -> Result<(String, String), ProcessError> {
    let message: OrderPaid = decode("OrderPaid", input.value()?)?;
    check_key("customer", &message.customer_id, input.record.key.as_ref())?;
    Ok((message.customer_id, message.order_id))
}

/// The record of `credit-verdicts` that judges an order.
pub(crate) fn verdict(placed: &Placed, verdict: Verdict, now_ms: i64) -> Vec<u8> {
    let Placed { order_id, customer_id, total, .. } = placed;
    let amount = total.as_ref().map_or_else(String::new, amount);
    let (outcome, code, message) = match verdict {
        Verdict::Pass => (checks::Outcome::Pass, "", String::new()),
        Verdict::Fail(fault) => {
            let (code, message) = match fault {
                Fault::CustomerNotFound => ("CUSTOMER_NOT_FOUND", format!("customer {customer_id} does not exist")),
                Fault::LimitExceeded => (
                    "CREDIT_LIMIT_EXCEEDED",
                    format!("the order of {amount} is more than what is left of the credit of customer {customer_id}"),
                ),
                Fault::CurrencyDiffers => (
                    "CREDIT_CURRENCY_DIFFERS",
                    format!(
                        "the credit limit of customer {customer_id} is in another currency than the order of {amount}"
                    ),
                ),
                Fault::OrderEnded => ("ORDER_ENDED", "the order was rejected or cancelled before".to_owned()),
            };
            (checks::Outcome::Fail, code, message)
        }
    };
    checks::Verdict {
        order_id: order_id.clone(),
        check: checks::Check::Credit.into(),
        outcome: outcome.into(),
        code: code.to_owned(),
        message,
        time: Some(timestamp(now_ms)),
        ..Default::default()
    }
    .encode_to_vec()
}

/// An amount for people, such as "300.00 EUR".
fn amount(money: &Money) -> String {
    let digits = Currency::from_code(&money.currency).and_then(|currency| currency.exponent()).map_or(0, usize::from);
    let Money { currency, minor_units } = money;
    if digits == 0 {
        return format!("{minor_units} {currency}");
    }
    let sign = if *minor_units < 0 { "-" } else { "" };
    let padded = format!("{:0width$}", minor_units.unsigned_abs(), width = digits + 1);
    let (whole, part) = padded.split_at(padded.len() - digits);
    format!("{sign}{whole}.{part} {currency}")
}

fn millis(time: &prost_types::Timestamp) -> i64 {
    time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos / 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_with_the_digits_of_their_currency() {
        let table = [
            ("EUR", 30_000, "300.00 EUR"),
            ("EUR", 5, "0.05 EUR"),
            ("EUR", -199, "-1.99 EUR"),
            ("JPY", 300, "300 JPY"),
            ("BHD", 1, "0.001 BHD"),
            ("EUR", i64::MIN, "-92233720368547758.08 EUR"),
        ];
        for (currency, minor_units, wanted) in table {
            assert_eq!(amount(&Money { currency: currency.to_owned(), minor_units }), wanted);
        }
    }
}
