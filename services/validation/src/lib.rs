//! Validation: judges each created order by several checks and concludes from their verdicts.
//!
//! It decides whether an order is fit to be fulfilled, from `orders` (DETAILS), `orders-by-customer` (FRAUD, velocity),
//! `inventory-verdicts` and `credit-verdicts`, and alone writes `order-verdicts` and `order-validations`. A task is keyed by order_id for the
//! aggregation and by customer_id for FRAUD; both live in the task of their partition. The rules stand in [`domain`].

mod config;
pub mod domain;
mod grpc;
mod processors;
mod stores;
pub mod topics;
mod wire;

use proto::validation::v1::validation_service_server::ValidationServiceServer;
use service_host::Owner;
use task_runtime::Definition;

pub use config::{Config, RequiredCheck};
pub use grpc::Validations;

/// Name of the service: its tasks, its role and its changelog are called after it.
pub const SERVICE: &str = "validation";

/// Topics that validation writes, each with the message that its values are.
pub const TOPICS: [(&str, &str); 2] = [
    (topics::ORDER_VERDICTS, "ordermesh.validation.v1.Verdict"),
    (topics::ORDER_VALIDATIONS, "ordermesh.validation.v1.ValidationEvent"),
];

/// What a validation task does.
#[must_use]
pub fn definition(config: &Config) -> Definition {
    let mut definition =
        stores::ALL.iter().fold(Definition::new(SERVICE), |definition, store| definition.store(*store));
    for (topic, message) in TOPICS {
        definition = definition.output_of(topic, message);
    }
    definition = processors::aggregate::register(definition, config);
    definition = processors::fraud::register(definition, config);
    processors::timeout::register(definition, config)
}

/// The gRPC service in front of the tasks.
#[must_use]
pub fn server(owner: Owner, config: &Config) -> ValidationServiceServer<Validations> {
    ValidationServiceServer::new(Validations::new(owner.keyed_by("order_id"), config))
}
