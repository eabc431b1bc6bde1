//! Bytes and proto to domain and back; the only place that converts.

use bytes::Bytes;
use prost::Message;
use proto::common::v1 as common;
use proto::orders::v1::{OrderEvent, order_event};
use proto::payments::v1 as pb;
use proto::payments::v1::payment_event;
use service_host::Problem;
use service_host::input::{InputError, check_key, decode};
use service_host::timestamp;

use crate::domain::{Account, Bill, Event, Money, Payment, PaymentState, Refusal, Settlement};

/// What an order event means here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OrderFact {
    /// It was accepted, and costs this.
    Created(Bill),
    /// It was rejected or cancelled.
    Ended,
    /// Nothing, or something that this version does not know.
    Other,
}

/// Reads a record of `orders`: the order and the fact.
pub(crate) fn order_fact(key: Option<&Bytes>, value: &Bytes) -> Result<(String, OrderFact), InputError> {
    let event: OrderEvent = decode("OrderEvent", value)?;
    check_key("order", &event.order_id, key)?;
    let fact = match event.event {
        Some(order_event::Event::Created(created)) => {
            let order = created.order.ok_or(InputError::Missing { field: "OrderCreated.order" })?;
            OrderFact::Created(Bill { customer_id: order.customer_id, total: order.total.map(money) })
        }
        Some(order_event::Event::Rejected(_) | order_event::Event::Cancelled(_)) => OrderFact::Ended,
        _ => OrderFact::Other,
    };
    Ok((event.order_id, fact))
}

/// A record of `payments`.
pub(crate) fn event(order_id: &str, event: &Event, now_ms: i64) -> Vec<u8> {
    let payment = |payment: &Payment| Some(payment_to_proto(order_id, payment));
    let event = match event {
        Event::Recorded(recorded, paid) => payment_event::Event::Recorded(pb::PaymentRecorded {
            payment: payment(recorded),
            paid: paid.clone().map(money_to_proto),
        }),
        Event::Booked(booked, paid) => payment_event::Event::Booked(pb::PaymentBooked {
            payment: payment(booked),
            paid: Some(money_to_proto(paid.clone())),
        }),
        Event::Refused(refused) => payment_event::Event::Refused(pb::PaymentRefused { payment: payment(refused) }),
        Event::Settled { due, paid, .. } => payment_event::Event::Settled(pb::OrderSettled {
            due: Some(money_to_proto(due.clone())),
            paid: Some(money_to_proto(paid.clone())),
        }),
    };
    pb::PaymentEvent { order_id: order_id.to_owned(), time: Some(timestamp(now_ms)), event: Some(event) }
        .encode_to_vec()
}

/// A record of `order-payments`.
pub(crate) fn order_paid(order_id: &str, customer_id: &str, due: &Money, paid: &Money, now_ms: i64) -> Vec<u8> {
    pb::OrderPaid {
        order_id: order_id.to_owned(),
        customer_id: customer_id.to_owned(),
        amount: Some(money_to_proto(due.clone())),
        paid: Some(money_to_proto(paid.clone())),
        time: Some(timestamp(now_ms)),
    }
    .encode_to_vec()
}

/// What a client is told about a payment that stands.
pub(crate) fn recorded(order_id: &str, payment_id: &str, account: &Account) -> pb::RecordPaymentResponse {
    pb::RecordPaymentResponse {
        payment: account.payment(payment_id).map(|payment| payment_to_proto(order_id, payment)),
        paid: account.paid().map(money_to_proto),
        balance: account.balance().map(money_to_proto),
        state: settlement(account.settlement()).into(),
        ..Default::default()
    }
}

/// An account as clients see it.
pub(crate) fn account_to_proto(order_id: &str, account: Account) -> pb::GetPaymentResponse {
    pb::GetPaymentResponse {
        payments: account.payments.iter().map(|payment| payment_to_proto(order_id, payment)).collect(),
        paid: account.paid().map(money_to_proto),
        balance: account.balance().map(money_to_proto),
        state: settlement(account.settlement()).into(),
        due: account.due().map(money_to_proto),
        order_id: order_id.to_owned(),
        customer_id: account.bill.map(|bill| bill.customer_id).unwrap_or_default(),
        served_by: None,
    }
}

/// What a client is told of a refusal.
pub(crate) fn problem(refusal: &Refusal, order_id: &str, payment_id: &str, currency: &str) -> Problem {
    match refusal {
        Refusal::CurrencyMismatch { wanted } => {
            let message = format!("order {order_id} is to be paid in {wanted}, not in {currency}");
            Problem::refused("CURRENCY_MISMATCH", message).with("wanted", wanted).with("given", currency)
        }
        Refusal::NoTotal => {
            let message = format!("the lines of order {order_id} have no common currency: nothing can be paid for it");
            Problem::refused("ORDER_HAS_NO_TOTAL", message).with("order_id", order_id)
        }
        Refusal::Exists => Problem::already_exists("payment", payment_id),
        Refusal::TooMany { limit } => {
            let message = format!("order {order_id} has {limit} payments already, which is as many as are kept");
            Problem::refused("TOO_MANY_PAYMENTS", message).with("limit", limit)
        }
        Refusal::TooLarge => {
            Problem::refused("AMOUNT_TOO_LARGE", "what is paid would be more than a 64-bit number of minor units")
        }
    }
}

/// Reads a row.
pub(crate) fn account(row: &Bytes) -> Result<Account, InputError> {
    let row: pb::AccountRow = decode("AccountRow", row)?;
    let bill = row.known.then(|| Bill { customer_id: row.customer_id, total: row.total.map(money) });
    let payments = row.payments.into_iter().map(payment).collect::<Result<_, _>>()?;
    Ok(Account { bill, ended: row.ended, settled: row.settled, payments })
}

fn payment(row: pb::PaymentRow) -> Result<Payment, InputError> {
    let state = match row.state() {
        pb::PaymentState::Pending => PaymentState::Pending,
        pb::PaymentState::Booked => PaymentState::Booked,
        pb::PaymentState::Refused => PaymentState::Refused,
        pb::PaymentState::Unspecified => {
            return Err(InputError::UnknownValue { field: "PaymentRow.state", value: row.state });
        }
    };
    let pb::PaymentRow { payment_id, amount, recorded_ms, .. } = row;
    Ok(Payment {
        payment_id,
        amount: amount.map(money).ok_or(InputError::Missing { field: "amount" })?,
        state,
        recorded_ms,
    })
}

/// The row of an account.
pub(crate) fn account_row(account: Account) -> Vec<u8> {
    let Account { bill, ended, settled, payments } = account;
    let known = bill.is_some();
    let (customer_id, total) = bill.map_or_else(Default::default, |bill| (bill.customer_id, bill.total));
    let row = |payment: Payment| {
        let Payment { payment_id, amount, state, recorded_ms } = payment;
        let state = state_to_proto(state).into();
        pb::PaymentRow { payment_id, amount: Some(money_to_proto(amount)), state, recorded_ms }
    };
    let payments = payments.into_iter().map(row).collect();
    pb::AccountRow { customer_id, total: total.map(money_to_proto), known, ended, settled, payments }.encode_to_vec()
}

/// An amount as the domain knows it.
pub(crate) fn money(money: common::Money) -> Money {
    Money { currency: money.currency_code, minor_units: money.minor_units }
}

fn money_to_proto(money: Money) -> common::Money {
    common::Money { currency_code: money.currency, minor_units: money.minor_units }
}

fn payment_to_proto(order_id: &str, payment: &Payment) -> pb::Payment {
    pb::Payment {
        payment_id: payment.payment_id.clone(),
        order_id: order_id.to_owned(),
        amount: Some(money_to_proto(payment.amount.clone())),
        state: state_to_proto(payment.state).into(),
        create_time: Some(timestamp(payment.recorded_ms)),
    }
}

fn state_to_proto(state: PaymentState) -> pb::PaymentState {
    match state {
        PaymentState::Pending => pb::PaymentState::Pending,
        PaymentState::Booked => pb::PaymentState::Booked,
        PaymentState::Refused => pb::PaymentState::Refused,
    }
}

fn settlement(settlement: Settlement) -> pb::SettlementState {
    match settlement {
        Settlement::Unknown => pb::SettlementState::Unspecified,
        Settlement::Unpaid => pb::SettlementState::Unpaid,
        Settlement::Underpaid => pb::SettlementState::Underpaid,
        Settlement::Paid => pb::SettlementState::Paid,
        Settlement::Overpaid => pb::SettlementState::Overpaid,
    }
}

#[cfg(test)]
mod tests;
