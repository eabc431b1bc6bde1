//! Records of the topic `orders`, as those see them who watch.

use bytes::Bytes;
use prost::Message;
use proto::orders::v1 as api;
use proto::orders::v1::order_event::Event;
use task_runtime::Place;

/// The change that a record tells; none for what clients do not see, or what is no event.
pub(crate) fn change(value: &Bytes, place: Place) -> Option<api::OrderChange> {
    let event = match api::OrderEvent::decode(value.clone()) {
        Ok(event) => event,
        Err(error) => {
            let Place { partition, sequence } = place;
            tracing::error!(partition, sequence, %error, "a record of orders is no event, and is left out of watches");
            return None;
        }
    };
    let (mut reasons, mut order) = (Vec::new(), None);
    match event.event {
        // The version stays: clients do not see it.
        Some(Event::CancellationRequested(_)) => return None,
        Some(Event::Created(created)) => order = created.order,
        Some(Event::Rejected(rejected)) => reasons = rejected.reasons,
        Some(Event::ReasonsAdded(added)) => reasons = added.reasons,
        // Of a kind that a newer version writes, what stands beside it tells enough.
        _ => {}
    }
    Some(api::OrderChange {
        order_id: event.order_id,
        customer_id: event.customer_id,
        state: event.state,
        etag: event.version.to_string(),
        time: event.time,
        reasons,
        order,
        partition: i32::try_from(place.partition).unwrap_or(i32::MAX),
        sequence: i64::try_from(place.sequence).unwrap_or(i64::MAX),
    })
}
