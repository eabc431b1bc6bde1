//! Acceptance case 27: the broker dies and comes back, and the mesh goes on by itself.

use std::time::{Duration, Instant};

use proto::orders::v1::{OrderState, WaitFor};
use service_host::Problem;
use tonic::Code;

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{Cluster, GATEWAY, unique};
use crate::shop::{PATIENCE, Shop, eventually, named, order, timed};

/// How long a mesh may take to work again once its broker answers.
const RECOVERY_MAX: Duration = Duration::from_secs(30);
/// The longest that a broker may be away: it starts in a minute and a half at the most, as `tools/kafka.sh` asks of it.
const OUTAGE_MAX: Duration = Duration::from_secs(120);
/// Orders of a phase.
const ORDERS: usize = 10;

/// Orders until it is judged, as a client does who repeats what was refused for the moment, for so long.
async fn insist(shop: &Shop, product: &str, patience: Duration) -> String {
    let (order_id, customer) = (unique("o"), unique("c"));
    let begin = Instant::now();
    loop {
        let wanted = named(&order_id, order(&customer, &[(product, 1)]));
        let judged = async {
            shop.create_as(wanted, &order_id).await?;
            shop.wait(&order_id, WaitFor::Validated).await
        };
        match judged.await {
            Ok(judged) => {
                assert!(matches!(judged.state(), OrderState::Validated | OrderState::Shipped), "{judged:?}");
                return order_id;
            }
            Err(status) => {
                let is_for_now = matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded);
                assert!(is_for_now && begin.elapsed() < patience, "{status:?}");
            }
        }
    }
}

/// Orders with more patience than the mesh has with its log.
async fn refused_before_its_deadline(shop: &Shop, product: &str) {
    let (order_id, begin) = (unique("o"), Instant::now());
    let wanted = named(&order_id, order(&unique("c"), &[(product, 1)]));
    let refused = shop.create_as(wanted, &order_id).await.unwrap_err();
    assert_eq!(Problem::from(&refused).reason, "LOG_UNAVAILABLE", "{refused:?}");
    println!("told that the log is away after {:?}", begin.elapsed());
}

/// Returns when an instance says this of itself.
async fn says(cluster: &Cluster, name: &str, status: ServingStatus) {
    let health = HealthClient::new(cluster.channel(name));
    let what = format!("{name} says {status:?}");
    eventually(&what, async || {
        let answer = health.clone().check(timed(HealthCheckRequest::default())).await.ok()?.into_inner();
        (answer.status() == status).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn a_mesh_goes_on_by_itself_when_its_broker_is_killed_or_stands_still_and_comes_back() {
    let cluster = Cluster::start().await;
    let (shop, product) = (cluster.shop(GATEWAY), unique("jumper"));
    shop.stock(&product, 1_000).await;
    let mut orders = Vec::new();
    for (harm, repair) in [("kill", "restart"), ("pause", "resume")] {
        for _ in 0..ORDERS {
            orders.push(insist(&shop, &product, PATIENCE).await);
        }
        cluster.broker().node(harm).await;
        // Somebody orders while there is no broker: he waits, or is told to come back, and is served in the end.
        let waiting = {
            let (shop, product) = (shop.clone(), product.clone());
            tokio::spawn(async move { insist(&shop, &product, OUTAGE_MAX + RECOVERY_MAX).await })
        };
        says(&cluster, "a", ServingStatus::NotServing).await;
        refused_before_its_deadline(&shop, &product).await;
        let repairing = Instant::now();
        cluster.broker().node(repair).await;
        println!("{repair} took {:?}", repairing.elapsed());
        let back = Instant::now();
        orders.push(waiting.await.unwrap());
        says(&cluster, "a", ServingStatus::Serving).await;
        println!("{harm}: served again {:?} after the broker was back", back.elapsed());
        assert!(back.elapsed() < RECOVERY_MAX, "it took {:?}", back.elapsed());
    }
    for order_id in &orders {
        assert_eq!(shop.wait(order_id, WaitFor::Shipped).await.unwrap().state(), OrderState::Shipped);
    }
    let left = 1_000 - i64::try_from(orders.len()).unwrap();
    eventually("the stock", async || (shop.pieces(&product).await == (left, 0, left)).then_some(())).await;
    cluster.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn an_instance_that_is_told_to_stop_ends_although_its_broker_does_not_answer() {
    let mut cluster = Cluster::start().await;
    let (shop, product) = (cluster.shop(GATEWAY), unique("jumper"));
    shop.stock(&product, 10).await;
    insist(&shop, &product, PATIENCE).await;
    cluster.broker().node("pause").await;
    // Something is under way that nobody will ever answer.
    let waiting = {
        let (shop, product) = (shop.clone(), product.clone());
        tokio::spawn(async move { insist(&shop, &product, PATIENCE).await })
    };
    says(&cluster, "a", ServingStatus::NotServing).await;
    cluster.stop("a").await;
    cluster.broker().node("resume").await;
    waiting.await.unwrap();
    cluster.settled().await;
}
