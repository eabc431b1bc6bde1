//! Several readers of the same partitions: what one request brings is for all of them.

use std::time::Duration;

use event_log::{Error, EventLog, FetchFrom, FetchLimits, Offset, TopicPartition};
use kafka_log::KafkaLog;
use tokio::time::sleep;

use crate::broker::{self, record, within};

const RECORDS: u64 = 2_000;
const IN_TIME: Duration = Duration::from_secs(60);

/// Reads from the start until everything was there, with a pause after each fetch. Fails on a gap, a repeat, or another order.
async fn read_all(log: KafkaLog, partitions: [TopicPartition; 2], pause: Duration) {
    let mut next = [0; 2];
    let limits = FetchLimits { max_bytes_per_partition: 64 * 1024, max_wait: Duration::from_secs(5) };
    while next != [RECORDS; 2] {
        let at = |place: usize| FetchFrom { partition: partitions[place].clone(), offset: Offset(next[place]) };
        for fetched in log.fetch(&[at(0), at(1)], limits).await.unwrap() {
            let place = partitions.iter().position(|partition| *partition == fetched.partition).unwrap();
            let batch = fetched.result.unwrap();
            assert!(batch.high_watermark.0 > next[place], "what is given lies before the end");
            for stored in batch.records {
                assert_eq!(stored.offset, Offset(next[place]));
                assert_eq!(stored.record.value.as_deref(), Some(next[place].to_string().as_bytes()));
                next[place] += 1;
            }
        }
        sleep(pause).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn readers_at_any_pace_miss_nothing_and_see_nothing_twice() {
    let _brokers = broker::shared().await;
    let log = broker::log().await;
    let partitions = [broker::topic("readers-a").await, broker::topic("readers-b").await];
    let paces = [0, 0, 1, 50].map(Duration::from_millis);
    let mut readers: Vec<_> =
        paces.into_iter().map(|pace| tokio::spawn(read_all(log.clone(), partitions.clone(), pace))).collect();
    for number in 0..RECORDS {
        let [first, second] = &partitions;
        let value = number.to_string();
        let both = tokio::join!(log.append(first, vec![record(&value)]), log.append(second, vec![record(&value)]));
        assert_eq!((both.0.unwrap(), both.1.unwrap()), (Offset(number), Offset(number)));
        if number == RECORDS / 2 {
            readers.push(tokio::spawn(read_all(log.clone(), partitions.clone(), Duration::ZERO)));
        }
    }
    for reader in readers {
        within(IN_TIME, "a reader", reader).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn a_reader_at_the_end_hears_that_the_log_has_removed_what_it_wants() {
    let _brokers = broker::shared().await;
    let log = broker::log().await;
    let partition = broker::topic("removed").await;
    let limits = FetchLimits { max_bytes_per_partition: 64 * 1024, max_wait: Duration::from_millis(300) };
    let from = |offset| [FetchFrom { partition: partition.clone(), offset: Offset(offset) }];
    for number in 0..3 {
        log.append(&partition, vec![record(number.to_string())]).await.unwrap();
        assert_eq!(log.fetch(&from(number), limits).await.unwrap().len(), 1);
    }
    assert!(log.fetch(&from(3), limits).await.unwrap().is_empty());
    // What was brought ahead of its readers is kept for others: not what is removed.
    log.delete_before(&partition, Offset(2)).await.unwrap();
    let fetched = log.fetch(&from(1), limits).await.unwrap().pop().unwrap();
    assert!(matches!(fetched.result, Err(Error::OffsetOutOfRange { earliest: Offset(2), .. })), "{fetched:?}");
}

#[tokio::test]
#[ignore = "needs ORDERMESH_TEST_KAFKA_DIR, a Kafka broker (tools/kafka.sh)"]
async fn a_partition_that_always_has_something_does_not_hide_one_that_is_further_back() {
    const TURNS: u64 = 50;
    let _brokers = broker::shared().await;
    let log = broker::log().await;
    let [ahead, behind] = [broker::topic("ahead").await, broker::topic("behind").await];
    let one = |max_wait| FetchLimits { max_bytes_per_partition: 1, max_wait };
    let moment = Duration::from_millis(100);
    let from = |partition: &TopicPartition, offset| FetchFrom { partition: partition.clone(), offset: Offset(offset) };
    // Its readers are at the end, so that what comes now is at hand for as many fetches as there are records.
    assert!(log.fetch(&[from(&ahead, 0)], one(moment)).await.unwrap().is_empty());
    let numbers = || (0..2 * TURNS).map(|number| record(number.to_string())).collect::<Vec<_>>();
    log.append(&ahead, numbers()).await.unwrap();
    for value in numbers() {
        log.append(&behind, vec![value]).await.unwrap();
    }
    let mut next = [0; 2];
    for _ in 0..TURNS {
        for fetched in log.fetch(&[from(&ahead, next[0]), from(&behind, next[1])], one(IN_TIME)).await.unwrap() {
            let place = usize::from(fetched.partition == behind);
            next[place] += fetched.result.unwrap().records.len() as u64;
        }
    }
    assert!(next.iter().all(|next| *next >= TURNS / 2), "both go on: {next:?}");
}
