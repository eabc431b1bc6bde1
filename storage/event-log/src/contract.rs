//! The behaviour that every adapter of the port must show, as one suite: an adapter's tests call [`run`].
//!
//! Each case runs twice on topics of its own: on a log that stays open, and on one that is closed and opened again between
//! steps. What holds in both passes is what the rest of the mesh may build on. The suite panics at the first difference.

mod append;
mod fetch;
mod topics;
mod trim;
mod wait;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Cleanup, Error, FetchFrom, FetchLimits, Fetched, Offset, Record, SharedLog, StoredRecord, TopicPartition, TopicSpec,
};

/// Opens and closes the log under test.
#[async_trait]
pub trait Factory: Send + Sync {
    /// Opens the log: the same data each time.
    async fn open(&self) -> SharedLog;

    /// Closes the log, so that it can be opened again. Nothing else holds it by then.
    async fn close(&self, log: SharedLog);

    /// How the names of the suite's topics begin. A log that outlives the test run needs another beginning each time.
    fn topic_prefix(&self) -> String {
        "contract".to_owned()
    }

    /// Largest append that the log takes, in bytes: what Kafka brokers take unless they are told otherwise.
    fn batch_bytes_max(&self) -> usize {
        1_048_588
    }

    /// Whether headers come back as a map: sorted by name, and of a repeated name the first only.
    fn headers_are_a_map(&self) -> bool {
        false
    }
}

/// Runs every case, first on a log that stays open and then on one that is reopened between steps.
///
/// # Panics
/// When the log does not behave as the port says.
pub async fn run(factory: &dyn Factory) {
    for reopening in [false, true] {
        let mut subject = Subject { factory, reopening, log: factory.open().await };
        append::cases(&mut subject).await;
        fetch::cases(&mut subject).await;
        wait::cases(&mut subject).await;
        topics::cases(&mut subject).await;
        trim::cases(&mut subject).await;
        factory.close(subject.log).await;
    }
}

/// The log under test and how it is treated.
struct Subject<'a> {
    factory: &'a dyn Factory,
    reopening: bool,
    log: SharedLog,
}

/// Longest time that anything may take that is expected to happen: generous, since test machines are busy.
const PATIENCE: Duration = Duration::from_secs(30);

impl Subject<'_> {
    /// Between two steps of a case: closes and opens the log in the pass that asks for it.
    async fn step(&mut self) {
        if self.reopening {
            // The old handle goes with the move: whatever stands in between must not be used.
            let closed: SharedLog = std::mem::replace(&mut self.log, std::sync::Arc::new(crate::MemoryLog::new()));
            self.factory.close(closed).await;
            self.log = self.factory.open().await;
        }
    }

    /// The declaration of a topic that no other case and no other pass uses.
    fn spec(&self, case: &str, partitions: u32) -> TopicSpec {
        let pass = if self.reopening { "reopened" } else { "plain" };
        let name = format!("{}-{pass}-{case}", self.factory.topic_prefix());
        TopicSpec { name: name.as_str().into(), partitions, cleanup: Cleanup::Never }
    }

    /// Creates a topic for this case and names its first partition.
    async fn topic(&self, case: &str, partitions: u32) -> TopicPartition {
        let spec = self.spec(case, partitions);
        self.log.ensure_topic(&spec).await.expect("a new topic is created");
        TopicPartition { topic: spec.name, partition: 0 }
    }

    async fn append(&self, partition: &TopicPartition, records: Vec<Record>) -> Offset {
        self.log.append(partition, records).await.expect("the records are appended")
    }

    /// Appends `count` records, one at a time, with values that name their offset.
    async fn fill(&self, partition: &TopicPartition, count: u64) {
        let first = self.latest(partition).await.0;
        for offset in first..first + count {
            assert_eq!(self.append(partition, vec![numbered(offset)]).await, Offset(offset));
        }
    }

    async fn earliest(&self, partition: &TopicPartition) -> Offset {
        self.log.earliest(partition).await.expect("the partition has a start")
    }

    async fn latest(&self, partition: &TopicPartition) -> Offset {
        self.log.latest(partition).await.expect("the partition has an end")
    }

    /// Asks one partition without waiting.
    async fn ask(&self, partition: &TopicPartition, offset: u64) -> Vec<Fetched> {
        let from = [at(partition, offset)];
        self.log.fetch(&from, limits(usize::MAX, Duration::ZERO)).await.expect("the fetch is answered")
    }

    /// Reads from `offset` to the end of the log.
    async fn read(&self, partition: &TopicPartition, offset: u64) -> Vec<StoredRecord> {
        let end = self.latest(partition).await.0;
        let mut records = Vec::new();
        let mut next = offset;
        while next < end {
            let batch = only(self.ask(partition, next).await).result.expect("the records can be read");
            assert!(batch.high_watermark.0 >= end, "the high watermark never moves back");
            next = batch.records.last().expect("an answer has records").offset.0 + 1;
            records.extend(batch.records);
        }
        records
    }

    /// Asserts that the partition refuses `offset` and says where it begins and ends.
    async fn assert_out_of_range(&self, partition: &TopicPartition, offset: u64, bounds: (u64, u64)) {
        // A long wait shows that an error does not wait.
        let from = [at(partition, offset)];
        let answer = within(self.log.fetch(&from, limits(1, PATIENCE * 2))).await.expect("the fetch is answered");
        assert_out_of_range(only(answer).result, partition, offset, bounds);
    }
}

fn assert_out_of_range<T: Debug>(result: Result<T, Error>, asked: &TopicPartition, at: u64, bounds: (u64, u64)) {
    match result {
        Err(Error::OffsetOutOfRange { partition, offset, earliest, latest }) => {
            assert_eq!((&partition, offset.0, (earliest.0, latest.0)), (asked, at, bounds));
        }
        other => panic!("offset {at} of {asked} must be out of range {bounds:?}: {other:?}"),
    }
}

fn assert_unknown<T: Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::UnknownTopic(_))), "must be an unknown topic: {result:?}");
}

/// Waits for something that must happen.
async fn within<T>(act: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, act).await.expect("it happens in time")
}

fn only(mut answer: Vec<Fetched>) -> Fetched {
    assert_eq!(answer.len(), 1, "one partition answers: {answer:?}");
    answer.remove(0)
}

fn at(partition: &TopicPartition, offset: u64) -> FetchFrom {
    FetchFrom { partition: partition.clone(), offset: Offset(offset) }
}

fn limits(max_bytes_per_partition: usize, max_wait: Duration) -> FetchLimits {
    FetchLimits { max_bytes_per_partition, max_wait }
}

fn beside(partition: &TopicPartition, number: u32) -> TopicPartition {
    TopicPartition { topic: partition.topic.clone(), partition: number }
}

fn numbered(number: u64) -> Record {
    let text = number.to_string();
    let (key, value) = (format!("key {text}"), format!("value {text}"));
    Record { key: Some(key.into()), value: Some(value.into()), headers: Vec::new(), timestamp_ms: 1_700_000_000_000 }
}

fn sized(value_bytes: usize) -> Record {
    Record { value: Some(Bytes::from(vec![b'x'; value_bytes])), ..Record::default() }
}

/// What `fill` has written to these offsets.
fn filled(offsets: std::ops::Range<u64>) -> Vec<StoredRecord> {
    offsets.map(|offset| StoredRecord { offset: Offset(offset), record: numbered(offset) }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::MemoryLog;

    struct Memory(MemoryLog);

    #[async_trait]
    impl Factory for Memory {
        async fn open(&self) -> SharedLog {
            Arc::new(self.0.clone())
        }

        async fn close(&self, log: SharedLog) {
            drop(log);
        }
    }

    #[tokio::test]
    async fn memory_log_behaves_as_a_log() {
        run(&Memory(MemoryLog::new())).await;
    }

    #[tokio::test(start_paused = true)]
    async fn memory_log_behaves_as_a_log_in_paused_time() {
        run(&Memory(MemoryLog::new())).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn memory_log_behaves_as_a_log_on_several_threads() {
        run(&Memory(MemoryLog::new())).await;
    }
}
