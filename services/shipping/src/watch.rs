//! What watches of shipments tell: decisions from the topic `shipments`, and snapshots from the owner's rows.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use proto::shipping::v1 as pb;
use service_host::token::ResumeToken;
use service_host::watch::{Plan, Row, Rows};
use service_host::{FieldFaults, Problem};
use task_runtime::{Content, Interest, Place, Record};
use tonic::metadata::MetadataMap;

use crate::domain::State;
use crate::grpc::{listed, shipment};
use crate::stores::{SHIPMENTS, WAITING};
use crate::wire;

/// What those who watch see of a record of `shipments`.
pub(crate) fn content(record: &Record, place: Place) -> Option<Content> {
    let change = wire::change(record.value.as_ref()?, place)?;
    Some(Content { group: Bytes::new(), class: change.state.unsigned_abs(), body: change.encode_to_vec().into() })
}

/// The watch of the shipments of one partition.
///
/// # Errors
/// INVALID_FIELD with every fault.
pub(crate) fn plan(
    mut faults: FieldFaults,
    request: pb::WatchShipmentsRequest,
    metadata: &MetadataMap,
) -> Result<Plan, Problem> {
    let state = wire::state_filter(request.state).unwrap_or_else(|()| {
        faults.add("state", "is no state of a shipment");
        None
    });
    let partition = Plan::partition_asked(metadata)?;
    let (fingerprint, token) = ResumeToken::of(&mut faults, &request, &request.resume_token, partition);
    faults.finish()?;
    let encoded = |found: Option<pb::Shipment>| found.map(|shipment| shipment.encode_to_vec().into());
    let (store, row): (_, Row) = match state {
        Some(State::Waiting) => (WAITING, Arc::new(move |view, key, _| Ok(encoded(shipment(view, key)?)))),
        state => (SHIPMENTS, Arc::new(move |_, key, row| Ok(encoded(listed(key, &row, state)?)))),
    };
    Ok(Plan {
        partition,
        interest: Interest { class: state.map(wire::class), ..Interest::default() },
        rows: Rows::Range { store, prefix: Vec::new(), row, event_key: |key| key },
        snapshot: request.snapshot,
        token,
        fingerprint,
    })
}
