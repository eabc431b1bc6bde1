//! Three nodes, each partition on all of them: what happens to appends when its leader goes.

use std::time::Duration;

use event_log::{Cleanup, EventLog, FetchFrom, FetchLimits, Offset, TopicPartition};
use kafka_log::wire::Dial;
use kafka_log::{Config, KafkaLog};
use kafka_protocol::messages::MetadataRequest;
use tokio::time::{Instant, sleep};

use crate::broker::{self, PATIENCE, all, append_at_last, node, record, spec, unique, values, within};

/// Number of the node that leads a partition.
async fn leader(partition: &TopicPartition) -> i32 {
    let config = broker::config();
    let dial = Dial::new(&config).unwrap();
    for address in &config.brokers {
        let Ok(mut connection) = dial.connect(address).await else { continue };
        let request = MetadataRequest::default().with_topics(None);
        let answer = connection.call(&request, 1..=8).await.unwrap();
        let topic = |name: &str| name == partition.topic.as_str();
        let found = answer.topics.iter().find(|it| it.name.as_ref().is_some_and(|name| topic(name.as_str())));
        return found.unwrap().partitions[0].leader_id.0;
    }
    panic!("no broker answers")
}

/// Appends numbers while something happens to the leader, and finds every acknowledged one where it was said to be.
async fn appends_survive(action: &'static str, repair: &'static str) {
    let _brokers = broker::alone().await;
    let log = broker::hasty_log(broker::config().brokers).await;
    let partition = broker::topic("leader").await;
    append_at_last(&log, &partition, "0").await;
    let leading = leader(&partition).await;
    let (appender, to) = (log.clone(), partition.clone());
    let appends = tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        let (mut longest, mut left) = (Duration::ZERO, 200);
        // It goes on until a new leader has taken some: the one append that had to wait for it shows.
        for number in 1_u64.. {
            let begun = Instant::now();
            let offset = append_at_last(&appender, &to, &number.to_string()).await;
            longest = longest.max(begun.elapsed());
            acknowledged.push((offset, number.to_string()));
            left -= u32::from(longest > Duration::from_secs(3));
            if left == 0 {
                break;
            }
        }
        eprintln!("{} appends, the longest of them {longest:?}", acknowledged.len());
        acknowledged
    });
    while log.latest(&partition).await.unwrap() < Offset(50) {
        sleep(Duration::from_millis(5)).await;
    }
    tokio::task::spawn_blocking(move || node(action, leading)).await.unwrap();
    let acknowledged = tokio::time::timeout(PATIENCE * 2, appends).await.expect("another node leads").unwrap();
    tokio::task::spawn_blocking(move || node(repair, leading)).await.unwrap();
    assert!(acknowledged.len() > 100, "{} appends", acknowledged.len());
    let records = all(&log, &partition).await;
    for (offset, value) in &acknowledged {
        let found = records.iter().find(|stored| stored.offset == *offset);
        assert_eq!(values(&[found.unwrap().clone()]), [value.as_str()], "{offset}");
    }
    let mut distinct = values(&records);
    distinct.dedup();
    // In order; only what was sent again may stand there twice, and only beside itself or what followed.
    assert_eq!(distinct.first().map(String::as_str), Some("0"));
    settle(&log).await;
}

/// Waits until every node is a full member again.
async fn settle(log: &KafkaLog) {
    let deadline = Instant::now() + PATIENCE;
    for number in 0.. {
        let name = unique("settled");
        if log.ensure_topic(&spec(&name, 3, Cleanup::Never)).await.is_ok() && number > 0 {
            return;
        }
        assert!(Instant::now() < deadline, "the brokers come together again");
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, three Kafka brokers (tools/kafka.sh start DIR 3)"]
async fn three_nodes_lose_nothing_when_a_leader_is_killed() {
    appends_survive("kill", "restart").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, three Kafka brokers (tools/kafka.sh start DIR 3)"]
async fn three_nodes_lose_nothing_when_a_leader_is_paused() {
    appends_survive("pause", "resume").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, three Kafka brokers (tools/kafka.sh start DIR 3)"]
async fn three_nodes_are_followed_when_a_leader_moves_and_the_old_one_stays() {
    let _brokers = broker::alone().await;
    let log = KafkaLog::connect(Config::new(broker::config().brokers)).await.unwrap();
    let partition = broker::topic("moves").await;
    append_at_last(&log, &partition, "0").await;
    let preferred = leader(&partition).await;
    tokio::task::spawn_blocking(move || node("kill", preferred)).await.unwrap();
    append_at_last(&log, &partition, "1").await;
    tokio::task::spawn_blocking(move || node("restart", preferred)).await.unwrap();
    // It leads again as soon as it has all records and the brokers are asked to prefer it; the leader of now lives on.
    let deadline = Instant::now() + PATIENCE;
    while leader(&partition).await != preferred {
        assert!(Instant::now() < deadline, "the preferred leader is elected");
        let elect = || {
            let script = ["tool", "org.apache.kafka.tools.LeaderElectionCommand", "--election-type", "preferred"];
            let bootstrap = broker::file("bootstrap");
            let all = ["--all-topic-partitions", "--bootstrap-server", &bootstrap];
            broker::control(&[&script[..], &all].concat());
        };
        tokio::task::spawn_blocking(elect).await.unwrap();
    }
    let appended = within(Duration::from_secs(6), "an append", log.append(&partition, vec![record("2")])).await;
    let end = appended.unwrap().next();
    assert_eq!(within(Duration::from_secs(3), "an offset", log.latest(&partition)).await.unwrap(), end);
    let fetched = broker::fetch(&log, &partition, end.0 - 1, Duration::from_secs(3));
    let fetched = within(Duration::from_secs(3), "a fetch", fetched).await.unwrap().unwrap();
    assert_eq!(values(&fetched), ["2"]);
    settle(&log).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, three Kafka brokers (tools/kafka.sh start DIR 3)"]
async fn three_nodes_are_read_in_one_wait() {
    let _brokers = broker::shared().await;
    let log = broker::log().await;
    let name = unique("spread");
    log.ensure_topic(&spec(&name, 6, Cleanup::Never)).await.unwrap();
    let at = |number| TopicPartition::new(name.as_str(), number);
    let mut next = [0_u64; 6];
    // Whoever leads the partition that gets a record, the reader wakes; the other brokers' requests stay as they are.
    for round in 0..60_u32 {
        let number = round * 5 % 6;
        let from: Vec<_> = (0..6).map(|n| FetchFrom { partition: at(n), offset: Offset(next[n as usize]) }).collect();
        let reader = log.clone();
        let limits = FetchLimits { max_bytes_per_partition: 1 << 20, max_wait: PATIENCE };
        let fetch = tokio::spawn(async move { reader.fetch(&from, limits).await });
        log.append(&at(number), vec![record(round.to_string())]).await.unwrap();
        let fetched = within(Duration::from_secs(3), "waking", fetch).await.unwrap().unwrap();
        assert_eq!(fetched.len(), 1);
        assert_eq!(fetched[0].partition, at(number));
        let records = &fetched[0].result.as_ref().unwrap().records;
        assert_eq!(values(records), [round.to_string()]);
        next[number as usize] += 1;
    }
}
