//! Topics and records that the tests share.

use std::time::Duration;

use embedded_broker::EmbeddedLog;
use event_log::{
    Cleanup, Error, EventLog, FetchFrom, FetchLimits, FetchedBatch, Offset, Record, StoredRecord, TopicPartition,
    TopicSpec,
};

/// A partition of a topic that is created with `partitions` of them.
pub(crate) async fn topic(log: &EmbeddedLog, name: &str, partitions: u32) -> TopicPartition {
    let spec = TopicSpec { name: name.into(), partitions, cleanup: Cleanup::Never };
    log.ensure_topic(&spec).await.unwrap();
    TopicPartition::new(name, 0)
}

/// A record that names its number.
pub(crate) fn record(number: u64) -> Record {
    let key = Some(format!("key {number}").into());
    let value = Some(format!("the value of record {number}").into());
    Record { key, value, headers: Vec::new(), timestamp_ms: number.cast_signed() }
}

/// Appends the records of these numbers one by one, at the offsets of the same numbers.
pub(crate) async fn append(log: &EmbeddedLog, partition: &TopicPartition, numbers: std::ops::Range<u64>) {
    for number in numbers {
        assert_eq!(log.append(partition, vec![record(number)]).await.unwrap(), Offset(number));
    }
}

/// What stands at these offsets if each record names its own.
pub(crate) fn expected(numbers: std::ops::Range<u64>) -> Vec<StoredRecord> {
    numbers.map(|number| StoredRecord { offset: Offset(number), record: record(number) }).collect()
}

/// One fetch of one partition without waiting; `None` at the end of the log.
pub(crate) async fn fetch(
    log: &EmbeddedLog,
    partition: &TopicPartition,
    offset: u64,
    max_bytes_per_partition: usize,
) -> Option<Result<FetchedBatch, Error>> {
    let from = [FetchFrom { partition: partition.clone(), offset: Offset(offset) }];
    let limits = FetchLimits { max_bytes_per_partition, max_wait: Duration::ZERO };
    log.fetch(&from, limits).await.unwrap().pop().map(|fetched| fetched.result)
}

/// All records from `offset` to the end, or the first error.
pub(crate) async fn read(
    log: &EmbeddedLog,
    partition: &TopicPartition,
    offset: u64,
) -> Result<Vec<StoredRecord>, Error> {
    let mut records: Vec<StoredRecord> = Vec::new();
    let mut next = offset;
    while let Some(result) = fetch(log, partition, next, 10_000).await {
        records.extend(result?.records);
        next = records.last().unwrap().offset.0 + 1;
    }
    Ok(records)
}
