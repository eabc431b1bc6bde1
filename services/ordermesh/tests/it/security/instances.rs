//! Two instances that trust each other, and strangers at the address where they meet.

use std::error::Error;
use std::path::Path;

use credentials::testing::{Authority, Issued};
use ordermesh::PeersTlsConfig;
use proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use proto::inventory::v1::{Fulfilment, GetProductRequest, Product, UpsertProductRequest};
use proto::mesh::v1::peer_service_client::PeerServiceClient;
use proto::mesh::v1::replica_service_client::ReplicaServiceClient;
use proto::mesh::v1::topology_service_client::TopologyServiceClient;
use proto::mesh::v1::{GetDigestsRequest, GetReplicaDigestsRequest, GetTopologyRequest, HeartbeatRequest};
use service_host::config::Secret;
use service_host::tls::ClientTls;
use service_host::{Code, Dialer, Problem};
use testkit::{Instances, Mesh};
use tonic::{Request, Status};

use crate::shop::PATIENCE;

const MESH: &str = "mesh.test";
const SECRET: &str = "a secret among instances";

/// Upserts at one instance and reads at the other, so many keys that most calls go from one to the other.
async fn trade(mesh: &Instances) {
    let (mut a, mut b) =
        (InventoryServiceClient::new(mesh.channel("a")), InventoryServiceClient::new(mesh.channel("b")));
    let mut served_by = std::collections::BTreeSet::new();
    for number in 0..12 {
        let product_id = format!("p-{number}");
        let product = Product {
            product_id: product_id.clone(),
            name: product_id.clone(),
            fulfilment: Fulfilment::MadeToOrder.into(),
            ..Default::default()
        };
        let mut upsert = Request::new(UpsertProductRequest { product: Some(product), request_id: product_id.clone() });
        upsert.set_timeout(PATIENCE);
        a.upsert_product(upsert).await.unwrap();
        let mut get = Request::new(GetProductRequest { product_id, ..Default::default() });
        get.set_timeout(PATIENCE);
        served_by.insert(b.get_product(get).await.unwrap().into_inner().served_by.unwrap().instance);
    }
    assert_eq!(served_by.len(), 2, "both own something: {served_by:?}");
}

/// Where an instance meets the others.
async fn door(mesh: &Instances, name: &str) -> String {
    let answer = TopologyServiceClient::new(mesh.channel("a")).get_topology(GetTopologyRequest {}).await.unwrap();
    let instances = answer.into_inner().topology.unwrap().instances;
    instances.into_iter().find(|instance| instance.instance == name).unwrap().address
}

fn digests() -> GetReplicaDigestsRequest {
    GetReplicaDigestsRequest { service: "inventory".to_owned() }
}

/// The instances look into each other's stores, and no client does so past a gateway.
async fn compare(mesh: &Instances) {
    let request = GetDigestsRequest { service: "inventory".to_owned() };
    let told = TopologyServiceClient::new(mesh.channel("a")).get_digests(request).await.unwrap().into_inner();
    // An owner and a standby of each of two partitions.
    assert_eq!((told.digests.len(), told.unreachable.len()), (4, 0), "{told:?}");
    let refused = ReplicaServiceClient::new(mesh.channel("a")).get_replica_digests(digests()).await.unwrap_err();
    assert_eq!(&*Problem::from(&refused).reason, "INTERNAL_METHOD");
    let misspelt = GetDigestsRequest { service: "inventories".to_owned() };
    let refused = TopologyServiceClient::new(mesh.channel("a")).get_digests(misspelt).await.unwrap_err();
    assert_eq!(&*Problem::from(&refused).reason, "INVALID_FIELD");
    assert!(refused.message().contains("inventory, "), "{refused:?}");
    let unnamed = GetDigestsRequest::default();
    let refused = TopologyServiceClient::new(mesh.channel("a")).get_digests(unnamed).await.unwrap_err();
    assert_eq!(&*Problem::from(&refused).reason, "INVALID_FIELD");
}

/// What internal methods and a public one are told at the address of the instances.
async fn knock(dialer: &Dialer, address: &str) -> Vec<Result<(), Status>> {
    let channel = dialer.channel(address).unwrap();
    let get = GetProductRequest { product_id: "p-0".to_owned(), ..Default::default() };
    vec![
        PeerServiceClient::new(channel.clone()).heartbeat(HeartbeatRequest { report: None }).await.map(drop),
        ReplicaServiceClient::new(channel.clone()).get_replica_digests(digests()).await.map(drop),
        InventoryServiceClient::new(channel).get_product(get).await.map(drop),
    ]
}

fn us(ca: &Path, issued: Option<&Issued>) -> Dialer {
    let us = issued.map(|issued| (issued.cert.as_path(), issued.key.as_path()));
    Dialer::over(Some(ClientTls::open(Some(ca), us).unwrap().named(MESH).unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_with_certificates_forward_calls_and_let_nobody_else_in() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(&directory.path().join("ours"));
    let instance = authority.issue("instance", &[MESH]);
    let mut config = Mesh::config();
    config.mesh.partitions = 2;
    config.peers.tls = PeersTlsConfig {
        ca_file: Some(authority.ca()),
        cert_file: Some(instance.cert.clone()),
        key_file: Some(instance.key.clone()),
        server_name: Some(MESH.to_owned()),
    };
    let mesh = Instances::start(config, &["a", "b"]).await;
    trade(&mesh).await;
    compare(&mesh).await;

    let address = door(&mesh, "b").await;
    assert!(knock(&us(&authority.ca(), Some(&instance)), &address).await[..2].iter().all(Result::is_ok));
    let stranger = Authority::new(&directory.path().join("theirs")).issue("instance", &[MESH]);
    for outsider in [Dialer::plain(), us(&authority.ca(), None), us(&authority.ca(), Some(&stranger))] {
        for answer in knock(&outsider, &address).await {
            assert!(answer.unwrap_err().source().is_some(), "{outsider:?} is not even talked to");
        }
    }
    // Of the same authority, but certified for something else.
    let client = authority.issue("client", &["shop.test"]);
    for answer in knock(&us(&authority.ca(), Some(&client)), &address).await {
        let refused = Problem::from(&answer.unwrap_err());
        assert_eq!((refused.code, &*refused.reason), (Code::PermissionDenied, "NOT_AN_INSTANCE"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_with_a_secret_forward_calls_and_refuse_who_does_not_show_it() {
    let mut config = Mesh::config();
    config.mesh.partitions = 2;
    config.peers.secret = Secret::new(SECRET);
    let mesh = Instances::start(config, &["a", "b"]).await;
    trade(&mesh).await;
    compare(&mesh).await;

    let address = door(&mesh, "b").await;
    let showing = |secret: &str| Dialer::plain().showing(&Secret::new(secret)).unwrap();
    assert!(knock(&showing(SECRET), &address).await[..2].iter().all(Result::is_ok));
    for outsider in
        [Dialer::plain(), showing("a guess"), showing(&SECRET.to_uppercase()), showing(&format!("{SECRET} "))]
    {
        for answer in knock(&outsider, &address).await {
            let refused = Problem::from(&answer.unwrap_err());
            assert_eq!((refused.code, &*refused.reason), (Code::Unauthenticated, "NOT_AN_INSTANCE"));
        }
    }
}
