//! A log in memory that refuses what it is told to refuse, as one does whose brokers are away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use event_log::{
    Availability, Error, EventLog, FetchFrom, FetchLimits, Fetched, MemoryLog, Offset, Record, SharedLog,
    TopicPartition, TopicSpec, WatchedLog,
};

/// The log. Clones share what they hold and refuse.
#[derive(Debug, Clone, Default)]
pub struct TroubledLog {
    log: MemoryLog,
    refuses: Arc<Refuses>,
}

#[derive(Debug, Default)]
struct Refuses {
    appends: AtomicBool,
    reads: AtomicBool,
}

impl TroubledLog {
    /// Whether appends are refused from now on, and whether reads and questions for the end of a partition are.
    pub fn refuse(&self, appends: bool, reads: bool) {
        self.refuses.appends.store(appends, Ordering::Release);
        self.refuses.reads.store(reads, Ordering::Release);
    }

    /// The log with somebody who watches whether it answers, as a process has it.
    #[must_use]
    pub fn watched(&self) -> (SharedLog, Availability) {
        let watched = WatchedLog::new(Arc::new(self.clone()));
        let availability = watched.availability();
        (Arc::new(watched), availability)
    }

    fn admits(refused: &AtomicBool) -> Result<(), Error> {
        if refused.load(Ordering::Acquire) {
            return Err(Error::Unavailable("the test has taken it away".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl EventLog for TroubledLog {
    async fn ensure_topic(&self, spec: &TopicSpec) -> Result<(), Error> {
        self.log.ensure_topic(spec).await
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, Error> {
        self.log.topics().await
    }

    async fn append(&self, partition: &TopicPartition, records: Vec<Record>) -> Result<Offset, Error> {
        Self::admits(&self.refuses.appends)?;
        self.log.append(partition, records).await
    }

    async fn fetch(&self, from: &[FetchFrom], limits: FetchLimits) -> Result<Vec<Fetched>, Error> {
        Self::admits(&self.refuses.reads)?;
        self.log.fetch(from, limits).await
    }

    async fn earliest(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        self.log.earliest(partition).await
    }

    async fn latest(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        Self::admits(&self.refuses.reads)?;
        self.log.latest(partition).await
    }

    async fn delete_before(&self, partition: &TopicPartition, offset: Offset) -> Result<(), Error> {
        self.log.delete_before(partition, offset).await
    }
}
