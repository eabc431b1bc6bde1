//! Acceptance case 24: the instances answer as one, and tools show who does what.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use proto::mesh::v1::Role;
use proto::orders::v1::{ListOrdersRequest, OrderState, WaitFor};

use super::load::look;
use super::{Cluster, GATEWAY, NAMES, unique};
use crate::scrape::{scraped, total};
use crate::shop::{Shop, eventually, named, order, timed};

/// All orders of a customer, by id.
async fn listed(shop: &Shop, customer_id: &str) -> BTreeSet<String> {
    let request = ListOrdersRequest {
        customer_id: customer_id.to_owned(),
        page_size: 1_000,
        require_complete: true,
        ..Default::default()
    };
    let page = shop.orders.clone().list_orders(timed(request)).await.unwrap().into_inner();
    assert!(page.unreachable.is_empty());
    page.orders.into_iter().map(|order| order.order_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn every_process_gives_the_same_answers_and_names_the_owner() {
    let everywhere = [NAMES[0], NAMES[1], NAMES[2], GATEWAY];
    let mut cluster = Cluster::empty(&["--metrics", "127.0.0.1:0"]).await;
    cluster.add(&everywhere).await;
    cluster.settled().await;
    let (customer, product) = (unique("c"), unique("jumper"));
    cluster.shop("a").stock(&product, 100).await;
    let ids: Vec<String> = (0..16).map(|_| unique("o")).collect();
    for (n, id) in ids.iter().enumerate() {
        let wanted = named(id, order(&customer, &[(&product, 1)]));
        cluster.shop(everywhere[n % 4]).create(wanted).await.unwrap();
    }
    for (n, id) in ids.iter().enumerate() {
        let shipped = cluster.shop(everywhere[(n + 1) % 4]).wait(id, WaitFor::Shipped).await.unwrap();
        assert_eq!(shipped.state(), OrderState::Shipped);
    }
    let topology = cluster.seen_by(GATEWAY).await.unwrap();
    for task in &topology.tasks {
        let active = task.replicas.iter().filter(|replica| replica.role() == Role::Active).count();
        assert_eq!((active, task.replicas.len()), (1, 2), "{task:?}");
    }
    let owners: BTreeMap<i32, &str> = topology
        .tasks
        .iter()
        .filter(|task| task.service == "orders")
        .map(|task| (task.partition, task.owner.as_str()))
        .collect();
    let mut owner_asked = 0;
    for asked in everywhere {
        let shop = cluster.shop(asked);
        for id in &ids {
            let (order, by) = look(&shop, id).await;
            assert_eq!(
                (order.order_id.as_str(), order.state(), by.role()),
                (id.as_str(), OrderState::Shipped, Role::Active)
            );
            assert_eq!(by.instance, owners[&by.partition], "{id} asked at {asked}");
            owner_asked += usize::from(by.instance == asked);
        }
        assert_eq!(listed(&shop, &customer).await, ids.iter().cloned().collect(), "{asked}");
    }
    assert!(owner_asked < ids.len() * 2, "most calls went through somebody else");

    // Each call counts where its client made it, and once more at an instance that it was handed on to.
    let mut handed_on = 0.0;
    for asked in everywhere {
        let seen = scraped(&cluster.process(asked).metrics()).await;
        let calls = |door| total(&seen, "ordermesh_rpc_total", &["OrderService/GetOrder", "code=\"OK\"", door]);
        assert!(calls("door=\"clients\"") >= ids.len() as f64, "{asked}");
        let handed_here = calls("door=\"instances\"");
        assert!(handed_here == 0.0 || asked != GATEWAY, "a gateway owns nothing");
        handed_on += handed_here;
    }
    assert!(handed_on >= (ids.len() * 4 - owner_asked) as f64, "{handed_on} of all but {owner_asked}");

    let mut shows = Command::new(env!("CARGO_BIN_EXE_ordermesh"));
    shows.args(["topology", "--addr", &cluster.process(GATEWAY).address.to_string()]);
    let table = tokio::task::spawn_blocking(move || shows.output().unwrap()).await.unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(NAMES.iter().all(|name| table.contains(name)) && table.contains("dead-letters"), "{table}");
}

/// A committed offset, the lag, and the consumer.
type Described = (Option<u64>, Option<u64>, String);

/// Columns of what `kafka-consumer-groups --describe` says, by topic and partition.
fn described(said: &str) -> BTreeMap<(String, i32), Described> {
    let rows = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let rows = rows.filter(|row| row.len() >= 7 && row[0] != "GROUP");
    rows.map(|row| {
        ((row[1].to_owned(), row[2].parse().unwrap()), (row[3].parse().ok(), row[5].parse().ok(), row[6].to_owned()))
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn the_tools_of_kafka_show_who_owns_what_and_how_far_it_is() {
    let cluster = Cluster::start().await;
    let shop = cluster.shop("b");
    let product = unique("jumper");
    shop.stock(&product, 100).await;
    let id = unique("o");
    shop.judged(named(&id, order(&unique("c"), &[(&product, 1)]))).await;
    let group = cluster.group();
    eventually("an offset of each changelog", async || {
        // Owners tell the group their offsets once in a second.
        let seen = cluster.seen_by("a").await?;
        let said = cluster.broker().tool("consumer-groups", &["--describe", "--group", group]).await;
        let rows = described(&said);
        let all = seen.tasks.iter().all(|task| {
            let row = rows.get(&(format!("{}-changelog", task.service), task.partition));
            row.is_some_and(|(offset, lag, consumer)| {
                offset.is_some() && lag.is_some() && consumer.starts_with(&task.owner)
            })
        });
        if !all {
            println!("{said}");
        }
        (all && rows.len() == seen.tasks.len()).then_some(())
    })
    .await;

    // What each service has read of its inputs is in a group of its own.
    let readers = format!("{group}.validation");
    eventually("validation has read all orders", async || {
        let said = cluster.broker().tool("consumer-groups", &["--describe", "--group", &readers]).await;
        let rows = described(&said);
        let orders = rows.iter().filter(|((topic, _), _)| topic == "orders");
        let lags: Vec<u64> = orders.filter_map(|(_, (_, lag, _))| *lag).collect();
        (!lags.is_empty() && lags.iter().all(|lag| *lag == 0)).then_some(())
    })
    .await;
}
