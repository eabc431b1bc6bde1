//! gRPC's own services are answered by the process itself.

use tonic::Code;

use crate::fixture::{Fixture, Scripted, framed};

#[tokio::test]
async fn health_and_reflection_pass_through() {
    let owner = Scripted::answering(&());
    let gateway = Fixture::new(&owner).await;
    for path in ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"] {
        assert_eq!(gateway.call_raw(path, &[], framed(b"")).await.status.code(), Code::Ok);
    }
    assert!(owner.seen().is_empty());
}
