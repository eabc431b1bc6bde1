//! `ordermesh state verify` where the changelogs are on brokers: of a mesh that runs, of a process that is stopped, and of stores
//! that belong to another mesh.

use super::{Cluster, PARTITIONS, unique};
use crate::process::Process;
use crate::shop::{Shop, order};
use crate::state::{refused, verify_live};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn live_and_stopped_stores_are_compared_with_their_changelogs_on_the_brokers() {
    let mut cluster = Cluster::empty(&[]).await;
    cluster.add(&["a", "b"]).await;
    cluster.settled().await;
    let (shop, product) = (cluster.shop("a"), unique("mug"));
    shop.stock(&product, 100).await;
    for _ in 0..5 {
        shop.judged(order(&unique("c"), &[(&product, 1)])).await;
    }
    let brokers = cluster.broker().bootstrap();
    let addr = cluster.process("b").address.to_string();
    let verified = verify_live(&["--addr", &addr, "--brokers", &brokers]).await;
    let said = String::from_utf8(verified.stdout).unwrap();
    assert!(verified.status.success(), "{said}{}", String::from_utf8_lossy(&verified.stderr));
    let of_orders: Vec<_> = said.lines().filter(|line| line.starts_with("orders/")).collect();
    assert_eq!(of_orders.len(), 2 * PARTITIONS as usize, "{said}");
    assert!(of_orders.iter().all(|line| line.ends_with(" ok")), "{said}");
    assert!(said.contains("hold what their changelogs say"), "{said}");

    let data = cluster.data("a");
    let (directory, partitions) = (data.to_str().unwrap(), PARTITIONS.to_string());
    let stopped = ["--data", directory, "--partitions", &partitions, "--brokers", &brokers];
    let said = refused(&verify_live(&stopped).await);
    assert!(said.contains("in use"), "its process runs: {said}");
    cluster.stop("a").await;
    let verified = verify_live(&stopped).await;
    let said = String::from_utf8(verified.stdout).unwrap();
    assert!(verified.status.success(), "{said}{}", String::from_utf8_lossy(&verified.stderr));
    assert!(said.lines().any(|line| line.starts_with("orders/") && line.ends_with(" ok")), "{said}");
    let said = refused(&verify_live(&stopped[..4]).await);
    assert!(said.contains("--brokers") && !data.join("log").exists(), "{said}");

    // What another mesh has stored is not what these changelogs say.
    let other = tempfile::tempdir().unwrap();
    let process = Process::start(other.path(), &["--partitions", &partitions]);
    Shop::new(process.channel()).stock(&product, 7).await;
    let (status, _) = tokio::task::spawn_blocking(move || process.terminate()).await.unwrap();
    assert!(status.success());
    let foreign = ["--data", other.path().to_str().unwrap(), "--partitions", &partitions, "--brokers", &brokers];
    let said = refused(&verify_live(&foreign).await);
    assert!(said.contains("do not hold what their changelogs say"), "{said}");
}
