//! Three instances of one mesh, each with a gateway: they answer as one, and go on when one of them goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use proto::inventory::v1::{Fulfilment, GetProductRequest, ListProductsRequest, Product, UpsertProductRequest};
use proto::mesh::v1::topology_service_client::TopologyServiceClient;
use proto::mesh::v1::{GetTopologyRequest, Role, Topology, WatchTopologyRequest};
use testkit::{Instances, Mesh};
use tonic::transport::Channel;
use tonic::{Request, Status};

const NAMES: [&str; 3] = ["a", "b", "c"];

async fn three() -> Instances {
    let mut config = Mesh::config();
    config.mesh.partitions = 3;
    Instances::start(config, &NAMES).await
}

fn product(product_id: &str) -> UpsertProductRequest {
    let product = Product {
        product_id: product_id.to_owned(),
        name: product_id.to_owned(),
        fulfilment: Fulfilment::MadeToOrder.into(),
        ..Default::default()
    };
    UpsertProductRequest { product: Some(product), request_id: format!("upsert-{product_id}") }
}

fn within<T>(message: T, time: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(time);
    request
}

async fn upsert(channel: &Channel, product_id: &str) -> Result<(), Status> {
    let mut inventory = InventoryServiceClient::new(channel.clone());
    inventory.upsert_product(within(product(product_id), Duration::from_secs(20))).await.map(|_| ())
}

async fn topology(channel: Channel) -> Topology {
    let answer = TopologyServiceClient::new(channel).get_topology(GetTopologyRequest {}).await.unwrap();
    answer.into_inner().topology.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_is_answered_by_its_owner_wherever_it_is_asked() {
    let mesh = three().await;
    let ids: Vec<String> = (0..12).map(|n| format!("p-{n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        upsert(&mesh.channel(NAMES[n % 3]), id).await.unwrap();
    }
    let mut owners: BTreeMap<i32, String> = BTreeMap::new();
    for name in NAMES {
        let mut inventory = InventoryServiceClient::new(mesh.channel(name));
        for id in &ids {
            let request = GetProductRequest { product_id: id.clone(), ..Default::default() };
            let answer = inventory.get_product(request).await.unwrap().into_inner();
            assert_eq!(answer.product.unwrap().product_id, *id);
            let by = answer.served_by.unwrap();
            assert_eq!(by.role(), Role::Active);
            assert_eq!(owners.entry(by.partition).or_insert_with(|| by.instance.clone()), &by.instance);
        }
        let request = ListProductsRequest { require_complete: true, ..Default::default() };
        let listed = inventory.list_products(request).await.unwrap().into_inner();
        assert_eq!((listed.products.len(), listed.unreachable.len()), (ids.len(), 0), "{name}");
    }
    let instances: std::collections::BTreeSet<&String> = owners.values().collect();
    assert_eq!(instances.len(), 3, "three partitions on three instances: {owners:?}");

    let topology = topology(mesh.channel("b")).await;
    assert_eq!((topology.seen_by.as_str(), topology.instances.len(), topology.partitions), ("b", 3, 3));
    for task in &topology.tasks {
        let active = task.replicas.iter().filter(|replica| replica.role() == Role::Active).count();
        assert_eq!((active, task.replicas.len()), (1, 2), "{task:?}");
        if task.service == "inventory" {
            assert_eq!(owners[&task.partition], task.owner);
        }
    }
}

/// Changes products through one gateway, one after the other, until it is told to stop; counts the errors.
async fn change(
    channel: Channel,
    worker: usize,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
) -> Result<Duration, Status> {
    let mut longest = Duration::ZERO;
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        upsert(&channel, &format!("w{worker}-{n}")).await?;
        longest = longest.max(begin.elapsed());
        done.fetch_add(1, Ordering::Relaxed);
        n += 1;
    }
    Ok(longest)
}

/// Does something to the mesh while clients of two gateways change things; returns the longest call.
async fn under_load(mesh: &mut Instances, act: impl AsyncFnOnce(&mut Instances)) -> Duration {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let workers: Vec<_> =
        (0..6).map(|n| tokio::spawn(change(mesh.channel(NAMES[n % 2]), n, stop.clone(), done.clone()))).collect();
    let more = async |count: usize| {
        let goal = done.load(Ordering::Relaxed) + count;
        while done.load(Ordering::Relaxed) < goal && !workers.iter().all(|worker| worker.is_finished()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    more(60).await;
    act(mesh).await;
    more(60).await;
    stop.store(true, Ordering::Relaxed);
    let mut longest = Duration::ZERO;
    for worker in workers {
        longest = longest.max(worker.await.unwrap().unwrap());
    }
    longest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_when_an_instance_leaves_and_comes_back() {
    let mut mesh = three().await;
    let longest = under_load(&mut mesh, async |mesh: &mut Instances| {
        mesh.stop("c").await;
        mesh.settled().await;
        mesh.add("c").await;
        mesh.settled().await;
    })
    .await;
    assert!(longest < Duration::from_secs(5), "a call took {longest:?}");
    assert_eq!(topology(mesh.channel("a")).await.instances.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_when_an_instance_dies() {
    let mut mesh = three().await;
    let longest = under_load(&mut mesh, async |mesh: &mut Instances| mesh.kill("c").await).await;
    assert!(longest < Duration::from_secs(15), "a call took {longest:?}");
    let topology = topology(mesh.channel("a")).await;
    assert!(topology.tasks.iter().all(|task| task.owner == "a" || task.owner == "b"), "{topology:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_of_the_topology_shows_what_changes() {
    let mut mesh = three().await;
    let mut watch = TopologyServiceClient::new(mesh.channel("a"));
    let mut seen = watch.watch_topology(WatchTopologyRequest {}).await.unwrap().into_inner();
    let owners_of_c = |topology: &Topology| topology.tasks.iter().filter(|task| task.owner == "c").count();
    let first = seen.message().await.unwrap().unwrap().topology.unwrap();
    assert!(owners_of_c(&first) > 0);
    mesh.stop("c").await;
    let without_c = async { while owners_of_c(&seen.message().await.unwrap().unwrap().topology.unwrap()) > 0 {} };
    tokio::time::timeout(Duration::from_secs(30), without_c).await.expect("c is seen to have left");
}
