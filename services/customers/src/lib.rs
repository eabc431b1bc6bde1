//! Customers: who they are, what they may spend, what they have ordered, and the greetings that they were sent. Keyed by
//! customer.
//!
//! It decides the credit check of each order, and keeps what is reserved equal to what open orders hold, whatever comes in
//! whatever order: see [`domain`]. It reads `orders-by-customer`, `order-changes-by-customer` and `order-payments`, and owns
//! `customers`, `credit-verdicts` and `greetings`: see [`topics`].

mod config;
pub mod domain;
mod grpc;
mod processors;
mod stores;
pub mod topics;
mod wire;

use proto::customers::v1::customer_service_server::CustomerServiceServer;
use service_host::Owner;
use task_runtime::Definition;

pub use config::Config;
pub use grpc::Customers;

/// Name of the service: its tasks, its role and its changelog are called after it.
pub const SERVICE: &str = "customers";
/// Topics that it writes, each with the message that its values are.
pub const TOPICS: [(&str, &str); 3] = [
    (topics::CUSTOMERS, "ordermesh.customers.v1.CustomerEvent"),
    (topics::CREDIT_VERDICTS, "ordermesh.validation.v1.Verdict"),
    (topics::GREETINGS, "ordermesh.customers.v1.GreetingSent"),
];

/// What a customers task does.
#[must_use]
pub fn definition(_config: &Config) -> Definition {
    let definition = TOPICS
        .iter()
        .fold(Definition::new(SERVICE), |definition, (topic, message)| definition.output_of(topic, message));
    let definition = stores::ALL.iter().fold(definition, |definition, store| definition.store(*store));
    let definition = processors::commands::register(definition);
    let definition = processors::greet::register(definition);
    let definition = processors::placed::register(definition);
    let definition = processors::changes::register(definition);
    processors::payments::register(definition)
}

/// The gRPC service in front of the tasks.
#[must_use]
pub fn server(owner: Owner, config: &Config) -> CustomerServiceServer<Customers> {
    CustomerServiceServer::new(Customers::new(owner.keyed_by("customer_id"), config.clone()))
}
