//! Effects: what leaves a service for good happens once, and what cannot be read ends with the dead letters.

use std::collections::BTreeMap;

use proto::catalog::v1::{AuthorEvent, BookEvent, book_event};
use proto::notifications::v1::NotificationRow;
use proto::orders::v1::{OrderRow, OrderState, StockAction, StockRequest};
use proto::payments::v1::{OrderPaid, PaymentEvent, payment_event};
use proto::shipping::v1::ShipmentEvent;
use proto::validation::v1::{ValidationEvent, Verdict as CheckVerdict, validation_event};
use task_runtime::changelog::Output;
use testkit::simulation::{Oracle, Verdict, fail};

use super::mails::given_up;
use crate::history::Seen;
use crate::rows::{LETTERS, NOTIFICATIONS, ORDERS, decode, text};
use crate::shop::Shop;

/// I2: one verdict of each check, one decision, one reservation and one end of it, one charge, one shipment, one enriched
/// order at most.
pub(crate) fn i2_effects_happen_once(seen: &mut Seen, service: &str, output: &Output) -> Verdict {
    let Some(effect) = effect(output) else { return Ok(()) };
    if seen.effects.insert(effect.clone()) {
        return Ok(());
    }
    fail("I2 effects happen once", format!("{service} has done it again: {effect}"))
}

/// The name of what may happen once.
fn effect(output: &Output) -> Option<String> {
    let value = output.value.as_ref()?;
    match output.topic.as_str() {
        "shipments" => Some(format!("shipment or its end, of {}", decode::<ShipmentEvent>(value).order_id)),
        "order-validations" => {
            let event: ValidationEvent = decode(value);
            let more = matches!(event.event, Some(validation_event::Event::ReasonsAdded(_)));
            (!more).then(|| format!("decision on {}", event.order_id))
        }
        "credit-verdicts" | "inventory-verdicts" | "order-verdicts" => {
            let verdict: CheckVerdict = decode(value);
            Some(format!("{:?} of line {} of {}", verdict.check(), verdict.line, verdict.order_id))
        }
        "stock-requests" => {
            let request: StockRequest = decode(value);
            let what = if request.action() == StockAction::Reserve { "reservation" } else { "end of the reservation" };
            Some(format!("{what} of line {} of {}", request.line, request.order_id))
        }
        "order-payments" => Some(format!("charge for {}", decode::<OrderPaid>(value).order_id)),
        "authors" => {
            let event: AuthorEvent = decode(value);
            Some(format!("{} of {}", event.request_id, event.code))
        }
        "books" => {
            let event: BookEvent = decode(value);
            // A book that is removed loses each of its chapters.
            let many = matches!(event.event, Some(book_event::Event::ChapterRemoved(_)));
            (!many).then(|| format!("{} of {}", event.request_id, event.book_id))
        }
        "payments" => {
            let event: PaymentEvent = decode(value);
            matches!(event.event, Some(payment_event::Event::Settled(_)))
                .then(|| format!("settlement of {}", event.order_id))
        }
        "orders-platinum" | "orders-gold" | "orders-silver" | "orders-bronze" => {
            Some(format!("enriched order {}", text(output.key.as_ref()?)))
        }
        _ => None,
    }
}

/// I2, the other half: what was decided was done. A shipped order was shipped by shipping, a validated one was enriched, one
/// that was rejected mails nobody.
pub(crate) fn i2_decided_orders_had_their_effects(oracle: &Oracle<Shop>) -> Verdict {
    let Shop { seen, history, .. } = &oracle.scenario;
    for (key, row) in ORDERS.rows::<OrderRow>(oracle) {
        let order_id = text(key);
        let was_validated = seen.orders.get(&order_id).is_some_and(|stage| stage.was_validated);
        let has = |effect: String| seen.effects.contains(&effect);
        let ends = has(format!("shipment or its end, of {order_id}"));
        let enriched = has(format!("enriched order {order_id}"));
        let mailed = NOTIFICATIONS.row::<NotificationRow>(oracle, &order_id).is_some();
        let wrong = match row.state() {
            OrderState::Shipped if !ends => "it is shipped, and shipping did not say so",
            OrderState::Rejected if ends => "it is rejected, and shipping has sent it",
            _ if was_validated && history.customers.contains(&row.customer_id) != enriched => {
                "it was validated, and is enriched exactly if its customer is known"
            }
            OrderState::Rejected if mailed || enriched => "it is rejected, and somebody was told otherwise",
            _ => continue,
        };
        return fail("I2 effects happen once", format!("{order_id}: {wrong}"));
    }
    Ok(())
}

/// I11: what nobody can read is with the dead letters, once for each who read it, and so is each e-mail that was given up;
/// nothing else is.
pub(crate) fn i11_poison_is_with_the_dead_letters(oracle: &Oracle<Shop>) -> Verdict {
    let mut poison: BTreeMap<usize, u64> = BTreeMap::new();
    for (at, topic) in oracle.topics() {
        for (service, _) in oracle.receivers(at) {
            *poison.entry(service).or_default() += topic.sourceless();
        }
    }
    let mut all = 0;
    for (index, service) in oracle.scenario.services.iter().enumerate() {
        let outputs = Shop::tasks(oracle, service).flat_map(|reading| reading.outputs());
        let letters = outputs.filter(|(to, _)| to.topic.as_str() == format!("{service}-dead-letters"));
        let letters: u64 = letters.map(|(_, sent)| sent.len() as u64).sum();
        let expected = poison.get(&index).copied().unwrap_or(0);
        let given_up = if *service == notifications::SERVICE { given_up(oracle) } else { 0 };
        if letters != expected + given_up {
            return fail(
                "I11 poison",
                format!("{service} read {expected} bad records, gave up {given_up}, and has {letters} dead letters"),
            );
        }
        all += letters;
    }
    let kept = LETTERS.rows::<proto::mesh::v1::DeadLetterRow>(oracle).count() as u64;
    if kept != all {
        return fail("I11 poison", format!("{all} dead letters were written, {kept} can be listed"));
    }
    Ok(())
}
