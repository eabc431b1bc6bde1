//! Payments: what came in for each order, and whether that is what it costs. Keyed by order.
//!
//! It books payments, remembers those that come before their order, refuses other currencies, and tells once that an order
//! is paid in full: see [`domain`]. It reads `orders` and owns `payments` and `order-payments`: see [`topics`].

mod config;
pub mod domain;
mod grpc;
mod processors;
mod stores;
pub mod topics;
mod wire;

use proto::payments::v1::payment_service_server::PaymentServiceServer;
use service_host::Owner;
use task_runtime::Definition;

pub use config::Config;
pub use grpc::Payments;

/// Name of the service: its tasks, its role and its changelog are called after it.
pub const SERVICE: &str = "payments";
/// Topics that it writes, each with the message that its values are.
pub const TOPICS: [(&str, &str); 2] = [
    (topics::PAYMENTS, "ordermesh.payments.v1.PaymentEvent"),
    (topics::ORDER_PAYMENTS, "ordermesh.payments.v1.OrderPaid"),
];

/// What a payments task does.
#[must_use]
pub fn definition(config: &Config) -> Definition {
    let definition = TOPICS
        .iter()
        .fold(Definition::new(SERVICE), |definition, (topic, message)| definition.output_of(topic, message));
    let definition = definition.store(stores::ACCOUNTS);
    let definition = processors::orders::register(definition);
    processors::commands::register(definition, config)
}

/// The gRPC service in front of the tasks.
#[must_use]
pub fn server(owner: Owner) -> PaymentServiceServer<Payments> {
    PaymentServiceServer::new(Payments::new(owner.keyed_by("order_id")))
}
