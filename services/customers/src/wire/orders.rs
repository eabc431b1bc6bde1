//! Orders of customers: their rows, and how clients see them.

use bytes::Bytes;
use prost::Message;
use proto::customers::v1 as pb;
use proto::orders::v1 as api;
use proto::validation::v1::Reason as ReasonMessage;
use service_host::input::{InputError, decode};

use super::{money, money_to_proto, timestamp};
use crate::domain::credit::{End, Fault, Reservation};
use crate::domain::progress::{Progress, Reason, State};

/// What is known of an order beside its content. Either half may come first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Known {
    /// How far it has come; none until its first change.
    pub(crate) progress: Option<Progress>,
    /// What has become of its credit; none until it is judged, paid or ended.
    pub(crate) reservation: Option<Reservation>,
}

/// Reads the row of what is known of an order.
pub(crate) fn known(row: &Bytes) -> Result<Known, InputError> {
    use pb::ReservationState;
    let row: pb::ProgressRow = decode("ProgressRow", row)?;
    let unknown = |field, value| InputError::UnknownValue { field, value };
    let reservation = match row.reservation() {
        ReservationState::Unspecified if row.reservation != 0 => {
            return Err(unknown("ProgressRow.reservation", row.reservation));
        }
        ReservationState::Unspecified => None,
        ReservationState::Held => {
            let held = row.held.ok_or_else(|| unknown("ProgressRow.held", 0))?;
            Some(Reservation::Held(money(held)))
        }
        ReservationState::Unreserved => Some(Reservation::Unreserved),
        ReservationState::CustomerNotFound => Some(Reservation::Refused(Fault::CustomerNotFound)),
        ReservationState::LimitExceeded => Some(Reservation::Refused(Fault::LimitExceeded)),
        ReservationState::CurrencyDiffers => Some(Reservation::Refused(Fault::CurrencyDiffers)),
        ReservationState::Paid => Some(Reservation::Closed(End::Paid)),
        ReservationState::Ended => Some(Reservation::Closed(End::Unpaid)),
    };
    let progress = match row.version {
        0 => None,
        version => Some(Progress {
            version,
            state: state(row.state).ok_or_else(|| unknown("ProgressRow.state", row.state))?,
            reasons: row.reasons.into_iter().map(reason).collect(),
            updated_ms: row.update_time_ms,
        }),
    };
    Ok(Known { progress, reservation })
}

/// The row of what is known of an order.
pub(crate) fn known_row(known: &Known) -> Vec<u8> {
    use pb::ReservationState;
    let (reservation, held) = match &known.reservation {
        None => (ReservationState::Unspecified, None),
        Some(Reservation::Held(held)) => (ReservationState::Held, Some(money_to_proto(held.clone()))),
        Some(Reservation::Unreserved) => (ReservationState::Unreserved, None),
        Some(Reservation::Refused(Fault::CustomerNotFound)) => (ReservationState::CustomerNotFound, None),
        Some(Reservation::Refused(Fault::LimitExceeded)) => (ReservationState::LimitExceeded, None),
        Some(Reservation::Refused(Fault::CurrencyDiffers)) => (ReservationState::CurrencyDiffers, None),
        Some(Reservation::Closed(End::Paid)) => (ReservationState::Paid, None),
        Some(Reservation::Refused(Fault::OrderEnded) | Reservation::Closed(End::Unpaid)) => {
            (ReservationState::Ended, None)
        }
    };
    let row = pb::ProgressRow { reservation: reservation.into(), held, ..Default::default() };
    let Some(progress) = &known.progress else { return row.encode_to_vec() };
    pb::ProgressRow {
        version: progress.version,
        state: state_to_proto(progress.state).into(),
        reasons: progress.reasons.iter().map(reason_to_proto).collect(),
        update_time_ms: progress.updated_ms,
        ..row
    }
    .encode_to_vec()
}

/// An order as clients see it, from the row of its placing and what else is known of it.
pub(crate) fn order_to_proto(
    (customer_id, order_id): (String, String),
    placed: &Bytes,
    known: &Known,
) -> Result<api::Order, InputError> {
    let placed: pb::PlacedRow = decode("PlacedRow", placed)?;
    let create_time = Some(timestamp(placed.create_time_ms));
    let created = api::Order {
        order_id,
        customer_id,
        lines: placed.lines,
        state: api::OrderState::Created.into(),
        total: placed.total,
        create_time,
        update_time: create_time,
        etag: "1".to_owned(),
        ..Default::default()
    };
    let Some(progress) = &known.progress else { return Ok(created) };
    Ok(api::Order {
        state: state_to_proto(progress.state).into(),
        reasons: progress.reasons.iter().map(reason_to_proto).collect(),
        update_time: Some(timestamp(progress.updated_ms)),
        etag: progress.version.to_string(),
        ..created
    })
}

/// A state; none for what this version does not know.
pub(crate) fn state(value: i32) -> Option<State> {
    match api::OrderState::try_from(value).ok()? {
        api::OrderState::Unspecified => None,
        api::OrderState::Created => Some(State::Created),
        api::OrderState::Validated => Some(State::Validated),
        api::OrderState::InManufacturing => Some(State::InManufacturing),
        api::OrderState::Ready => Some(State::Ready),
        api::OrderState::Shipped => Some(State::Shipped),
        api::OrderState::Rejected => Some(State::Rejected),
        api::OrderState::Cancelled => Some(State::Cancelled),
    }
}

fn state_to_proto(state: State) -> api::OrderState {
    match state {
        State::Created => api::OrderState::Created,
        State::Validated => api::OrderState::Validated,
        State::InManufacturing => api::OrderState::InManufacturing,
        State::Ready => api::OrderState::Ready,
        State::Shipped => api::OrderState::Shipped,
        State::Rejected => api::OrderState::Rejected,
        State::Cancelled => api::OrderState::Cancelled,
    }
}

pub(crate) fn reason(reason: ReasonMessage) -> Reason {
    let ReasonMessage { check, product_id, code, message } = reason;
    Reason { check, product_id, code, message }
}

fn reason_to_proto(reason: &Reason) -> ReasonMessage {
    let Reason { check, product_id, code, message } = reason.clone();
    ReasonMessage { check, product_id, code, message }
}
