//! Requests of clients. Everything wrong with one is told at once, each fault with its path.

use bytes::Bytes;
use prost::Message;
use proto::orders::v1 as api;
use service_host::input::{InputError, decode};
use service_host::{Call, FieldFaults, Problem, ReadBound, headers, validate};
use tonic::metadata::MetadataMap;

use super::{content, money_message, state, timestamp};
use crate::config::Config;
use crate::domain::{Content, Milestone, NoTotal, State};

/// Name of the command behind CreateOrder.
pub(crate) const CREATE: &str = "CreateOrder";
/// Name of the command behind CancelOrder.
pub(crate) const CANCEL: &str = "CancelOrder";

/// A CreateOrder that is well formed.
#[derive(Debug)]
pub(crate) struct Create {
    /// The order as the client wants it; its id is empty when the gateway made one.
    wanted: api::Order,
    /// What to wait for afterwards; none when the answer of the task is enough.
    pub(crate) wait_for: Option<Milestone>,
}

impl Create {
    /// Checks a request. Returns it with what its task gets.
    ///
    /// # Errors
    /// INVALID_FIELD with every fault.
    pub(crate) fn of(
        mut faults: FieldFaults,
        request: api::CreateOrderRequest,
        metadata: &MetadataMap,
        config: &Config,
    ) -> Result<(Self, Call), Problem> {
        validate::request_id(&mut faults, &request.request_id);
        let wait_for = milestone(&mut faults, request.wait_for).filter(|milestone| *milestone != Milestone::Created);
        let Some(order) = request.order else {
            faults.add("order", "must be set");
            return Err(faults.finish().err().unwrap_or_else(Problem::internal));
        };
        let made = metadata.get(headers::GENERATED_KEY).and_then(|key| key.to_str().ok()).unwrap_or_default();
        let order_id = if order.order_id.is_empty() { made } else { order.order_id.as_str() };
        validate::id(&mut faults, "order.order_id", order_id);
        let key = Bytes::copy_from_slice(order_id.as_bytes());
        let attachment = if order.order_id.is_empty() { key.clone() } else { Bytes::new() };
        content_faults(&mut faults, &order, config);
        faults.finish()?;
        // What a client may not decide is dropped, and so is no part of what must be equal in a repeat.
        let wanted = api::Order {
            order_id: order.order_id,
            customer_id: order.customer_id,
            lines: order.lines,
            ..api::Order::default()
        };
        let payload = wanted.encode_to_vec().into();
        let call = Call { name: CREATE, key, request_id: request.request_id, payload, attachment };
        Ok((Self { wanted, wait_for }, call))
    }

    /// The order as the task created it, from what it left out of its answer.
    pub(crate) fn created(self, reply: &api::CreateOrderReply) -> api::Order {
        let mut order = self.wanted;
        if order.order_id.is_empty() {
            order.order_id.clone_from(&reply.generated_order_id);
        }
        order.state = api::OrderState::Created.into();
        order.total = total(&order.lines).ok().map(money_message);
        order.create_time = Some(timestamp(reply.create_time_ms));
        order.update_time = order.create_time;
        order.etag = "1".to_owned();
        order
    }

    /// Id of the order, whoever made it.
    pub(crate) fn order_id<'a>(&'a self, reply: &'a api::CreateOrderReply) -> &'a str {
        if self.wanted.order_id.is_empty() { &reply.generated_order_id } else { &self.wanted.order_id }
    }
}

/// The order that a CreateOrder command wants: its id, whether the gateway made it, and its content.
pub(crate) fn wanted_order(payload: &Bytes, attachment: &Bytes) -> Result<(String, bool, Content), InputError> {
    let order: api::Order = decode("Order", payload.clone())?;
    let is_made = order.order_id.is_empty();
    let order_id = if is_made { String::from_utf8_lossy(attachment).into_owned() } else { order.order_id };
    Ok((order_id, is_made, content(order.customer_id, order.lines)))
}

/// The call of a CancelOrder that is well formed.
///
/// # Errors
/// INVALID_FIELD with every fault.
pub(crate) fn cancel(mut faults: FieldFaults, request: api::CancelOrderRequest) -> Result<Call, Problem> {
    validate::id(&mut faults, "order_id", &request.order_id);
    validate::text(&mut faults, "etag", &request.etag);
    validate::request_id(&mut faults, &request.request_id);
    faults.finish()?;
    let key = Bytes::copy_from_slice(request.order_id.as_bytes());
    let (request_id, wanted) =
        (request.request_id.clone(), api::CancelOrderRequest { request_id: String::new(), ..request });
    Ok(Call { name: CANCEL, key, request_id, payload: wanted.encode_to_vec().into(), attachment: Bytes::new() })
}

/// The order and the etag that a CancelOrder command speaks of.
pub(crate) fn wanted_cancellation(payload: &Bytes) -> Result<(String, String), InputError> {
    let request: api::CancelOrderRequest = decode("CancelOrderRequest", payload.clone())?;
    Ok((request.order_id, request.etag))
}

/// The version that an etag means; 0, which no order has, for what is no etag of ours.
pub(crate) fn version_of_etag(etag: &str) -> u64 {
    etag.parse().ok().filter(|version: &u64| version.to_string() == etag).unwrap_or(0)
}

/// Checks a GetOrder. Returns what it waits for, if it waits, and how fresh the answer must be.
///
/// # Errors
/// INVALID_FIELD with every fault.
pub(crate) fn get(
    mut faults: FieldFaults,
    request: &api::GetOrderRequest,
) -> Result<(Option<Milestone>, ReadBound), Problem> {
    validate::id(&mut faults, "order_id", &request.order_id);
    let milestone = milestone(&mut faults, request.wait_for);
    let bound = ReadBound::of(&mut faults, request.consistency.as_ref());
    faults.finish()?;
    Ok((milestone, bound))
}

/// Checks the filters of a list or a watch. Returns the state that is wanted, if one is.
pub(crate) fn filter(faults: &mut FieldFaults, wanted: i32, customer_id: &str) -> Option<State> {
    validate::optional_id(faults, "customer_id", customer_id);
    let state = state(wanted);
    if state.is_none() && wanted != i32::from(api::OrderState::Unspecified) {
        faults.add("state", "is not a state of an order");
    }
    state
}

fn milestone(faults: &mut FieldFaults, wait_for: i32) -> Option<Milestone> {
    match api::WaitFor::try_from(wait_for) {
        Ok(api::WaitFor::Unspecified) => None,
        Ok(api::WaitFor::Created) => Some(Milestone::Created),
        Ok(api::WaitFor::Validated) => Some(Milestone::Validated),
        Ok(api::WaitFor::Shipped) => Some(Milestone::Shipped),
        Err(_) => {
            faults.add("wait_for", "is not a state to wait for");
            None
        }
    }
}

fn content_faults(faults: &mut FieldFaults, order: &api::Order, config: &Config) {
    validate::id(faults, "order.customer_id", &order.customer_id);
    match order.lines.len() {
        0 => faults.add("order.lines", "must have at least one line"),
        lines if lines > config.lines_max => {
            faults.add("order.lines", format!("must have at most {} lines", config.lines_max));
        }
        _ => {}
    }
    for (index, line) in order.lines.iter().take(config.lines_max).enumerate() {
        // Paths are written for faulty lines only: this is the hot path.
        let mut of_line = FieldFaults::within(faults.limits());
        validate::id(&mut of_line, "product_id", &line.product_id);
        validate::money(&mut of_line, "unit_price", line.unit_price.as_ref());
        for fault in of_line.finish().err().map_or_else(Vec::new, |problem| problem.violations) {
            faults.add(format!("order.lines[{index}].{}", fault.field), fault.description);
        }
    }
    if total(&order.lines).is_err_and(|error| error == NoTotal::TooLarge) {
        faults.add("order.lines", "must amount to less than 2^63 minor units");
    }
}

fn total(lines: &[api::OrderLine]) -> Result<crate::domain::Money, NoTotal> {
    crate::domain::total(lines.iter().map(|line| {
        let price = line.unit_price.as_ref();
        (line.quantity, price.map_or(0, |price| price.minor_units), price.map_or("", |price| &price.currency_code))
    }))
}
