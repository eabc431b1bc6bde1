//! Where records about an order stand, and what they say to those who ask for its history.

use bytes::Bytes;
use prost::Message;
use proto::manufacturing::v1 as manufacturing;
use proto::notifications::v1 as notifications;
use proto::orders::v1 as api;
use proto::payments::v1 as payments;
use proto::shipping::v1 as shipping;
use proto::validation::v1 as validation;
use service_host::input::{self, InputError};
use task_runtime::{StoredRecord, TRACE_HEADER};

use super::timestamp;
use crate::domain::{Mark, Marked};
use crate::topics;

/// Each topic with the number that rows have for it.
const TOPICS: [(Marked, api::MarkedTopic, &str); 9] = [
    (Marked::Orders, api::MarkedTopic::Orders, topics::ORDERS),
    (Marked::Validations, api::MarkedTopic::OrderValidations, topics::ORDER_VALIDATIONS),
    (Marked::Manufactured, api::MarkedTopic::Manufactured, topics::MANUFACTURED),
    (Marked::Shipments, api::MarkedTopic::Shipments, topics::SHIPMENTS),
    (Marked::OrderVerdicts, api::MarkedTopic::OrderVerdicts, topics::ORDER_VERDICTS),
    (Marked::InventoryVerdicts, api::MarkedTopic::InventoryVerdicts, topics::INVENTORY_VERDICTS),
    (Marked::CreditVerdicts, api::MarkedTopic::CreditVerdicts, topics::CREDIT_VERDICTS),
    (Marked::Payments, api::MarkedTopic::Payments, topics::PAYMENTS),
    (Marked::Mails, api::MarkedTopic::Mails, topics::MAILS),
];

/// A mark of a row; none for a topic that this version does not know.
pub(super) fn mark(message: &api::RecordMark) -> Option<Mark> {
    let (topic, ..) = TOPICS.iter().find(|(_, number, _)| i32::from(*number) == message.topic)?;
    Some(Mark { topic: *topic, at: message.at })
}

/// A mark as rows hold it.
pub(super) fn mark_message(mark: &Mark) -> api::RecordMark {
    let number = TOPICS.iter().find(|(topic, ..)| *topic == mark.topic).map(|(_, number, _)| *number);
    api::RecordMark { topic: number.unwrap_or_default().into(), at: mark.at }
}

/// What a row tells of an order that has not come.
pub(crate) fn early(row: Bytes) -> Result<Vec<Mark>, InputError> {
    let row: api::EarlyRow = input::decode("EarlyRow", row)?;
    Ok(row.history.iter().filter_map(mark).collect())
}

/// The row of what is told of an order that has not come.
pub(crate) fn early_row(marks: &[Mark]) -> Vec<u8> {
    api::EarlyRow { history: marks.iter().map(mark_message).collect() }.encode_to_vec()
}

/// The mark of a record that validation has heard; none for a topic that this version does not know.
pub(super) fn mark_of_place(place: &validation::RecordPlace) -> Option<Mark> {
    let (topic, ..) = TOPICS.iter().find(|(.., name)| *name == place.topic)?;
    Some(Mark { topic: *topic, at: place.offset })
}

/// Name of a marked topic.
pub(crate) fn topic(marked: Marked) -> &'static str {
    TOPICS.iter().find(|(topic, ..)| *topic == marked).map_or("", |(.., name)| name)
}

/// What a record says.
pub(crate) fn entry(marked: Marked, partition: u32, stored: &StoredRecord) -> api::HistoryEntry {
    let StoredRecord { offset, record } = stored;
    let traceparent = record.header(TRACE_HEADER).map(|value| String::from_utf8_lossy(value).into_owned());
    let mut entry = api::HistoryEntry {
        topic: topic(marked).to_owned(),
        partition: i32::try_from(partition).unwrap_or(i32::MAX),
        offset: i64::try_from(offset.0).unwrap_or(i64::MAX),
        time: Some(timestamp(record.timestamp_ms)),
        traceparent: traceparent.unwrap_or_default(),
        ..api::HistoryEntry::default()
    };
    let bytes = record.value.as_deref().unwrap_or_default();
    let told = match marked {
        Marked::Orders => of_orders(bytes, &mut entry),
        Marked::Validations => of_validations(bytes, &mut entry),
        Marked::Manufactured => of_manufactured(bytes, &mut entry),
        Marked::Shipments => of_shipments(bytes),
        Marked::OrderVerdicts | Marked::InventoryVerdicts | Marked::CreditVerdicts => verdict(bytes, &mut entry),
        Marked::Payments => of_payments(bytes, &mut entry),
        Marked::Mails => of_mails(bytes, &mut entry),
    };
    entry.event = told.unwrap_or_default().to_owned();
    entry
}

fn of_orders(bytes: &[u8], entry: &mut api::HistoryEntry) -> Option<&'static str> {
    use api::order_event::Event;
    Some(match decode::<api::OrderEvent>(bytes)?.event? {
        Event::Created(_) => "created",
        Event::Validated(_) => "validated",
        Event::Rejected(rejected) => {
            entry.reasons = rejected.reasons;
            "rejected"
        }
        Event::ReasonsAdded(added) => {
            entry.reasons = added.reasons;
            "reasons_added"
        }
        Event::InManufacturing(_) => "in_manufacturing",
        Event::Ready(_) => "ready",
        Event::CancellationRequested(_) => "cancellation_requested",
        Event::Cancelled(_) => "cancelled",
        Event::Shipped(_) => "shipped",
    })
}

fn of_validations(bytes: &[u8], entry: &mut api::HistoryEntry) -> Option<&'static str> {
    use validation::validation_event::Event;
    Some(match decode::<validation::ValidationEvent>(bytes)?.event? {
        Event::Passed(_) => "passed",
        Event::Failed(failed) => {
            entry.reasons = failed.reasons;
            "failed"
        }
        Event::ReasonsAdded(added) => {
            entry.reasons = added.reasons;
            "reasons_added"
        }
    })
}

fn of_manufactured(bytes: &[u8], entry: &mut api::HistoryEntry) -> Option<&'static str> {
    use manufacturing::manufacturing_event::Event;
    Some(match decode::<manufacturing::ManufacturingEvent>(bytes)?.event? {
        Event::Opened(_) => "opened",
        Event::ItemManufactured(item) => {
            entry.product_id = item.product_id;
            "item_manufactured"
        }
        Event::Completed(_) => "completed",
        Event::Cancelled(_) => "cancelled",
    })
}

fn of_shipments(bytes: &[u8]) -> Option<&'static str> {
    use shipping::shipment_event::Event;
    Some(match decode::<shipping::ShipmentEvent>(bytes)?.event? {
        Event::Shipped(_) => "shipped",
        Event::Cancelled(_) => "cancelled",
    })
}

fn verdict(bytes: &[u8], entry: &mut api::HistoryEntry) -> Option<&'static str> {
    let verdict = decode::<validation::Verdict>(bytes)?;
    (entry.check, entry.outcome) = (verdict.check, verdict.outcome);
    entry.product_id.clone_from(&verdict.product_id);
    if !verdict.code.is_empty() {
        let validation::Verdict { check, product_id, code, message, .. } = verdict;
        entry.reasons = vec![validation::Reason { check, product_id, code, message }];
    }
    Some("verdict")
}

fn of_payments(bytes: &[u8], entry: &mut api::HistoryEntry) -> Option<&'static str> {
    use payments::payment_event::Event;
    let (told, payment) = match decode::<payments::PaymentEvent>(bytes)?.event? {
        Event::Recorded(recorded) => ("recorded", recorded.payment),
        Event::Booked(booked) => ("booked", booked.payment),
        Event::Refused(refused) => ("refused", refused.payment),
        Event::Settled(settled) => {
            entry.amount = settled.due;
            ("settled", None)
        }
    };
    if let Some(payment) = payment {
        (entry.payment_id, entry.amount) = (payment.payment_id, payment.amount);
    }
    Some(told)
}

fn of_mails(bytes: &[u8], entry: &mut api::HistoryEntry) -> Option<&'static str> {
    use notifications::mail_event::Event;
    let event = decode::<notifications::MailEvent>(bytes)?;
    entry.recipient = event.recipient;
    Some(match event.event? {
        Event::Decided(_) => "decided",
        Event::Sent(_) => "sent",
        Event::GivenUp(given_up) => {
            let message = given_up.error;
            entry.reasons =
                vec![validation::Reason { code: "UNDELIVERABLE".to_owned(), message, ..Default::default() }];
            "given_up"
        }
        Event::Renewed(_) => "renewed",
    })
}

/// A record that cannot be read is shown by its place alone.
fn decode<M: Message + Default>(bytes: &[u8]) -> Option<M> {
    M::decode(bytes).ok()
}
