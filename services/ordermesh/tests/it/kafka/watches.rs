//! Watches while owners and gateways die: each change is told once, and none is left out.

use std::collections::{BTreeMap, BTreeSet};

use proto::orders::v1::{WaitFor, WatchOrdersRequest};
use tonic::Code;

use super::{Cluster, GATEWAY, unique};
use crate::shop::{PATIENCE, Shop, named, order, timed};

/// Orders, all of one customer, of which no more would be believed.
const ORDERS: usize = 60;

/// Watches the orders of a customer through these gateways, one after the other whenever a watch is broken off, and returns
/// the versions of each order.
async fn versions(shops: Vec<Shop>, customer_id: String) -> BTreeMap<String, Vec<u64>> {
    let mut versions = BTreeMap::<String, Vec<u64>>::new();
    let mut last = BTreeMap::<i32, i64>::new();
    let mut request = WatchOrdersRequest { customer_id, ..Default::default() };
    for shop in shops.iter().cycle() {
        let mut stream = match shop.orders.clone().watch_orders(timed(request.clone())).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                continue;
            }
        };
        loop {
            match tokio::time::timeout(PATIENCE, stream.message()).await.expect("silence is broken by tokens") {
                Ok(message) => {
                    let message = message.expect("watches end with a status");
                    request.resume_token = message.resume_token;
                    for change in message.changes {
                        let before = last.insert(change.partition, change.sequence).unwrap_or_default();
                        assert!(before < change.sequence, "{change:?} after {before}");
                        versions.entry(change.order_id).or_default().push(change.etag.parse().unwrap());
                    }
                }
                Err(status) => {
                    assert!(matches!(status.code(), Code::Unavailable | Code::Unknown), "{status:?}");
                    break;
                }
            }
            if versions.len() == ORDERS && versions.values().all(|versions| versions.len() == 3) {
                return versions;
            }
        }
    }
    versions
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn a_watch_leaves_nothing_out_and_repeats_nothing_when_owner_and_gateway_die() {
    let mut cluster = Cluster::start().await;
    let (shop, product, customer) = (cluster.shop("a"), unique("jumper"), unique("c"));
    shop.stock(&product, 1_000).await;
    // Through the one that dies, and through one that does not.
    let watches: Vec<_> = [vec!["c", "b"], vec![GATEWAY], vec!["a"]]
        .into_iter()
        .map(|names| names.into_iter().map(|name| cluster.shop(name)).collect::<Vec<_>>())
        .map(|shops| tokio::spawn(versions(shops, customer.clone())))
        .collect();
    // Each of them stands before the first order, or begins with it.
    let ids: Vec<String> = (0..ORDERS).map(|_| unique("o")).collect();
    let mut open = shop.orders.clone().watch_orders(timed(WatchOrdersRequest::default())).await.unwrap().into_inner();
    open.message().await.unwrap().unwrap();
    for (n, id) in ids.iter().enumerate() {
        shop.create_as(named(id, order(&customer, &[(&product, 1)])), id).await.unwrap();
        if n == ORDERS / 3 {
            cluster.kill("c");
        }
    }
    for id in &ids {
        shop.wait(id, WaitFor::Shipped).await.unwrap();
    }
    for watch in watches {
        let versions = tokio::time::timeout(PATIENCE, watch).await.expect("every change is told").unwrap();
        assert_eq!(versions.keys().cloned().collect::<BTreeSet<_>>(), ids.iter().cloned().collect());
        assert!(versions.values().all(|versions| *versions == [1, 2, 3]), "{versions:?}");
    }
}
