//! Brokers that lost what they had acknowledged, and topics that are not what they were: a mesh stops and says why, and never
//! goes on as if nothing had been there (faults 21 to 24). These tests harm their Kafka, and start one of their own for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use event_log::{EventLog, Offset, TopicPartition, partition_for_key};
use tempfile::TempDir;

use super::{Broker, Cluster, PARTITIONS, kafka, unique};
use crate::shop::{eventually, named, order};

/// A Kafka of one node that is stopped when it is dropped.
struct Own {
    directory: TempDir,
}

impl Own {
    async fn start() -> Self {
        // The tests that are given a broker have what is needed to start one.
        Broker::given();
        let own = Self { directory: tempfile::tempdir().unwrap() };
        kafka(&["start", own.path().to_str().unwrap(), "1"]).await;
        own
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn broker(&self) -> Broker {
        Broker::at(self.path())
    }

    /// The only segment of a partition.
    fn segment(&self, topic: &str, partition: u32) -> PathBuf {
        self.path().join(format!("1/data/{topic}-{partition}/00000000000000000000.log"))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let mut stop = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/kafka.sh"));
        // It may have ended already.
        let _ = stop.arg("stop").arg(self.directory.path()).output();
    }
}

/// Judges some orders, and returns one of the partition.
async fn orders_of(cluster: &Cluster, partition: u32) -> String {
    let shop = cluster.shop("a");
    let ids = std::iter::repeat_with(|| unique("o"));
    let ids: Vec<String> = ids.filter(|id| partition_for_key(id.as_bytes(), PARTITIONS) == partition).take(8).collect();
    for id in &ids {
        shop.judged(named(id, order(&unique("c"), &[("nothing", 1)]))).await;
    }
    ids[0].clone()
}

/// Runs an instance that must refuse to start, and returns what it says.
async fn refused(cluster: &Cluster) -> String {
    let mut command = cluster.command("a");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn topics_with_another_number_of_partitions_refuse_the_start() {
    let mut cluster = Cluster::empty(&[]).await;
    cluster.add(&["b"]).await;
    let more = (PARTITIONS + 1).to_string();
    let other = Cluster::on(cluster.broker().clone(), &["--partitions", &more]);
    let said = refused(&other).await;
    assert!(said.contains(&format!("{PARTITIONS} partitions")) && said.contains("changelog"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn a_changelog_that_lost_its_end_stops_its_owner() {
    let own = Own::start().await;
    let mut cluster = Cluster::on(own.broker(), &[]);
    cluster.add(&["a"]).await;
    cluster.settled().await;
    orders_of(&cluster, 1).await;
    // As after a power cut: the broker had acknowledged what it had not yet written to its disk.
    own.broker().node("kill").await;
    let segment = std::fs::OpenOptions::new().write(true).open(own.segment("orders-changelog", 1)).unwrap();
    segment.set_len(segment.metadata().unwrap().len() * 2 / 3).unwrap();
    own.broker().node("restart").await;
    let status = cluster.ended("a").await;
    assert_eq!(status.code(), Some(1));
    let said = refused(&cluster).await;
    assert!(said.contains("orders-changelog/1") && said.contains("lost records"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn a_changelog_that_was_deleted_is_not_taken_for_a_new_one() {
    let own = Own::start().await;
    let mut cluster = Cluster::on(own.broker(), &[]);
    cluster.add(&["a"]).await;
    cluster.settled().await;
    orders_of(&cluster, 0).await;
    cluster.stop("a").await;
    own.broker().tool("topics", &["--delete", "--topic", "orders-changelog"]).await;
    let log = own.broker().log().await;
    eventually("the topic is gone", async || {
        let topics = log.topics().await.ok()?;
        topics.iter().all(|topic| topic.name.as_str() != "orders-changelog").then_some(())
    })
    .await;
    let said = refused(&cluster).await;
    assert!(said.contains("orders-changelog") && said.contains("missing"), "{said}");
    // Nor does an instance that has no state of its own.
    std::fs::remove_dir_all(cluster.data("a")).unwrap();
    let said = refused(&cluster).await;
    assert!(said.contains("orders-changelog") && said.contains("missing"), "{said}");
    // An empty one in its place brings nothing back.
    let partitions = PARTITIONS.to_string();
    let settings =
        ["--config", "cleanup.policy=delete", "--config", "retention.ms=-1", "--config", "retention.bytes=-1"];
    let create = ["--create", "--topic", "orders-changelog", "--partitions", &partitions, "--replication-factor", "1"];
    own.broker().tool("topics", &[&create[..], &settings[..]].concat()).await;
    let said = refused(&cluster).await;
    assert!(said.contains("orders-changelog") && said.contains("empty"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn a_changelog_that_was_trimmed_without_a_snapshot_stops_whoever_needs_it() {
    let own = Own::start().await;
    let mut cluster = Cluster::on(own.broker(), &[]);
    cluster.add(&["a"]).await;
    cluster.settled().await;
    let id = orders_of(&cluster, 2).await;
    let log = own.broker().log().await;
    log.delete_before(&TopicPartition::new("orders-changelog", 2), Offset(5)).await.unwrap();
    // Whoever has the state goes on, also after a restart.
    cluster.stop("a").await;
    cluster.add(&["a"]).await;
    cluster.settled().await;
    cluster.shop("a").wait(&id, proto::orders::v1::WaitFor::Unspecified).await.unwrap();
    cluster.stop("a").await;
    std::fs::remove_dir_all(cluster.data("a")).unwrap();
    let said = refused(&cluster).await;
    assert!(said.contains("orders-changelog/2") && said.contains("trimmed"), "{said}");
}
