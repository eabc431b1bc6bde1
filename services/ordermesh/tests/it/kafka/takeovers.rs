//! Acceptance cases 25 and 26: an instance dies, or stands still, and nobody is told anything wrong.

use std::time::{Duration, Instant};

use proto::mesh::v1::{InstanceState, Role};
use proto::orders::v1::WaitFor;
use tokio::task::JoinSet;

use super::load::{Load, look};
use super::{Cluster, GATEWAY, unique};
use crate::shop::{eventually, named, order};

/// The longest that a call may take while its partition has no owner, on a machine with other things to do.
const TAKEOVER_MAX: Duration = Duration::from_secs(20);
/// Longer than the group waits for a member.
const STANDSTILL: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn no_call_fails_and_nothing_is_lost_or_repeated_when_an_instance_dies_under_load() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&["a", "b", GATEWAY, GATEWAY].map(|name| cluster.shop(name))).await;
    load.goes_on().await;
    for died in ["c", "c"] {
        cluster.kill(died);
        load.goes_on().await;
        cluster.add(&[died]).await;
        cluster.settled().await;
    }
    load.goes_on().await;
    let ordered = load.end().await;
    println!("{} orders, longest {:?}", ordered.orders.len(), ordered.longest);
    assert!(ordered.longest < TAKEOVER_MAX, "an order took {:?}", ordered.longest);
    ordered.is_booked(&cluster.shop(GATEWAY)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn an_instance_that_stood_still_gives_no_stale_answer_and_gets_its_share_again() {
    let mut cluster = Cluster::start().await;
    let (owner, product) = ("c", unique("atlas"));
    let shop = cluster.shop("a");
    shop.made_to_order(&product).await;
    // Orders that its owner has not yet seen change.
    let mut orders = Vec::new();
    while orders.len() < 3 {
        let id = unique("o");
        shop.judged(named(&id, order(&unique("c"), &[(&product, 1)]))).await;
        if look(&shop, &id).await.1.instance == owner {
            orders.push(id);
        }
    }
    let load = Load::start(&["a", "b", GATEWAY].map(|name| cluster.shop(name))).await;
    load.goes_on().await;
    cluster.process(owner).freeze(true);
    let stood_still = Instant::now();
    for id in &orders {
        // It may have reached the one that stands still: with a request id it is safe to send it to the next owner too.
        shop.cancel_as(id, &format!("r-{id}")).await.unwrap();
    }
    // They wait before the one that stands still, which believes to own them when it goes on.
    let mut reads = JoinSet::new();
    for id in &orders {
        let (shop, id) = (cluster.shop(owner), id.clone());
        reads.spawn(async move { shop.wait(&id, WaitFor::Unspecified).await });
    }
    load.goes_on().await;
    tokio::time::sleep_until((stood_still + STANDSTILL).into()).await;
    cluster.process(owner).freeze(false);
    for read in reads.join_all().await {
        let state = read.unwrap().state();
        assert_eq!(state, proto::orders::v1::OrderState::Cancelled, "a deposed owner has answered");
    }
    load.goes_on().await;
    let ordered = load.end().await;
    assert!(ordered.longest < TAKEOVER_MAX, "an order took {:?}", ordered.longest);
    ordered.is_booked(&cluster.shop(owner)).await;
    cluster.settled().await;
    cluster.stop(owner).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn what_is_known_of_an_owner_that_died_can_be_read_before_there_is_another() {
    let mut cluster = Cluster::start().await;
    let shop = cluster.shop("a");
    let id = loop {
        let id = unique("o");
        shop.judged(named(&id, order(&unique("c"), &[("nothing", 1)]))).await;
        if look(&shop, &id).await.1.instance == "c" {
            break id;
        }
    };
    cluster.kill("c");
    // Whoever is asked answers from a standby at once, and says so.
    let request = proto::orders::v1::GetOrderRequest {
        order_id: id.clone(),
        consistency: Some(proto::mesh::v1::ReadConsistency {
            bound: Some(proto::mesh::v1::read_consistency::Bound::Eventual(proto::mesh::v1::Eventual {})),
        }),
        ..Default::default()
    };
    let mut request = tonic::Request::new(request);
    request.set_timeout(Duration::from_secs(5));
    let answer = shop.orders.clone().get_order(request).await.unwrap().into_inner();
    let by = answer.served_by.unwrap();
    assert!(by.instance != "c" && (by.role() == Role::Standby || by.role() == Role::Active), "{by:?}");
    eventually("the others give it up", async || {
        let seen = cluster.seen_by("a").await?;
        let c = seen.instances.iter().find(|instance| instance.instance == "c");
        let is_gone = c.is_none_or(|c| c.state() == InstanceState::Silent);
        (is_gone && seen.tasks.iter().all(|task| task.owner == "a" || task.owner == "b")).then_some(())
    })
    .await;
    assert_eq!(look(&shop, &id).await.1.role(), Role::Active);
}
