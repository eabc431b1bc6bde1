//! Records, as what happens to a validation or a customer's sessions.
//!
//! Unknown kinds of events are skipped, so that another service can add one; what is not a message at all is an error.

use iso_currency::Currency;
use prost_types::Timestamp;
use proto::orders::v1 as orders;
use proto::validation::v1 as api;
use service_host::input::{InputError, check_key, decode};
use task_runtime::{Input, ProcessError};

use super::{check, fulfilment, money, outcome};
use crate::domain::aggregate::{Awaited, Happening};
use crate::domain::fraud::{Limit, Placed};
use crate::domain::{Check, Outcome, Verdict, details};

/// What an event of an order means for its validation; none for most.
pub(crate) fn order_happening(input: &Input<'_>) -> Result<Option<(String, Happening)>, ProcessError> {
    use orders::order_event::Event;
    let event: orders::OrderEvent = decode("OrderEvent", input.value()?.clone())?;
    check_key("order", &event.order_id, input.record.key.as_ref())?;
    let happening = match event.event {
        Some(Event::Created(created)) => {
            let order = created.order.ok_or(InputError::Missing { field: "OrderCreated.order" })?;
            let created_ms = order.create_time.as_ref().map_or(input.record.timestamp_ms, millis);
            let lines: Vec<_> = order.lines.into_iter().map(line).collect();
            let details = details::judge(&lines);
            let product_ids = lines.into_iter().map(|line| line.product_id).collect();
            Happening::Created(Awaited { product_ids, created_ms }, details)
        }
        Some(Event::Cancelled(_)) => Happening::Cancelled,
        // The others follow from what validation itself has announced.
        _ => return Ok(None),
    };
    Ok(Some((event.order_id, happening)))
}

/// A verdict of a check.
pub(crate) fn verdict(input: &Input<'_>) -> Result<(String, Happening), ProcessError> {
    let message: api::Verdict = decode("Verdict", input.value()?.clone())?;
    check_key("order", &message.order_id, input.record.key.as_ref())?;
    let check = check(message.check)?;
    let outcome = outcome(message.outcome, message.code, message.message, fulfilment(message.fulfilment)?)?;
    if check == Check::Inventory && outcome == (Outcome::Pass { fulfilment: None }) {
        return Err(InputError::Missing { field: "Verdict.fulfilment" }.into());
    }
    // Only INVENTORY judges lines; the others judge the order once, whatever they put there.
    let line = if check == Check::Inventory { message.line } else { 0 };
    let verdict = Verdict { check, line, product_id: message.product_id, outcome };
    Ok((message.order_id, Happening::Judged(verdict)))
}

/// An order of a customer.
pub(crate) struct CustomerOrder {
    /// The order.
    pub(crate) order_id: String,
    /// Who ordered.
    pub(crate) customer_id: String,
    /// What the fraud check looks at.
    pub(crate) placed: Placed,
    /// From what amount on it is fraud.
    pub(crate) limit: Limit,
}

/// Reads an order of a customer. `limit_major_units` is the limit in whole units of any currency.
pub(crate) fn customer_order(input: &Input<'_>, limit_major_units: u32) -> Result<CustomerOrder, ProcessError> {
    let message: orders::OrderPlaced = decode("OrderPlaced", input.value()?.clone())?;
    check_key("customer", &message.customer_id, input.record.key.as_ref())?;
    let total = message.total.map(money);
    // The edge knows only currencies of the list; of another one, and of those without minor units, the unit is the amount.
    let currency = total.as_ref().and_then(|total| Currency::from_code(&total.currency));
    let exponent = currency.and_then(|currency| currency.exponent()).map_or(0, u32::from);
    let minor_units = i64::from(limit_major_units).saturating_mul(10_i64.saturating_pow(exponent));
    let time_ms = message.time.as_ref().map_or(input.record.timestamp_ms, millis);
    Ok(CustomerOrder {
        order_id: message.order_id,
        customer_id: message.customer_id,
        placed: Placed { time_ms, total },
        limit: Limit { minor_units, exponent },
    })
}

fn line(line: orders::OrderLine) -> details::Line {
    let unit_price = money(line.unit_price.unwrap_or_default());
    details::Line { product_id: line.product_id, quantity: line.quantity, unit_price }
}

fn millis(time: &Timestamp) -> i64 {
    time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos / 1_000_000))
}
