//! Planted bugs. Each must be found, or the laws are too weak to trust a clean run. Those of services are put around their
//! handlers from outside, so that there is no switch in the services themselves:
//!
//! - `release-unheld`: a release gives back what the line does not hold.
//! - `reserve-unseen`: a reservation does not look at what is available.
//! - `ship-cancelled`: an order leaves the house although its cancellation was granted.
//! - `count-payment-twice`: the same payment in another request counts again.
//! - `charge-again`: every payment of a settled order tells again that it is paid.
//! - `count-verdict-twice`: the verdict on one line stands for the next one, too.
//! - `keep-credit`: an order that ended keeps its credit.
//! - `forget-decision`: some decisions of validation are overlooked.
//! - `enrich-again`: a payment sends the enriched order again.
//! - `number-again`: a chapter is given the number of one that was removed.
//! - `forget-outcome`: what became of some commands is not remembered.
//! - `new-message-id`: an e-mail that is tried again has another Message-ID.
//! - `forget-sent`: that an e-mail was taken is noted as one more try that failed.
//! - `mail-again`: an e-mail that was sent goes back into the outbox.
//!
//! Those of what a service stands on:
//!
//! - `answer-anew`: answers are forgotten after a second, so that a repeated request is a new one.
//! - `trust-damaged-store`: nobody compares a store with what was written to it.
//! - `trust-damaged-snapshot`: a snapshot is loaded as far as it can be read.
//! - `skip-prev-hash`: whether a store is of this log is not asked.
//!
//! The others are wrong ways of the commit protocol that show in what callers see: an answer that does not count, a read of
//! somebody who was deposed, an effect of somebody who was deposed, a receiver that leaves gaps.

mod catalog;
mod mails;

use bytes::Bytes;
use prost::Message;
use proto::inventory::v1::{LineRow, LineState, StockRow};
use proto::notifications::v1::EnrichedOrder;
use proto::orders::v1::{StockAction, StockRequest};
use proto::payments::v1::{AccountRow, OrderPaid, RecordPaymentRequest};
use proto::shipping::v1::{ShipmentEvent, ShipmentRow, ShipmentShipped, ShipmentState, shipment_event};
use proto::validation::v1::Verdict;
use task_runtime::{Context, Definition, Input, ProcessError, Record, Shortcut, StoreId};

use crate::rows::decode;

/// A wrong way of doing it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bug {
    /// In a service.
    Domain(Planted),
    /// In the commit protocol.
    Protocol(Shortcut),
    /// In the disks of all processes.
    TrustDamagedStore,
    /// In how long the runtime remembers its answers.
    AnswerAnew,
}

/// A bug of a service.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Planted {
    ReleaseUnheld,
    ReserveUnseen,
    ShipCancelled,
    CountPaymentTwice,
    ChargeAgain,
    CountVerdictTwice,
    KeepCredit,
    ForgetDecision,
    EnrichAgain,
    NumberAgain,
    ForgetOutcome,
    NewMessageId,
    ForgetSent,
    MailAgain,
}

pub(crate) const BUGS: [(&str, Bug); 22] = [
    ("release-unheld", Bug::Domain(Planted::ReleaseUnheld)),
    ("reserve-unseen", Bug::Domain(Planted::ReserveUnseen)),
    ("ship-cancelled", Bug::Domain(Planted::ShipCancelled)),
    ("count-payment-twice", Bug::Domain(Planted::CountPaymentTwice)),
    ("charge-again", Bug::Domain(Planted::ChargeAgain)),
    ("count-verdict-twice", Bug::Domain(Planted::CountVerdictTwice)),
    ("keep-credit", Bug::Domain(Planted::KeepCredit)),
    ("forget-decision", Bug::Domain(Planted::ForgetDecision)),
    ("enrich-again", Bug::Domain(Planted::EnrichAgain)),
    ("number-again", Bug::Domain(Planted::NumberAgain)),
    ("forget-outcome", Bug::Domain(Planted::ForgetOutcome)),
    ("new-message-id", Bug::Domain(Planted::NewMessageId)),
    ("forget-sent", Bug::Domain(Planted::ForgetSent)),
    ("mail-again", Bug::Domain(Planted::MailAgain)),
    ("answer-anew", Bug::AnswerAnew),
    ("trust-damaged-store", Bug::TrustDamagedStore),
    ("trust-damaged-snapshot", Bug::Protocol(Shortcut::TrustDamagedSnapshots)),
    ("skip-prev-hash", Bug::Protocol(Shortcut::SkipPrevHash)),
    ("reply-before-certify", Bug::Protocol(Shortcut::ReplyBeforeCertify)),
    ("unproven-strong-read", Bug::Protocol(Shortcut::UnprovenStrongRead)),
    ("trust-the-ack", Bug::Protocol(Shortcut::TrustTheAck)),
    ("largest-seen-watermark", Bug::Protocol(Shortcut::LargestSeenWatermark)),
];

const STOCK: StoreId = StoreId::new(2, "stock");
const LINES: StoreId = StoreId::new(3, "lines");
const CREDIT: StoreId = StoreId::new(2, "credit");
const SHIPMENTS: StoreId = StoreId::new(1, "shipments");
const ACCOUNTS: StoreId = StoreId::new(1, "accounts");

/// The services, one of them with a bug.
pub(crate) fn plant(definitions: Vec<Definition>, bug: Planted) -> Vec<Definition> {
    let with = |definition: Definition| match (bug, definition.service()) {
        (Planted::ReleaseUnheld, inventory::SERVICE) => release_unheld(definition),
        (Planted::ReserveUnseen, inventory::SERVICE) => reserve_unseen(definition),
        (Planted::ShipCancelled, shipping::SERVICE) => ship_cancelled(definition),
        (Planted::CountPaymentTwice, payments::SERVICE) => count_payment_twice(definition),
        (Planted::ChargeAgain, payments::SERVICE) => charge_again(definition),
        (Planted::CountVerdictTwice, validation::SERVICE) => count_verdict_twice(definition),
        (Planted::KeepCredit, customers::SERVICE) => keep_credit(definition),
        (Planted::ForgetDecision, orders::SERVICE) => forget_decision(definition),
        (Planted::EnrichAgain, notifications::SERVICE) => enrich_again(definition),
        (Planted::NumberAgain, ::catalog::SERVICE) => catalog::number_again(definition),
        (Planted::ForgetOutcome, ::catalog::SERVICE) => catalog::forget_outcome(definition),
        (Planted::NewMessageId, notifications::SERVICE) => mails::new_message_id(definition),
        (Planted::ForgetSent, notifications::SERVICE) => mails::forget_sent(definition),
        (Planted::MailAgain, notifications::SERVICE) => mails::mail_again(definition),
        _ => definition,
    };
    definitions.into_iter().map(with).collect()
}

fn row<M: Message + Default>(ctx: &mut Context<'_>, store: StoreId, key: &[u8]) -> Result<Option<M>, ProcessError> {
    Ok(ctx.get(store, key)?.map(|row| decode(&row)))
}

/// What the record says; none for what cannot be read.
fn message<M: Message + Default>(input: &Input<'_>) -> Option<M> {
    M::decode(input.record.value.clone()?).ok()
}

fn line_of(ctx: &mut Context<'_>, request: &StockRequest) -> Result<LineState, ProcessError> {
    let key = [request.order_id.as_bytes(), &[0], &request.line.to_be_bytes(), request.product_id.as_bytes()].concat();
    Ok(row::<LineRow>(ctx, LINES, &key)?.map_or(LineState::Unspecified, |line| line.state()))
}

fn release_unheld(definition: Definition) -> Definition {
    definition.around_input("stock-requests", |ctx, input, inner| {
        if let Some(request) = message::<StockRequest>(input)
            && request.action() == StockAction::Release
            && line_of(ctx, &request)? != LineState::Held
            && let Some(mut stock) = row::<StockRow>(ctx, STOCK, request.product_id.as_bytes())?
        {
            stock.reserved -= request.quantity.min(stock.reserved);
            ctx.put(STOCK, request.product_id.as_bytes(), stock.encode_to_vec());
        }
        inner(ctx, input)
    })
}

fn reserve_unseen(definition: Definition) -> Definition {
    let add = |ctx: &mut Context<'_>, product_id: &str, quantity: i64| {
        if let Some(mut stock) = row::<StockRow>(ctx, STOCK, product_id.as_bytes())? {
            stock.stock += quantity;
            ctx.put(STOCK, product_id.as_bytes(), stock.encode_to_vec());
        }
        Ok::<_, ProcessError>(())
    };
    definition.around_input("stock-requests", move |ctx, input, inner| {
        let Some(request) = message::<StockRequest>(input) else { return inner(ctx, input) };
        if request.action() != StockAction::Reserve {
            return inner(ctx, input);
        }
        add(ctx, &request.product_id, request.quantity)?;
        inner(ctx, input)?;
        add(ctx, &request.product_id, -request.quantity)
    })
}

fn ship_cancelled(definition: Definition) -> Definition {
    definition.around_input("orders", |ctx, input, inner| {
        let key = input.record.key.clone().unwrap_or_default();
        let state = |ctx: &mut Context<'_>| {
            Ok::<_, ProcessError>(row::<ShipmentRow>(ctx, SHIPMENTS, &key)?.map(|row| row.state()))
        };
        let before = state(ctx)?;
        inner(ctx, input)?;
        if before == Some(ShipmentState::Waiting) && state(ctx)? == Some(ShipmentState::Cancelled) {
            let event = Some(shipment_event::Event::Shipped(ShipmentShipped {}));
            let order_id = String::from_utf8_lossy(&key).into_owned();
            ctx.emit("shipments", &key, ShipmentEvent { order_id, time: None, event }.encode_to_vec())?;
        }
        Ok(())
    })
}

fn count_payment_twice(definition: Definition) -> Definition {
    definition.around_command("record-payment", |ctx, command, inner| {
        let request: RecordPaymentRequest = decode(&command.payload);
        let payment_id = request.payment.unwrap_or_default().payment_id;
        let mut account: AccountRow = row(ctx, ACCOUNTS, &command.key)?.unwrap_or_default();
        if let Some(known) = account.payments.iter().find(|payment| payment.payment_id == payment_id).cloned() {
            account.payments.push(known);
            ctx.put(ACCOUNTS, &command.key, account.encode_to_vec());
        }
        inner(ctx, command)
    })
}

fn charge_again(definition: Definition) -> Definition {
    definition.around_command("record-payment", |ctx, command, inner| {
        let before: AccountRow = row(ctx, ACCOUNTS, &command.key)?.unwrap_or_default();
        let reply = inner(ctx, command)?;
        let after: AccountRow = row(ctx, ACCOUNTS, &command.key)?.unwrap_or_default();
        if before.settled && after.payments.len() > before.payments.len() {
            let (order_id, customer_id) = (String::from_utf8_lossy(&command.key).into_owned(), after.customer_id);
            let paid = OrderPaid { order_id, customer_id: customer_id.clone(), ..OrderPaid::default() };
            ctx.emit("order-payments", customer_id.as_bytes(), paid.encode_to_vec())?;
        }
        Ok(reply)
    })
}

fn count_verdict_twice(definition: Definition) -> Definition {
    definition.around_input("inventory-verdicts", |ctx, input, inner| {
        inner(ctx, input)?;
        let Some(verdict) = message::<Verdict>(input) else { return Ok(()) };
        let next = Verdict { line: verdict.line + 1, ..verdict };
        let record = Record { value: Some(Bytes::from(next.encode_to_vec())), ..input.record.clone() };
        // There may be no such line.
        let _ = inner(ctx, &Input { topic: input.topic, offset: input.offset, record: &record });
        Ok(())
    })
}

fn keep_credit(definition: Definition) -> Definition {
    definition.around_input("order-changes-by-customer", |ctx, input, inner| {
        let customer_id = input.record.key.clone().unwrap_or_default();
        let before = ctx.get(CREDIT, &customer_id)?;
        inner(ctx, input)?;
        before.into_iter().for_each(|credit| ctx.put(CREDIT, &customer_id, credit));
        Ok(())
    })
}

fn forget_decision(definition: Definition) -> Definition {
    definition.around_input("order-validations", |ctx, input, inner| {
        let key = input.record.key.clone().unwrap_or_default();
        if key.ends_with(b"3") { Ok(()) } else { inner(ctx, input) }
    })
}

fn enrich_again(definition: Definition) -> Definition {
    definition.around_input("order-payments", |ctx, input, inner| {
        inner(ctx, input)?;
        let Some(paid) = message::<OrderPaid>(input) else { return Ok(()) };
        ctx.emit("orders-bronze", paid.order_id.as_bytes(), EnrichedOrder::default().encode_to_vec())
    })
}
