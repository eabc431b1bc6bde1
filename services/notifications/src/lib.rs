//! Notifications: one e-mail for each order that is validated and paid in full and whose customer is known, and the
//! enriched orders by level. Keyed by customer.
//!
//! It brings order, payment and customer together in whatever order they come: see [`domain`]. That an e-mail is to be sent
//! is a committed entry of an outbox; the [`Courier`] sends after the commit and commits what came of it. It reads
//! `orders-by-customer`, `order-changes-by-customer`, `order-payments` and `customers`, and owns `orders-platinum`, `-gold`,
//! `-silver`, `-bronze` and `mails`: see [`topics`].

mod config;
mod courier;
pub mod domain;
mod grpc;
mod mail;
mod processors;
pub mod sender;
mod stores;
pub mod topics;
mod wire;

use proto::notifications::v1::notification_service_server::NotificationServiceServer;
use service_host::Owner;
use task_runtime::Definition;

pub use config::{Config, SenderKind, SmtpConfig, TlsMode};
pub use courier::Courier;
pub use grpc::Notifications;

/// Name of the service: its tasks, its role and its changelog are called after it.
pub const SERVICE: &str = "notifications";
/// Topics that it writes, each with the message that its values are.
pub const TOPICS: [(&str, &str); 5] = [
    (topics::ORDERS_PLATINUM, "ordermesh.notifications.v1.EnrichedOrder"),
    (topics::ORDERS_GOLD, "ordermesh.notifications.v1.EnrichedOrder"),
    (topics::ORDERS_SILVER, "ordermesh.notifications.v1.EnrichedOrder"),
    (topics::ORDERS_BRONZE, "ordermesh.notifications.v1.EnrichedOrder"),
    (topics::MAILS, "ordermesh.notifications.v1.MailEvent"),
];

/// What a notifications task does.
#[must_use]
pub fn definition(config: &Config) -> Definition {
    let definition = TOPICS
        .iter()
        .fold(Definition::new(SERVICE), |definition, (topic, message)| definition.output_of(topic, message));
    let definition = stores::ALL.iter().fold(definition, |definition, store| definition.store(*store));
    let definition = processors::orders::register(definition, config);
    let definition = processors::payments::register(definition, config);
    let definition = processors::customers::register(definition, config);
    processors::deliveries::register(definition, config)
}

/// The gRPC service in front of the tasks.
#[must_use]
pub fn server(owner: Owner, config: &Config) -> NotificationServiceServer<Notifications> {
    NotificationServiceServer::new(Notifications::new(owner.keyed_by("customer_id"), config.clone()))
}
