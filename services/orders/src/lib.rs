//! Orders: takes them, keeps their state, and lets clients see, cancel and list them.
//!
//! It decides what becomes of an order from what the others say: validation (`order-validations`), manufacturing
//! (`manufactured`) and shipping (`shipments`); what is paid (`payments`) and mailed (`mails`) it keeps for the history. It alone writes `orders`, `orders-by-customer`, `order-changes-by-customer`
//! and `stock-requests`. A task is keyed by order_id. The rules stand in [`domain`].

mod config;
pub mod domain;
mod grpc;
mod history;
mod processors;
mod stores;
pub mod topics;
mod watch;
mod wire;

use proto::orders::v1::order_service_server::OrderServiceServer;
use service_host::watch::Watched;
use service_host::{Owner, Watches};
use task_runtime::Definition;

pub use config::Config;
pub use grpc::Orders;

/// Name of the service: its tasks, its role and its changelog are called after it.
pub const SERVICE: &str = "orders";

/// Topics that orders writes, each with the message that its values are.
pub const TOPICS: [(&str, &str); 4] = [
    (topics::ORDERS, "ordermesh.orders.v1.OrderEvent"),
    (topics::ORDERS_BY_CUSTOMER, "ordermesh.orders.v1.OrderPlaced"),
    (topics::ORDER_CHANGES_BY_CUSTOMER, "ordermesh.orders.v1.CustomerOrderChanged"),
    (topics::STOCK_REQUESTS, "ordermesh.orders.v1.StockRequest"),
];

/// What an orders task does.
#[must_use]
pub fn definition(_config: &Config) -> Definition {
    let mut definition = Definition::new(SERVICE)
        .store(stores::ORDERS)
        .store(stores::BY_CUSTOMER)
        .store(stores::BY_STATE)
        .store(stores::EARLY);
    for (topic, message) in TOPICS {
        definition = definition.output_of(topic, message);
    }
    definition = processors::create::register(definition);
    definition = processors::cancel::register(definition);
    definition = processors::settle::register(definition);
    definition = processors::manufacture::register(definition);
    definition = processors::ship::register(definition);
    processors::remember::register(definition)
}

/// The gRPC service in front of the tasks.
#[must_use]
pub fn server(owner: Owner, watches: &Watches, config: &Config) -> Watched<OrderServiceServer<Orders>> {
    let orders = Orders::new(owner.keyed_by("order_id"), watches, config.clone());
    let (one, many) = (orders.clone(), orders.clone());
    Watched::new(OrderServiceServer::new(orders))
        .watch("WatchOrder", move |_, request| {
            let orders = one.clone();
            async move { orders.open_one(request).await }
        })
        .watch("WatchOrders", move |metadata, request| {
            let orders = many.clone();
            async move { orders.open_many(&metadata, request).await }
        })
}
