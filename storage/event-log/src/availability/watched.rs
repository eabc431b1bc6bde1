//! The adapter that notes what becomes of the calls to another log.

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Access, Availability, SLOW};
use crate::{Error, EventLog, FetchFrom, FetchLimits, Fetched, Offset, Record, SharedLog, TopicPartition, TopicSpec};

/// A log that is watched.
#[derive(Debug)]
pub struct WatchedLog {
    log: SharedLog,
    availability: Availability,
}

impl WatchedLog {
    /// Watches this log.
    #[must_use]
    pub fn new(log: SharedLog) -> Self {
        Self { log, availability: Availability::default() }
    }

    /// What becomes of the calls that go through it.
    #[must_use]
    pub fn availability(&self) -> Availability {
        self.availability.clone()
    }

    /// Awaits a call. One that takes much longer than `wait` is in trouble from its beginning, for as long as it takes.
    async fn await_watched<'a, T>(
        &self,
        wait: Duration,
        partitions: impl Iterator<Item = (Access, &'a TopicPartition)> + Clone,
        since: Instant,
        call: impl Future<Output = T> + Send,
    ) -> T {
        let mut call = std::pin::pin!(call);
        let mut patience = wait + SLOW;
        loop {
            if let Ok(done) = tokio::time::timeout(patience, call.as_mut()).await {
                return done;
            }
            patience = SLOW;
            for (access, partition) in partitions.clone() {
                self.availability.meets(access, partition, since, &"it does not answer", false);
            }
        }
    }
}

#[async_trait]
impl EventLog for WatchedLog {
    async fn ensure_topic(&self, spec: &TopicSpec) -> Result<(), Error> {
        self.log.ensure_topic(spec).await
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, Error> {
        self.log.topics().await
    }

    async fn append(&self, partition: &TopicPartition, records: Vec<Record>) -> Result<Offset, Error> {
        let since = Instant::now();
        let asked = std::iter::once((Access::Append, partition));
        let result = self.await_watched(Duration::ZERO, asked, since, self.log.append(partition, records)).await;
        self.availability.note(Access::Append, partition, since, &result);
        result
    }

    async fn fetch(&self, from: &[FetchFrom], limits: FetchLimits) -> Result<Vec<Fetched>, Error> {
        let since = Instant::now();
        let asked = from.iter().map(|from| (Access::Fetch, &from.partition));
        let result = self.await_watched(limits.max_wait, asked, since, self.log.fetch(from, limits)).await;
        match &result {
            Err(_) => {
                from.iter().for_each(|from| self.availability.note(Access::Fetch, &from.partition, since, &result))
            }
            Ok(fetched) => {
                for FetchFrom { partition, .. } in from {
                    match fetched.iter().find(|fetched| fetched.partition == *partition) {
                        Some(found) => self.availability.note(Access::Fetch, partition, since, &found.result),
                        None => self.availability.answered(Access::Fetch, partition),
                    }
                }
            }
        }
        result
    }

    async fn earliest(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        self.log.earliest(partition).await
    }

    async fn latest(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        let since = Instant::now();
        let asked = std::iter::once((Access::Fetch, partition));
        let result = self.await_watched(Duration::ZERO, asked, since, self.log.latest(partition)).await;
        self.availability.note(Access::Fetch, partition, since, &result);
        result
    }

    async fn delete_before(&self, partition: &TopicPartition, offset: Offset) -> Result<(), Error> {
        self.log.delete_before(partition, offset).await
    }
}
