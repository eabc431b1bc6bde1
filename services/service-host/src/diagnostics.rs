//! The services that every server offers beside its own: health, and reflection in both versions, since older tools ask
//! for v1alpha only.

use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

use crate::Api;

/// Says to the outside whether this process should be sent calls.
#[derive(Debug, Clone)]
pub struct Health(HealthReporter);

impl Health {
    /// Calls are welcome, for the whole process and for the named services, such as `ordermesh.orders.v1.OrderService`.
    pub async fn serving(&self, services: &[&str]) {
        self.set(services, ServingStatus::Serving).await;
    }

    /// Calls are not answered, before the start is complete and from the beginning of the drain.
    pub async fn not_serving(&self, services: &[&str]) {
        self.set(services, ServingStatus::NotServing).await;
    }

    async fn set(&self, services: &[&str], status: ServingStatus) {
        for service in services.iter().chain(&[""]) {
            self.0.set_service_status(service, status).await;
        }
    }
}

/// Routes with health and reflection, to add services to. Health says NOT_SERVING until it is told otherwise.
/// Reflection describes the whole API and this module's own services.
pub async fn routes(api: &Api) -> (Health, Routes) {
    let (reporter, health) = health_reporter();
    let reporter = Health(reporter);
    reporter.not_serving(&[]).await;
    let descriptors = || {
        let builder = tonic_reflection::server::Builder::configure();
        let builder = api.sets().fold(builder, tonic_reflection::server::Builder::register_encoded_file_descriptor_set);
        builder
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that tools can show the details of errors.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = descriptors().build_v1().expect("the compiler wrote the descriptor sets");
    let v1alpha = descriptors().build_v1alpha().expect("the compiler wrote the descriptor sets");
    (reporter, Routes::new(health).add_service(v1).add_service(v1alpha))
}
