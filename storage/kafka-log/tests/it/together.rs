//! Appends to several partitions at the same time: they share requests, and each has its own outcome.

use std::sync::Arc;
use std::time::Duration;

use event_log::{Cleanup, Error, EventLog, Offset, TopicPartition};
use futures::future::join_all;
use kafka_log::{Config, KafkaLog};
use tokio::task::JoinSet;

use crate::broker::{self, all, append_at_last, record, spec, unique, values, within};
use crate::proxy::{Mode, Proxy};

const PARTITIONS: u32 = 20;
const IN_TIME: Duration = Duration::from_secs(4);

async fn partitions(name: &str) -> Vec<TopicPartition> {
    let name = unique(name);
    broker::log().await.ensure_topic(&spec(&name, PARTITIONS, Cleanup::Never)).await.unwrap();
    (0..PARTITIONS).map(|partition| TopicPartition::new(name.as_str(), partition)).collect()
}

async fn append_to_each(log: &KafkaLog, partitions: &[TopicPartition], value: &str) -> Vec<Result<Offset, Error>> {
    join_all(partitions.iter().map(|partition| log.append(partition, vec![record(value)]))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn appends_at_the_same_time_share_requests_and_stand_where_it_is_said() {
    const ROUNDS: u64 = 30;
    let _brokers = broker::shared().await;
    let (proxy, addresses) = Proxy::start(&broker::config().brokers).await;
    let log = KafkaLog::connect(broker::patient(addresses)).await.unwrap();
    let partitions = partitions("together").await;
    for round in 0..ROUNDS {
        for outcome in append_to_each(&log, &partitions, &round.to_string()).await {
            assert_eq!(outcome.unwrap(), Offset(round));
        }
    }
    let requests = proxy.appends();
    let appends = usize::try_from(ROUNDS).unwrap() * partitions.len();
    assert!(requests * 2 < appends, "{requests} requests for {appends} appends");
    let written: Vec<_> = (0..ROUNDS).map(|round| round.to_string()).collect();
    for partition in &partitions {
        assert_eq!(values(&all(&log, partition).await), written);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn one_append_that_is_refused_leaves_the_others_of_its_request_alone() {
    let _brokers = broker::shared().await;
    let log = KafkaLog::connect(Config { append_bytes_max: 8 << 20, ..broker::config() }).await.unwrap();
    let partitions = partitions("refused").await;
    for partition in &partitions {
        append_at_last(&log, partition, "before").await;
    }
    let large = "x".repeat(2 << 20);
    let (refused, taken) =
        tokio::join!(log.append(&partitions[0], vec![record(large)]), append_to_each(&log, &partitions[1..], "with"));
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    assert!(taken.iter().all(|outcome| matches!(outcome, Ok(Offset(1)))), "{taken:?}");
    assert_eq!(log.append(&partitions[0], vec![record("after")]).await.unwrap(), Offset(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn all_appends_of_a_request_whose_answer_is_lost_have_unknown_outcomes() {
    let _brokers = broker::shared().await;
    let (proxy, addresses) = Proxy::start(&broker::config().brokers).await;
    let log = broker::hasty_log(addresses).await;
    let partitions = partitions("lost").await;
    for partition in &partitions {
        append_at_last(&log, partition, "before").await;
    }
    proxy.set(Mode::LoseAnswers);
    let outcomes = within(IN_TIME, "lost answers", append_to_each(&log, &partitions, "lost")).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(Error::UnknownOutcome(_)))), "{outcomes:?}");
    assert!(proxy.touched() < partitions.len(), "{} requests: they were shared, and sent once", proxy.touched());
    proxy.set(Mode::Pass);
    for partition in &partitions {
        append_at_last(&log, partition, "after").await;
        assert_eq!(values(&all(&log, partition).await), ["before", "lost", "after"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn partitions_that_wait_for_connections_hold_nobody_up() {
    let _brokers = broker::shared().await;
    let (proxy, addresses) = Proxy::start(&broker::config().brokers).await;
    let config = Config { connect_timeout: Duration::from_secs(60), ..broker::patient(addresses) };
    let log = Arc::new(KafkaLog::connect(config).await.unwrap());
    let partitions = partitions("newcomers").await;
    append_at_last(&log, &partitions[0], "connected").await;
    proxy.set(Mode::HoldNewcomers);
    let mut waiting = JoinSet::new();
    for (held, partition) in partitions.iter().enumerate().skip(1) {
        let (log, partition) = (log.clone(), partition.clone());
        waiting.spawn(async move { log.append(&partition, vec![record("waits")]).await });
        within(IN_TIME, "a connection", proxy.holds_newcomers(held)).await;
    }
    let appended = within(IN_TIME, "an append", log.append(&partitions[0], vec![record("passes")])).await;
    assert_eq!(appended.unwrap(), Offset(1));
    assert_eq!(waiting.len(), partitions.len() - 1);
    assert!(waiting.try_join_next().is_none(), "they still wait");
}
