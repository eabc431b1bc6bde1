//! A log in memory: the reference for what the port promises, and the log of simulations and unit tests.
//!
//! Clones share one log, so it outlives whoever uses it, as a broker does. Nothing in it depends on hash order, on the wall
//! clock or on threads: in a single-threaded runtime with paused time the same calls give the same run.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::{
    Error, EventLog, FetchFrom, FetchLimits, Fetched, FetchedBatch, Offset, Record, StoredRecord, TopicName,
    TopicPartition, TopicSpec,
};

/// Largest append that is taken, in bytes: what Kafka brokers take unless they are told otherwise.
const BATCH_BYTES_MAX: usize = 1_048_588;

/// A log that lives in memory and in nothing else.
#[derive(Debug, Clone, Default)]
pub struct MemoryLog {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    topics: Mutex<BTreeMap<TopicName, Topic>>,
    /// Told whenever any partition changed. One for all: simulations have few readers, and this keeps them in order.
    moved: Notify,
}

#[derive(Debug)]
struct Topic {
    spec: TopicSpec,
    partitions: Vec<Sequence>,
}

/// The records of one partition: `records[i]` stands at `start + i`.
#[derive(Debug, Default)]
struct Sequence {
    start: u64,
    records: VecDeque<Record>,
}

impl Sequence {
    fn end(&self) -> u64 {
        self.start + self.records.len() as u64
    }

    /// Position of `offset` in `records`, if it lies in the log or just behind it.
    fn position(&self, partition: &TopicPartition, offset: Offset) -> Result<usize, Error> {
        if offset.0 < self.start || offset.0 > self.end() {
            let (earliest, latest) = (Offset(self.start), Offset(self.end()));
            return Err(Error::OffsetOutOfRange { partition: partition.clone(), offset, earliest, latest });
        }
        Ok(usize::try_from(offset.0 - self.start).expect("the records up to here are in memory"))
    }

    fn read(&self, from: &FetchFrom, bytes_max: usize) -> Result<FetchedBatch, Error> {
        let skip = self.position(&from.partition, from.offset)?;
        let mut records = Vec::new();
        let mut bytes = 0;
        for (record, offset) in self.records.iter().skip(skip).zip(from.offset.0..) {
            bytes += record.approximate_size();
            if bytes > bytes_max && !records.is_empty() {
                break;
            }
            records.push(StoredRecord { offset: Offset(offset), record: record.clone() });
        }
        Ok(FetchedBatch { records, high_watermark: Offset(self.end()), as_of: Instant::now() })
    }
}

impl MemoryLog {
    /// An empty log without topics.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses every record at or behind `from`, as a broker does that crashed before it had synced its tail. The lost
    /// offsets will be given out again. Below the earliest offset, everything goes and the earliest offset is next.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`].
    pub fn truncate(&self, partition: &TopicPartition, from: Offset) -> Result<(), Error> {
        self.with(partition, |sequence| {
            let keep = from.0.saturating_sub(sequence.start);
            sequence.records.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        })?;
        self.shared.moved.notify_waiters();
        Ok(())
    }

    fn topics(&self) -> MutexGuard<'_, BTreeMap<TopicName, Topic>> {
        self.shared.topics.lock().expect("no holder of this lock panics")
    }

    fn with<T>(&self, partition: &TopicPartition, act: impl FnOnce(&mut Sequence) -> T) -> Result<T, Error> {
        let mut topics = self.topics();
        let sequence = topics
            .get_mut(&partition.topic)
            .and_then(|topic| topic.partitions.get_mut(partition.partition as usize))
            .ok_or_else(|| Error::UnknownTopic(partition.to_string()))?;
        Ok(act(sequence))
    }

    /// What there is now: an entry for each partition that has records or an error.
    fn read(&self, from: &[FetchFrom], bytes_max: usize) -> Vec<Fetched> {
        let mut found = Vec::new();
        for wanted in from {
            let result =
                self.with(&wanted.partition, |sequence| sequence.read(wanted, bytes_max)).and_then(|read| read);
            if !matches!(&result, Ok(batch) if batch.records.is_empty()) {
                found.push(Fetched { partition: wanted.partition.clone(), result });
            }
        }
        found
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn ensure_topic(&self, spec: &TopicSpec) -> Result<(), Error> {
        spec.check()?;
        let mut topics = self.topics();
        if let Some(topic) = topics.get(&spec.name) {
            return topic.spec.check_matches(spec);
        }
        let partitions = (0..spec.partitions).map(|_| Sequence::default()).collect();
        topics.insert(spec.name.clone(), Topic { spec: spec.clone(), partitions });
        Ok(())
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, Error> {
        Ok(self.topics().values().map(|topic| topic.spec.clone()).collect())
    }

    async fn append(&self, partition: &TopicPartition, records: Vec<Record>) -> Result<Offset, Error> {
        if records.is_empty() {
            return Err(Error::Failed(format!("an append to {partition} has no records")));
        }
        let base = self.with(partition, |sequence| {
            let size = records.iter().map(Record::approximate_size).sum();
            if size > BATCH_BYTES_MAX {
                return Err(Error::TooLarge { size, limit: BATCH_BYTES_MAX });
            }
            let base = sequence.end();
            sequence.records.extend(records);
            Ok(Offset(base))
        })??;
        self.shared.moved.notify_waiters();
        Ok(base)
    }

    async fn fetch(&self, from: &[FetchFrom], limits: FetchLimits) -> Result<Vec<Fetched>, Error> {
        // None when the wait is so long that it has no end.
        let deadline = Instant::now().checked_add(limits.max_wait);
        loop {
            // Enlisted before reading: what is appended after the read wakes this fetch.
            let mut moved = std::pin::pin!(self.shared.moved.notified());
            moved.as_mut().enable();
            let found = self.read(from, limits.max_bytes_per_partition);
            if !found.is_empty() || limits.max_wait.is_zero() {
                return Ok(found);
            }
            match deadline {
                None => moved.await,
                Some(deadline) => {
                    if tokio::time::timeout_at(deadline, moved).await.is_err() {
                        return Ok(found);
                    }
                }
            }
        }
    }

    async fn earliest(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        self.with(partition, |sequence| Offset(sequence.start))
    }

    async fn latest(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        self.with(partition, |sequence| Offset(sequence.end()))
    }

    async fn delete_before(&self, partition: &TopicPartition, offset: Offset) -> Result<(), Error> {
        self.with(partition, |sequence| {
            if offset.0 > sequence.start {
                let gone = sequence.position(partition, offset)?;
                sequence.records.drain(..gone);
                sequence.start = offset.0;
            }
            Ok(())
        })??;
        self.shared.moved.notify_waiters();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cleanup;

    async fn log_of(records: u64) -> (MemoryLog, TopicPartition) {
        let log = MemoryLog::new();
        let spec = TopicSpec { name: "events".into(), partitions: 1, cleanup: Cleanup::Never };
        log.ensure_topic(&spec).await.unwrap();
        let partition = TopicPartition::new("events", 0);
        for timestamp_ms in 0..records {
            let record = Record { timestamp_ms: timestamp_ms.cast_signed(), ..Record::default() };
            log.append(&partition, vec![record]).await.unwrap();
        }
        (log, partition)
    }

    #[tokio::test]
    async fn a_lost_tail_is_gone_and_its_offsets_come_again() {
        let (log, partition) = log_of(10).await;
        log.truncate(&partition, Offset(12)).unwrap();
        assert_eq!(log.latest(&partition).await.unwrap(), Offset(10));
        log.truncate(&partition, Offset(6)).unwrap();
        assert_eq!(log.latest(&partition).await.unwrap(), Offset(6));
        assert_eq!(log.append(&partition, vec![Record::default()]).await.unwrap(), Offset(6));
        log.delete_before(&partition, Offset(4)).await.unwrap();
        log.truncate(&partition, Offset(2)).unwrap();
        assert_eq!(log.earliest(&partition).await.unwrap(), Offset(4));
        assert_eq!(log.latest(&partition).await.unwrap(), Offset(4));
        assert!(matches!(log.truncate(&TopicPartition::new("events", 1), Offset(0)), Err(Error::UnknownTopic(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_past_a_lost_tail_is_told() {
        let (log, partition) = log_of(3).await;
        let from = [FetchFrom { partition: partition.clone(), offset: Offset(3) }];
        let limits = FetchLimits { max_bytes_per_partition: 1, max_wait: std::time::Duration::MAX };
        let lose = async { log.truncate(&partition, Offset(1)).unwrap() };
        let (answer, ()) = tokio::join!(log.fetch(&from, limits), lose);
        let result = &answer.unwrap()[0].result;
        assert!(matches!(result, Err(Error::OffsetOutOfRange { latest: Offset(1), .. })), "{result:?}");
    }
}
