//! Records of other services, as the facts that they say about an order.
//!
//! Unknown kinds of events are skipped, so that another service can add one; what is not a message at all is an error.

use proto::inventory::v1 as inventory;
use proto::manufacturing::v1 as manufacturing;
use proto::notifications::v1 as notifications;
use proto::payments::v1 as payments;
use proto::shipping::v1 as shipping;
use proto::validation::v1 as validation;
use service_host::input::{InputError, check_key, decode};
use task_runtime::{Input, ProcessError};

use super::{history, reason};
use crate::domain::life::Fact;
use crate::domain::{Fulfilment, Mark, Marked};

/// A fact, the order that it is about, and the records that told it, in their order.
pub(crate) struct FactOf {
    pub(crate) order_id: String,
    pub(crate) fact: Fact,
    pub(crate) marks: Vec<Mark>,
}

/// What validation decided; none for an unknown kind.
pub(crate) fn validation_fact(input: &Input<'_>) -> Result<Option<FactOf>, ProcessError> {
    use validation::validation_event::Event;
    let event: validation::ValidationEvent = decode("ValidationEvent", input.value()?.clone())?;
    check_key("order", &event.order_id, input.record.key.as_ref())?;
    let fact = match event.event {
        Some(Event::Passed(passed)) => {
            let fulfilments = passed.fulfilments.into_iter().map(fulfilment).collect::<Result<_, _>>()?;
            Fact::ValidationPassed { fulfilments }
        }
        Some(Event::Failed(validation::ValidationFailed { reasons }))
        | Some(Event::ReasonsAdded(validation::ValidationReasonsAdded { reasons })) => {
            Fact::ValidationFailed { reasons: reasons.into_iter().map(reason).collect::<Result<_, _>>()? }
        }
        None => return Ok(None),
    };
    let mut marks: Vec<_> = event.heard.iter().filter_map(history::mark_of_place).collect();
    marks.push(Mark { topic: Marked::Validations, at: input.offset.0 });
    Ok(Some(FactOf { order_id: event.order_id, fact, marks }))
}

/// What manufacturing says.
pub(crate) fn manufacturing_fact(input: &Input<'_>) -> Result<Option<FactOf>, ProcessError> {
    use manufacturing::manufacturing_event::Event;
    let event: manufacturing::ManufacturingEvent = decode("ManufacturingEvent", input.value()?.clone())?;
    check_key("order", &event.order_id, input.record.key.as_ref())?;
    let fact = match event.event {
        Some(Event::Opened(_)) => Fact::WorkOrderOpened,
        Some(Event::Completed(_)) => Fact::WorkOrderCompleted,
        // Single items are shipping's affair, and a cancelled work order follows from the order's own cancellation.
        Some(Event::ItemManufactured(_)) => Fact::PieceMade,
        Some(Event::Cancelled(_)) => Fact::Aside,
        None => return Ok(None),
    };
    let marks = vec![Mark { topic: Marked::Manufactured, at: input.offset.0 }];
    Ok(Some(FactOf { order_id: event.order_id, fact, marks }))
}

/// What shipping decided; none for an unknown kind.
pub(crate) fn shipment_fact(input: &Input<'_>) -> Result<Option<FactOf>, ProcessError> {
    use shipping::shipment_event::Event;
    let event: shipping::ShipmentEvent = decode("ShipmentEvent", input.value()?.clone())?;
    check_key("order", &event.order_id, input.record.key.as_ref())?;
    let fact = match event.event {
        Some(Event::Shipped(_)) => Fact::Shipped,
        Some(Event::Cancelled(_)) => Fact::ShipmentCancelled,
        None => return Ok(None),
    };
    let marks = vec![Mark { topic: Marked::Shipments, at: input.offset.0 }];
    Ok(Some(FactOf { order_id: event.order_id, fact, marks }))
}

/// What payments says; none for an unknown kind.
pub(crate) fn payment_fact(input: &Input<'_>) -> Result<Option<FactOf>, ProcessError> {
    let event: payments::PaymentEvent = decode("PaymentEvent", input.value()?.clone())?;
    check_key("order", &event.order_id, input.record.key.as_ref())?;
    let marks = vec![Mark { topic: Marked::Payments, at: input.offset.0 }];
    Ok(event.event.map(|_| FactOf { order_id: event.order_id, fact: Fact::Aside, marks }))
}

/// What notifications says of the e-mail; none for an unknown kind.
pub(crate) fn mail_fact(input: &Input<'_>) -> Result<Option<FactOf>, ProcessError> {
    let event: notifications::MailEvent = decode("MailEvent", input.value()?.clone())?;
    check_key("order", &event.order_id, input.record.key.as_ref())?;
    let marks = vec![Mark { topic: Marked::Mails, at: input.offset.0 }];
    Ok(event.event.map(|_| FactOf { order_id: event.order_id, fact: Fact::Aside, marks }))
}

fn fulfilment(value: i32) -> Result<Fulfilment, InputError> {
    match inventory::Fulfilment::try_from(value) {
        Ok(inventory::Fulfilment::FromStock) => Ok(Fulfilment::FromStock),
        Ok(inventory::Fulfilment::MadeToOrder) => Ok(Fulfilment::MadeToOrder),
        Ok(inventory::Fulfilment::Unspecified) | Err(_) => {
            Err(InputError::UnknownValue { field: "ValidationPassed.fulfilments", value })
        }
    }
}
