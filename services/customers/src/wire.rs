//! Bytes and protobuf to domain and back: the only place that converts. Here: rows, and customers as clients see them;
//! requests and records have their own files.

pub(crate) mod orders;
pub(crate) mod records;
pub(crate) mod requests;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use prost::Message;
use proto::common::v1 as common;
use proto::customers::v1 as pb;
use service_host::Problem;
use service_host::input::{InputError, decode};
pub(crate) use service_host::timestamp;

use crate::domain::credit::Credit;
use crate::domain::profile::{Level, Profile, Refusal};
use crate::domain::{Customer, Money};

/// Reads the row of who a customer is.
pub(crate) fn profile(row: &Bytes) -> Result<Profile, InputError> {
    let row: pb::CustomerRow = decode("CustomerRow", row)?;
    let level = level(row.level).ok_or(InputError::UnknownValue { field: "CustomerRow.level", value: row.level })?;
    let pb::CustomerRow { first_name, last_name, email, phone, address, .. } = row;
    Ok(Profile { first_name, last_name, email, phone, address, level })
}

/// The row of who a customer is.
pub(crate) fn profile_row(profile: &Profile) -> Vec<u8> {
    let Profile { first_name, last_name, email, phone, address, level } = profile.clone();
    let level = level_to_proto(level).into();
    pb::CustomerRow { first_name, last_name, email, phone, address, level }.encode_to_vec()
}

/// Reads the row of what a customer may spend.
pub(crate) fn credit(row: &Bytes) -> Result<Credit, InputError> {
    let row: pb::CreditRow = decode("CreditRow", row)?;
    let reserved = row.reserved.into_iter().map(money).collect();
    Ok(Credit { limit: row.limit.map(money), reserved, version: row.version })
}

/// The row of what a customer may spend.
pub(crate) fn credit_row(credit: &Credit) -> Vec<u8> {
    let Credit { limit, reserved, version } = credit.clone();
    let reserved = reserved.into_iter().map(money_to_proto).collect();
    pb::CreditRow { limit: limit.map(money_to_proto), reserved, version }.encode_to_vec()
}

/// A customer as clients see it.
pub(crate) fn customer_to_proto(customer_id: &str, customer: Customer) -> pb::Customer {
    let credit_available = customer.credit.available().map(money_to_proto);
    let Credit { limit, reserved, version } = customer.credit;
    let mut others: Vec<_> = reserved.into_iter().map(money_to_proto).collect();
    let credit_reserved = match &limit {
        Some(limit) => {
            let of_limit = others.iter().position(|held| held.currency_code == limit.currency);
            let nothing = || common::Money { currency_code: limit.currency.clone(), minor_units: 0 };
            Some(of_limit.map_or_else(nothing, |place| others.remove(place)))
        }
        None if others.is_empty() => None,
        None => Some(others.remove(0)),
    };
    pb::Customer {
        credit_limit: limit.map(money_to_proto),
        credit_reserved,
        credit_available,
        etag: version.to_string(),
        credit_reserved_others: others,
        ..profile_to_proto(customer_id, customer.profile)
    }
}

fn profile_to_proto(customer_id: &str, profile: Profile) -> pb::Customer {
    let Profile { first_name, last_name, email, phone, address, level } = profile;
    let (customer_id, level) = (customer_id.to_owned(), level_to_proto(level).into());
    pb::Customer { customer_id, first_name, last_name, email, phone, address, level, ..Default::default() }
}

/// What a command did to a customer, for the topic `customers`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    /// It was created.
    Created,
    /// Some of its fields changed.
    Updated,
    /// Its credit limit was set.
    CreditLimitSet,
}

/// A record of `customers`.
pub(crate) fn event(customer_id: &str, customer: Customer, change: Change, now_ms: i64) -> Vec<u8> {
    use pb::customer_event::Event;
    let customer = Some(pb::Customer {
        credit_limit: customer.credit.limit.map(money_to_proto),
        etag: customer.credit.version.to_string(),
        ..profile_to_proto(customer_id, customer.profile)
    });
    let event = match change {
        Change::Created => Event::Created(pb::CustomerCreated { customer }),
        Change::Updated => Event::Updated(pb::CustomerUpdated { customer }),
        Change::CreditLimitSet => Event::CreditLimitSet(pb::CreditLimitSet { customer }),
    };
    pb::CustomerEvent { customer_id: customer_id.to_owned(), time: Some(timestamp(now_ms)), event: Some(event) }
        .encode_to_vec()
}

/// What a client is told of a refusal. `etag` is the version that it wanted.
pub(crate) fn problem(refusal: Refusal, customer_id: &str, etag: &str) -> Problem {
    match refusal {
        Refusal::NotFound => Problem::not_found("customer", customer_id),
        Refusal::Exists => Problem::already_exists("customer", customer_id),
        Refusal::VersionConflict { current } => Problem::version_conflict(current, etag),
    }
}

/// The version that an etag names; none when the caller does not care. No customer has version 0.
pub(crate) fn version(etag: &str) -> Option<u64> {
    let known = |version: &u64| version.to_string() == etag;
    (!etag.is_empty()).then(|| etag.parse().ok().filter(known).unwrap_or(0))
}

/// A greeting as clients see it.
pub(crate) fn greeting((customer_id, greeting_id): (String, String), row: &Bytes) -> Result<pb::Greeting, InputError> {
    let row: pb::GreetingRow = decode("GreetingRow", row)?;
    Ok(pb::Greeting { greeting_id, customer_id, message: row.message, time: Some(timestamp(row.time_ms)) })
}

/// How valued a customer is; bronze when it is not said, none for a value that this version does not know.
pub(crate) fn level(value: i32) -> Option<Level> {
    match pb::CustomerLevel::try_from(value).ok()? {
        pb::CustomerLevel::Unspecified | pb::CustomerLevel::Bronze => Some(Level::Bronze),
        pb::CustomerLevel::Silver => Some(Level::Silver),
        pb::CustomerLevel::Gold => Some(Level::Gold),
        pb::CustomerLevel::Platinum => Some(Level::Platinum),
    }
}

pub(crate) fn level_to_proto(level: Level) -> pb::CustomerLevel {
    match level {
        Level::Bronze => pb::CustomerLevel::Bronze,
        Level::Silver => pb::CustomerLevel::Silver,
        Level::Gold => pb::CustomerLevel::Gold,
        Level::Platinum => pb::CustomerLevel::Platinum,
    }
}

pub(crate) fn money(money: common::Money) -> Money {
    Money { currency: money.currency_code, minor_units: money.minor_units }
}

pub(crate) fn money_to_proto(money: Money) -> common::Money {
    common::Money { currency_code: money.currency, minor_units: money.minor_units }
}
