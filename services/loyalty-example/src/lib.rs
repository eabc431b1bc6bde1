//! A service of one's own on the runtime of the mesh: points for customers who pay. Keyed by customer.
//!
//! It reads `order-payments` and owns `loyalty-points`. The guide through it is `docs/services-of-your-own.md`.

/// The API, generated from `proto/example/loyalty/v1/loyalty.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod api {
    tonic::include_proto!("example.loyalty.v1");
}
pub mod domain;
mod grpc;
mod processors;

use ordermesh::Addition;
use service_host::{Owner, Watches};
use task_runtime::{Definition, StoreId};

use api::loyalty_service_server::LoyaltyServiceServer;
pub use grpc::Loyalty;

/// Name of the service: its tasks, its role and its changelog are called after it.
pub const SERVICE: &str = "loyalty";
/// Every change of points, by customer: [`api::PointsChanged`].
pub const POINTS: &str = "loyalty-points";

/// Topic of payments: `ordermesh.payments.v1.OrderPaid`, by customer, once for each order that is paid in full.
const ORDER_PAYMENTS: &str = "order-payments";
/// `<customer_id>` -> [`api::PointsRow`].
const BALANCES: StoreId = StoreId::new(1, "balances");

/// What a loyalty task does.
#[must_use]
pub fn definition() -> Definition {
    Definition::new(SERVICE)
        .store(BALANCES)
        .output_of(POINTS, "example.loyalty.v1.PointsChanged")
        .input(ORDER_PAYMENTS, processors::earn)
        .command(processors::REDEEM, processors::redeem)
}

/// The service as a program takes it.
#[must_use]
pub fn addition() -> Addition {
    const API: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/loyalty.bin"));
    Addition::new(API, definition(), server)
}

fn server(owner: Owner, _: &Watches) -> LoyaltyServiceServer<Loyalty> {
    LoyaltyServiceServer::new(Loyalty::new(owner.keyed_by("customer_id")))
}
