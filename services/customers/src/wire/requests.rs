//! Requests of clients. Everything wrong with one is told at once, each fault with its path.

use bytes::Bytes;
use prost::Message;
use proto::common::v1 as common;
use proto::customers::v1 as pb;
use service_host::{Call, FieldFaults, Problem, headers, validate};
use tonic::metadata::MetadataMap;

use super::{level, level_to_proto, money};
use crate::domain::profile::{Changes, Profile};

/// Name of the command behind CreateCustomer; its payload is the request.
pub(crate) const CREATE: &str = "CreateCustomer";
/// Name of the command behind UpdateCustomer; its payload is the request.
pub(crate) const UPDATE: &str = "UpdateCustomer";
/// Name of the command behind SetCreditLimit; its payload is the request.
pub(crate) const SET_CREDIT_LIMIT: &str = "SetCreditLimit";
/// Name of the command behind SendGreeting; its payload is the request, its attachment the id of a greeting to everyone.
pub(crate) const GREET: &str = "SendGreeting";

/// Names all fields that UpdateCustomer can change.
const ALL_FIELDS: &str = "*";

/// The call of a CreateCustomer that is well formed.
///
/// # Errors
/// INVALID_FIELD with every fault.
pub(crate) fn create(mut faults: FieldFaults, mut request: pb::CreateCustomerRequest) -> Result<Call, Problem> {
    let customer = request.customer.take();
    let mut customer = check_customer(&mut faults, customer, &request.request_id)?;
    faults.finish()?;
    // What a client does not decide here must not make a repeat look different.
    customer.etag.clear();
    customer.level = level_to_proto(level(customer.level).unwrap_or_default()).into();
    let request_id = std::mem::take(&mut request.request_id);
    let customer_id = customer.customer_id.clone();
    Ok(call(CREATE, &customer_id, request_id, &pb::CreateCustomerRequest { customer: Some(customer), ..request }))
}

/// The call of an UpdateCustomer that is well formed.
///
/// # Errors
/// INVALID_FIELD with every fault.
pub(crate) fn update(mut faults: FieldFaults, mut request: pb::UpdateCustomerRequest) -> Result<Call, Problem> {
    let customer = request.customer.take();
    let customer = check_customer(&mut faults, customer, &request.request_id)?;
    validate::text(&mut faults, "customer.etag", &customer.etag);
    for path in request.update_mask.iter().flat_map(|mask| &mask.paths) {
        if path != ALL_FIELDS && change(&mut Changes::default(), path, &customer).is_none() {
            faults.add("update_mask", format!("names {path:?}, which is no field that can be changed"));
        }
    }
    faults.finish()?;
    let request_id = std::mem::take(&mut request.request_id);
    let customer_id = customer.customer_id.clone();
    Ok(call(UPDATE, &customer_id, request_id, &pb::UpdateCustomerRequest { customer: Some(customer), ..request }))
}

/// The call of a SetCreditLimit that is well formed.
///
/// # Errors
/// INVALID_FIELD with every fault.
pub(crate) fn set_credit_limit(
    mut faults: FieldFaults,
    mut request: pb::SetCreditLimitRequest,
) -> Result<Call, Problem> {
    validate::id(&mut faults, "customer_id", &request.customer_id);
    validate::text(&mut faults, "etag", &request.etag);
    validate::request_id(&mut faults, &request.request_id);
    if validate::money(&mut faults, "credit_limit", request.credit_limit.as_ref()).is_some() {
        check_limit(&mut faults, "credit_limit", request.credit_limit.as_ref());
    }
    faults.finish()?;
    let request_id = std::mem::take(&mut request.request_id);
    let customer_id = request.customer_id.clone();
    Ok(call(SET_CREDIT_LIMIT, &customer_id, request_id, &request))
}

/// The call of a SendGreeting that is well formed.
///
/// # Errors
/// INVALID_FIELD with every fault.
pub(crate) fn greet(
    mut faults: FieldFaults,
    mut request: pb::SendGreetingRequest,
    metadata: &MetadataMap,
) -> Result<Call, Problem> {
    let made = metadata.get(headers::GENERATED_KEY).and_then(|key| key.to_str().ok()).unwrap_or_default();
    let is_to_everyone = request.customer_id.is_empty();
    let key = if is_to_everyone { made.to_owned() } else { request.customer_id.clone() };
    validate::id(&mut faults, "customer_id", &key);
    validate::required_text(&mut faults, "message", &request.message);
    validate::request_id(&mut faults, &request.request_id);
    faults.finish()?;
    let request_id = std::mem::take(&mut request.request_id);
    let attachment = if is_to_everyone { Bytes::copy_from_slice(key.as_bytes()) } else { Bytes::new() };
    Ok(Call { attachment, ..call(GREET, &key, request_id, &request) })
}

/// Who the customer of a request is.
pub(crate) fn profile(customer: &pb::Customer) -> Profile {
    let pb::Customer { first_name, last_name, email, phone, address, .. } = customer.clone();
    Profile { first_name, last_name, email, phone, address, level: level(customer.level).unwrap_or_default() }
}

/// What an UpdateCustomer changes.
pub(crate) fn changes(customer: &pb::Customer, paths: &[String]) -> Changes {
    const FIELDS: [&str; 7] = ["first_name", "last_name", "email", "phone", "address", "level", "credit_limit"];
    let mut changes = Changes::default();
    let is_named = |field: &str| match paths {
        [] => is_set(customer, field),
        paths => paths.iter().any(|path| path == field || path == ALL_FIELDS),
    };
    for field in FIELDS.into_iter().filter(|field| is_named(field)) {
        // All of them are fields that can be changed.
        let _ = change(&mut changes, field, customer);
    }
    changes
}

/// Notes the new value of a field; none when there is no such field, or it cannot be changed.
fn change(changes: &mut Changes, field: &str, customer: &pb::Customer) -> Option<()> {
    match field {
        "first_name" => changes.first_name = Some(customer.first_name.clone()),
        "last_name" => changes.last_name = Some(customer.last_name.clone()),
        "email" => changes.email = Some(customer.email.clone()),
        "phone" => changes.phone = Some(customer.phone.clone()),
        "address" => changes.address = Some(customer.address.clone()),
        "level" => changes.level = Some(level(customer.level).unwrap_or_default()),
        "credit_limit" => changes.credit_limit = Some(customer.credit_limit.clone().map(money)),
        _ => return None,
    }
    Some(())
}

/// Whether a field of a request holds anything.
fn is_set(customer: &pb::Customer, field: &str) -> bool {
    match field {
        "first_name" => !customer.first_name.is_empty(),
        "last_name" => !customer.last_name.is_empty(),
        "email" => !customer.email.is_empty(),
        "phone" => !customer.phone.is_empty(),
        "address" => !customer.address.is_empty(),
        "level" => customer.level != 0,
        "credit_limit" => customer.credit_limit.is_some(),
        _ => false,
    }
}

/// The customer of a request without its output-only fields, with its faults noted.
fn check_customer(
    faults: &mut FieldFaults,
    customer: Option<pb::Customer>,
    request_id: &str,
) -> Result<pb::Customer, Problem> {
    validate::request_id(faults, request_id);
    let Some(customer) = customer else {
        faults.add("customer", "must be set");
        return Err(std::mem::take(faults).finish().expect_err("a fault was just added"));
    };
    validate::id(faults, "customer.customer_id", &customer.customer_id);
    one_line(faults, "customer.first_name", &customer.first_name);
    one_line(faults, "customer.last_name", &customer.last_name);
    one_line(faults, "customer.email", &customer.email);
    if !customer.email.is_empty() && !is_email(&customer.email) {
        faults.add("customer.email", "must be an e-mail address such as ada@example.org");
    }
    one_line(faults, "customer.phone", &customer.phone);
    validate::text(faults, "customer.address", &customer.address);
    if level(customer.level).is_none() {
        faults.add("customer.level", "is not a level of customers");
    }
    if customer.credit_limit.is_some() {
        validate::money(faults, "customer.credit_limit", customer.credit_limit.as_ref());
        check_limit(faults, "customer.credit_limit", customer.credit_limit.as_ref());
    }
    Ok(pb::Customer { credit_reserved: None, credit_available: None, credit_reserved_others: Vec::new(), ..customer })
}

fn check_limit(faults: &mut FieldFaults, field: &str, limit: Option<&common::Money>) {
    if limit.is_some_and(|limit| limit.minor_units < 0) {
        faults.add(format!("{field}.minor_units"), "must not be negative");
    }
}

/// A text that may end up in the head of a message, where a line break would begin another line of it.
fn one_line(faults: &mut FieldFaults, field: &str, value: &str) {
    validate::text(faults, field, value);
    if value.chars().any(char::is_control) {
        faults.add(field, "must not have line breaks or other control characters");
    }
}

/// Whether it looks like an address. Whether it is one only sending tells.
fn is_email(value: &str) -> bool {
    let mut parts = value.split('@');
    let is_part = |part: Option<&str>| part.is_some_and(|part| !part.is_empty());
    is_part(parts.next()) && is_part(parts.next()) && parts.next().is_none() && !value.contains(char::is_whitespace)
}

/// The command of a request whose request id was taken out.
fn call(name: &'static str, key: &str, request_id: String, request: &impl Message) -> Call {
    let key = Bytes::copy_from_slice(key.as_bytes());
    Call { name, key, request_id, payload: request.encode_to_vec().into(), attachment: Bytes::new() }
}
