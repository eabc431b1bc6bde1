//! What watches of orders tell: changes from the topic `orders`, and snapshots from the owner's rows.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use proto::orders::v1 as api;
use service_host::token::ResumeToken;
use service_host::watch::{Plan, Row, Rows};
use service_host::{FieldFaults, Problem, owner, validate};
use task_runtime::{Content, Interest, Place, Record, StoreId, View};
use tonic::metadata::MetadataMap;

use crate::domain::{Order, State};
use crate::stores;
use crate::wire::{self, changes, order_message, requests};

/// What those who watch see of a record of `orders`; nothing of what clients do not see.
pub(crate) fn content(record: &Record, place: Place) -> Option<Content> {
    let change = changes::change(record.value.as_ref()?, place)?;
    let group = Bytes::copy_from_slice(change.customer_id.as_bytes());
    let class = change.state.unsigned_abs();
    Some(Content { group, class, body: change.encode_to_vec().into() })
}

/// The watch of one order.
///
/// # Errors
/// INVALID_FIELD with every fault.
pub(crate) fn of_one(
    mut faults: FieldFaults,
    request: api::WatchOrderRequest,
    partition: u32,
) -> Result<Plan, Problem> {
    validate::id(&mut faults, "order_id", &request.order_id);
    let (fingerprint, token) = ResumeToken::of(&mut faults, &request, &request.resume_token, partition);
    faults.finish()?;
    let key = Bytes::copy_from_slice(request.order_id.as_bytes());
    let missing = Problem::not_found("order", &request.order_id);
    let row: Row = Arc::new(|_, key, row| item(key, row, None));
    Ok(Plan {
        partition,
        interest: Interest { key: Some(key.clone()), ..Interest::default() },
        rows: Rows::One { store: stores::ORDERS, key, row, missing },
        snapshot: request.snapshot,
        token,
        fingerprint,
    })
}

/// The watch of the orders of one partition.
///
/// # Errors
/// INVALID_FIELD with every fault.
pub(crate) fn of_many(
    mut faults: FieldFaults,
    request: api::WatchOrdersRequest,
    metadata: &MetadataMap,
) -> Result<Plan, Problem> {
    let partition = Plan::partition_asked(metadata)?;
    let state = requests::filter(&mut faults, request.state, &request.customer_id);
    let (fingerprint, token) = ResumeToken::of(&mut faults, &request, &request.resume_token, partition);
    faults.finish()?;
    let of_customer = !request.customer_id.is_empty();
    let customer_id = of_customer.then(|| Bytes::copy_from_slice(request.customer_id.as_bytes()));
    let rows = match (of_customer, state.and_then(stores::state_prefix)) {
        (true, _) => {
            let prefix = stores::customer_prefix(&request.customer_id);
            indexed(stores::BY_CUSTOMER, prefix, stores::order_of_customer_key, state)
        }
        (false, Some(prefix)) => indexed(stores::BY_STATE, prefix, stores::order_of_state_key, state),
        (false, None) => {
            let row: Row = Arc::new(move |_, key, row| item(key, row, state));
            Rows::Range { store: stores::ORDERS, prefix: Vec::new(), row, event_key: |key| key }
        }
    };
    Ok(Plan {
        partition,
        interest: Interest { key: None, group: customer_id, class: state.map(wire::class) },
        rows,
        snapshot: request.snapshot,
        token,
        fingerprint,
    })
}

/// The orders of an index.
fn indexed(store: StoreId, prefix: Vec<u8>, order_of: fn(&[u8]) -> &[u8], state: Option<State>) -> Rows {
    let row: Row = Arc::new(move |view: &View<'_>, key, _| {
        let order_id = order_of(key);
        let row = owner::row(view, stores::ORDERS, order_id)?;
        row.map_or(Ok(None), |row| item(order_id, row, state))
    });
    Rows::Range { store, prefix, row, event_key: order_of }
}

/// An order of a snapshot, if it is in the wanted state.
fn item(order_id: &[u8], row: Bytes, state: Option<State>) -> Result<Option<Bytes>, Problem> {
    let order: Order = wire::order_of_row(row).map_err(|error| owner::unreadable("order row", &error))?;
    if state.is_some_and(|state| state != order.state) {
        return Ok(None);
    }
    Ok(Some(order_message(&String::from_utf8_lossy(order_id), &order).encode_to_vec().into()))
}
