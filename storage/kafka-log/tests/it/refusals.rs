//! What stops a start: topics that are not as declared, quotas, brokers that do not answer. And input that is not believed.

use std::time::Duration;

use event_log::{Cleanup, Error, EventLog, TopicPartition};
use kafka_log::{Config, ConnectError, KafkaLog};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::broker::{self, PATIENCE, control, file, spec, unique, within};

async fn refused(found: (u32, Cleanup), declared: (u32, Cleanup)) -> String {
    let _brokers = broker::shared().await;
    let (log, name) = (broker::log().await, unique("declared"));
    log.ensure_topic(&spec(&name, found.0, found.1)).await.unwrap();
    let error = log.ensure_topic(&spec(&name, declared.0, declared.1)).await.unwrap_err();
    assert!(matches!(error, Error::TopicMismatch { .. }) && !error.is_retryable(), "{error:?}");
    error.to_string()
}

#[tokio::test]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn another_partition_count_is_refused_with_what_to_do() {
    let text = refused((3, Cleanup::Never), (4, Cleanup::Never)).await;
    assert!(text.contains("exists with 3 partitions, but 4 partitions is configured"), "{text}");
    assert!(text.contains("configure 3 partitions"), "{text}");
}

#[tokio::test]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn a_compacted_changelog_is_refused_with_the_command_that_repairs_it() {
    let text = refused((1, Cleanup::Compact), (1, Cleanup::Never)).await;
    assert!(text.contains("cleanup.policy=compact"), "{text}");
    assert!(text.contains("--add-config cleanup.policy=delete"), "{text}");
}

#[tokio::test]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn the_repair_of_a_changelog_with_a_retention_repairs_it() {
    let _brokers = broker::shared().await;
    let (log, name) = (broker::log().await, unique("retention"));
    log.ensure_topic(&spec(&name, 1, Cleanup::AfterMs(604_800_000))).await.unwrap();
    let repair = declared_at_last(&log, &name, repair_of).await;
    let (_, command) = repair.split_once("kafka-configs.sh ").unwrap();
    let arguments: Vec<_> = ["tool", "configs"].into_iter().chain(command.split(' ')).collect();
    control(&arguments);
    declared_at_last(&log, &name, Result::ok).await;
}

#[tokio::test]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn the_repair_of_a_topic_with_the_brokers_time_repairs_it() {
    let _brokers = broker::shared().await;
    let (log, name) = (broker::log().await, unique("times"));
    log.ensure_topic(&spec(&name, 1, Cleanup::Never)).await.unwrap();
    let bootstrap = file("bootstrap");
    let topic = ["--entity-type", "topics", "--entity-name", &name];
    let alter = ["tool", "configs", "--bootstrap-server", &bootstrap, "--alter", "--add-config"];
    control(&[&alter[..], &["message.timestamp.type=LogAppendTime"], &topic].concat());
    let repair = declared_at_last(&log, &name, repair_of).await;
    let (_, command) = repair.split_once("kafka-configs.sh ").unwrap();
    control(&["tool", "configs"].into_iter().chain(command.split(' ')).collect::<Vec<_>>());
    declared_at_last(&log, &name, Result::ok).await;
}

fn repair_of(declared: Result<(), Error>) -> Option<String> {
    if let Err(Error::TopicMismatch { repair, .. }) = declared { Some(repair) } else { None }
}

/// What declaring a changelog comes to that is wanted: a broker may take a moment to know what the controller has
/// taken.
async fn declared_at_last<T>(log: &KafkaLog, name: &str, wanted: fn(Result<(), Error>) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let declared = log.ensure_topic(&spec(name, 1, Cleanup::Never)).await;
        let text = format!("{declared:?}");
        if let Some(outcome) = wanted(declared) {
            return outcome;
        }
        assert!(Instant::now() < deadline, "the broker knows of the setting in time: {text}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn a_quota_that_would_repeat_appends_is_refused_with_the_command_that_removes_it() {
    let _brokers = broker::shared().await;
    let client = unique("slowed");
    let bootstrap = file("bootstrap");
    let entity = ["--entity-type", "clients", "--entity-name", &client];
    let set =
        ["tool", "configs", "--bootstrap-server", &bootstrap, "--alter", "--add-config", "producer_byte_rate=1024"];
    control(&[&set[..], &entity].concat());
    let config = Config { client_id: client.clone(), ..broker::config() };
    let refusal = |connected| if let Err(ConnectError::Refused(text)) = connected { Some(text) } else { None };
    let text = connected_at_last(&config, refusal).await;
    assert!(text.contains("producer_byte_rate"), "{text}");
    broker::log().await;
    let (_, command) = text.split_once("kafka-configs.sh ").unwrap();
    control(&["tool", "configs"].into_iter().chain(command.split(' ')).collect::<Vec<_>>());
    connected_at_last(&config, Result::ok).await;
}

/// What connecting comes to that is wanted: a broker may take a moment to know the setting that another has taken.
async fn connected_at_last<T>(config: &Config, wanted: fn(Result<KafkaLog, ConnectError>) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(outcome) = wanted(KafkaLog::connect(config.clone()).await) {
            return outcome;
        }
        assert!(Instant::now() < deadline, "the brokers know of the quota in time");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn records_of_a_transaction_are_refused() {
    let _brokers = broker::shared().await;
    let log = broker::log().await;
    let partition = broker::topic("transactions").await;
    let topic = partition.topic.as_str();
    control(&[
        "tool",
        "producer-perf",
        "--topic",
        topic,
        "--num-records",
        "3",
        "--record-size",
        "10",
        "--throughput",
        "-1",
        "--transactional-id",
        topic,
        "--transaction-duration-ms",
        "10",
        "--producer-props",
        &format!("bootstrap.servers={}", file("bootstrap")),
    ]);
    match broker::fetch(&log, &partition, 0, Duration::ZERO).await {
        Some(Err(Error::Failed(text))) => assert!(text.contains("transaction"), "{text}"),
        other => panic!("must be refused: {other:?}"),
    }
}

fn hasty(broker: String) -> Config {
    Config {
        connect_timeout: Duration::from_millis(300),
        request_timeout: Duration::from_millis(300),
        operation_timeout: Duration::from_millis(500),
        ..Config::new([broker])
    }
}

#[tokio::test]
async fn a_broker_that_takes_connections_and_never_answers_is_given_up_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let connecting = KafkaLog::connect(hasty(address));
    let error = within(Duration::from_secs(2), "giving up", connecting).await.unwrap_err();
    assert!(matches!(error, ConnectError::Brokers(kafka_log::wire::Error::Timeout { .. })), "{error:?}");
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_named() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let error = KafkaLog::connect(hasty(port.clone())).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains(&port), "{cause}");
}

#[tokio::test]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn headers_whose_names_are_not_text_are_refused() {
    let _brokers = broker::shared().await;
    let log = broker::log().await;
    let partition = broker::topic("names").await;
    let header = event_log::Header { name: vec![0xff].into(), value: "x".into() };
    let record = event_log::Record { headers: vec![header], ..broker::record("v") };
    let refused = log.append(&partition, vec![record]).await;
    assert!(matches!(refused, Err(Error::Failed(_))), "{refused:?}");
    let unknown = TopicPartition::new(partition.topic.clone(), 7);
    assert!(matches!(log.latest(&unknown).await, Err(Error::UnknownTopic(_))));
}
