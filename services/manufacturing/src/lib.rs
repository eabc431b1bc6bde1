//! Manufacturing: what has to be made for each order, and what is made of it. Keyed by order.
//!
//! It opens a work order for each validated order with lines that are made to order, takes reports of what was made, also
//! before the order is known, refuses them for orders without a work order, and has an automatic workshop: see [`domain`]. It reads `orders` and owns `manufactured`:
//! see [`topics`].

mod config;
pub mod domain;
mod grpc;
mod processors;
mod stores;
pub mod topics;
mod wire;

use proto::manufacturing::v1::manufacturing_service_server::ManufacturingServiceServer;
use service_host::Owner;
use task_runtime::Definition;

pub use config::Config;
pub use grpc::Manufacturing;

/// Name of the service: its tasks, its role and its changelog are called after it.
pub const SERVICE: &str = "manufacturing";
/// Topics that it writes, each with the message that its values are.
pub const TOPICS: [(&str, &str); 1] = [(topics::MANUFACTURED, "ordermesh.manufacturing.v1.ManufacturingEvent")];

/// What a manufacturing task does.
#[must_use]
pub fn definition(config: &Config) -> Definition {
    let definition = TOPICS
        .iter()
        .fold(Definition::new(SERVICE), |definition, (topic, message)| definition.output_of(topic, message));
    let definition = stores::ALL.iter().fold(definition, |definition, store| definition.store(*store));
    let definition = processors::orders::register(definition, config);
    let definition = processors::reports::register(definition, config);
    let definition = processors::sweep::register(definition, config);
    processors::workshop::register(definition, config)
}

/// The gRPC service in front of the tasks.
#[must_use]
pub fn server(owner: Owner, config: &Config) -> ManufacturingServiceServer<Manufacturing> {
    ManufacturingServiceServer::new(Manufacturing::new(owner.keyed_by("order_id"), config.clone()))
}
