//! Shipping: each order leaves the house once, when everything of it is there. Keyed by order.
//!
//! It brings together what a validated order needs and what is made for it, in any order of arrival, and decides between
//! shipping and cancelling: see [`domain`]. It reads `orders` and `manufactured` and owns `shipments`: see [`topics`].

mod config;
pub mod domain;
mod grpc;
mod processors;
mod stores;
pub mod topics;
mod watch;
mod wire;

use proto::shipping::v1::shipping_service_server::ShippingServiceServer;
use service_host::watch::Watched;
use service_host::{Owner, Watches};
use task_runtime::Definition;

pub use config::Config;
pub use grpc::Shipping;

/// Name of the service: its tasks, its role and its changelog are called after it.
pub const SERVICE: &str = "shipping";
/// Topics that it writes, each with the message that its values are.
pub const TOPICS: [(&str, &str); 1] = [(topics::SHIPMENTS, "ordermesh.shipping.v1.ShipmentEvent")];

/// What a shipping task does. Nothing of it can be chosen yet; every service has the same shape.
#[must_use]
pub fn definition(_config: &Config) -> Definition {
    let definition = TOPICS
        .iter()
        .fold(Definition::new(SERVICE), |definition, (topic, message)| definition.output_of(topic, message));
    let definition = stores::ALL.iter().fold(definition, |definition, store| definition.store(*store));
    let definition = processors::orders::register(definition);
    processors::manufactured::register(definition)
}

/// The gRPC service in front of the tasks.
#[must_use]
pub fn server(owner: Owner, watches: &Watches, config: &Config) -> Watched<ShippingServiceServer<Shipping>> {
    let shipping = Shipping::new(owner.keyed_by("order_id"), watches, config.clone());
    let watched = shipping.clone();
    Watched::new(ShippingServiceServer::new(shipping)).watch("WatchShipments", move |metadata, request| {
        let shipping = watched.clone();
        async move { shipping.open(&metadata, request).await }
    })
}
