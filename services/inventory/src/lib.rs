//! Inventory: products, their stock, and what order lines hold of it. Keyed by product.
//!
//! It decides the inventory check of each order line, and keeps `0 <= reserved <= stock` whatever comes in whatever order:
//! see [`domain`]. It reads `stock-requests` and owns `products` and `inventory-verdicts`: see [`topics`].

mod config;
pub mod domain;
mod grpc;
mod processors;
mod stores;
pub mod topics;
mod wire;

use proto::inventory::v1::inventory_service_server::InventoryServiceServer;
use service_host::Owner;
use task_runtime::Definition;

pub use config::Config;
pub use grpc::Inventory;

/// Name of the service: its tasks, its role and its changelog are called after it.
pub const SERVICE: &str = "inventory";
/// Topics that it writes, each with the message that its values are.
pub const TOPICS: [(&str, &str); 2] = [
    (topics::PRODUCTS, "ordermesh.inventory.v1.ProductEvent"),
    (topics::INVENTORY_VERDICTS, "ordermesh.validation.v1.Verdict"),
];

/// What an inventory task does.
#[must_use]
pub fn definition(config: &Config) -> Definition {
    let definition = TOPICS
        .iter()
        .fold(Definition::new(SERVICE), |definition, (topic, message)| definition.output_of(topic, message));
    let definition = stores::ALL.iter().fold(definition, |definition, store| definition.store(*store));
    let definition = processors::commands::register(definition);
    let definition = processors::requests::register(definition, config);
    processors::sweep::register(definition, config)
}

/// The gRPC service in front of the tasks.
#[must_use]
pub fn server(owner: Owner, config: &Config) -> InventoryServiceServer<Inventory> {
    InventoryServiceServer::new(Inventory::new(owner.keyed_by("product_id"), config.clone()))
}
