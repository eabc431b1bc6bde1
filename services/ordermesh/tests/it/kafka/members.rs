//! Instances come and go, and no client notices.

use std::time::Duration;

use super::load::Load;
use super::{Cluster, GATEWAY, NAMES};

/// The longest that an order may take while its partition moves, on a machine with other things to do.
const MOVE_MAX: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn no_call_fails_while_one_instance_becomes_three_and_then_two() {
    let mut cluster = Cluster::empty(&[]).await;
    cluster.add(&["a", GATEWAY]).await;
    cluster.settled().await;
    let load = Load::start(&[GATEWAY; 4].map(|name| cluster.shop(name))).await;
    load.goes_on().await;
    cluster.add(&["b", "c"]).await;
    cluster.settled().await;
    load.goes_on().await;
    cluster.stop("a").await;
    cluster.settled().await;
    load.goes_on().await;
    let ordered = load.end().await;
    println!("{} orders, longest {:?}", ordered.orders.len(), ordered.longest);
    assert!(ordered.longest < MOVE_MAX, "an order took {:?}", ordered.longest);
    ordered.is_booked(&cluster.shop(GATEWAY)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn no_call_fails_while_all_instances_are_restarted_one_after_the_other() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&[GATEWAY; 4].map(|name| cluster.shop(name))).await;
    for name in NAMES {
        load.goes_on().await;
        cluster.stop(name).await;
        cluster.add(&[name]).await;
        cluster.settled().await;
    }
    load.goes_on().await;
    let ordered = load.end().await;
    println!("{} orders, longest {:?}", ordered.orders.len(), ordered.longest);
    assert!(ordered.longest < MOVE_MAX, "an order took {:?}", ordered.longest);
    ordered.is_booked(&cluster.shop("b")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn of_two_processes_with_one_name_the_earlier_one_stops() {
    let mut cluster = Cluster::empty(&[]).await;
    cluster.add(&["a", "b"]).await;
    cluster.settled().await;
    let second = cluster.command_in("a", &cluster.data("another"));
    let second = tokio::task::spawn_blocking(move || crate::process::Process::run(second)).await.unwrap();
    assert_eq!(cluster.ended("a").await.code(), Some(1));
    // Whoever has the name now is one of the mesh, beside b.
    let shop = crate::shop::Shop::new(second.channel());
    let load = Load::start(&[shop.clone(), cluster.shop("b")]).await;
    load.goes_on().await;
    load.end().await.is_booked(&shop).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn a_session_that_the_brokers_do_not_take_is_said_with_what_to_do_and_another_one_is_taken() {
    let cluster = Cluster::empty(&[]).await;
    let starting = |session: &str| {
        let mut command = cluster.command("a");
        command.env("ORDERMESH__PEERS__GROUP_SESSION", session);
        command
    };
    // Brokers take six seconds at the least unless they are told otherwise.
    let mut short = starting("2s");
    let output = tokio::task::spawn_blocking(move || short.output().unwrap()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("peers.group_session") && said.contains("group.min.session.timeout.ms"), "{said}");
    let long = starting("20s");
    let process = tokio::task::spawn_blocking(move || crate::process::Process::run(long)).await.unwrap();
    let (status, said) = tokio::task::spawn_blocking(move || process.terminate()).await.unwrap();
    assert!(status.success(), "{said}");
}
