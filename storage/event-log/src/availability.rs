//! Whether a log answers: an adapter in front of another that changes nothing and remembers which partitions are in trouble,
//! for health checks and metrics.
//!
//! In trouble is a partition whose appends or reads fail in a way that may pass ([`Error::is_retryable`]), or do not come back at
//! all, from the first such call to the next that succeeds. Callers repeat their calls, so that a trouble which nobody meets
//! again is over: whoever asked has no need to any more. What a partition takes it also gives, but not the other way round: a
//! full disk can be read.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{Error, EventLog, FetchFrom, FetchLimits, Fetched, Offset, Record, SharedLog, TopicPartition, TopicSpec};

/// A call that takes so much longer than it may is in trouble although it has not failed.
const SLOW: Duration = Duration::from_secs(2);
/// A trouble that nobody meets again for so long is forgotten. Longer than anybody waits between two tries, and than [`SLOW`].
const FORGET: Duration = Duration::from_secs(6);

/// What is asked of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Append,
    Fetch,
}

/// The log does not answer, in whole or in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// Since when; of several partitions the first.
    pub since: Instant,
    /// Partitions in trouble.
    pub partitions: usize,
    /// What the first of them was told.
    pub reason: String,
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    met: Instant,
    reason: String,
}

/// What is known of a log's troubles. Clones speak of the same log.
#[derive(Debug, Clone, Default)]
pub struct Availability(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Saves the lock as long as all is well.
    troubled: AtomicBool,
    troubles: Mutex<BTreeMap<(Kind, TopicPartition), Trouble>>,
}

impl Availability {
    /// The outage that has lasted for `least` or longer; none if the log answers.
    #[must_use]
    pub fn outage(&self, least: Duration) -> Option<Outage> {
        if !self.0.troubled.load(Ordering::Acquire) {
            return None;
        }
        let now = Instant::now();
        let mut troubles = self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.retain(|_, trouble| now.duration_since(trouble.met) < FORGET);
        self.0.troubled.store(!troubles.is_empty(), Ordering::Release);
        let lasting = troubles.values().filter(|trouble| now.duration_since(trouble.since) >= least);
        let (mut first, mut partitions) = (None::<&Trouble>, 0);
        for trouble in lasting {
            partitions += 1;
            first = first.filter(|first| first.since <= trouble.since).or(Some(trouble));
        }
        first.map(|first| Outage { since: first.since, partitions, reason: first.reason.clone() })
    }

    fn meets(&self, kind: Kind, partition: &TopicPartition, since: Instant, reason: &impl ToString) {
        let mut troubles = self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Trouble { since, met: since, reason: reason.to_string() };
        troubles.entry((kind, partition.clone())).or_insert_with(new).met = Instant::now();
        self.0.troubled.store(true, Ordering::Release);
    }

    fn answered(&self, kind: Kind, partition: &TopicPartition) {
        if self.0.troubled.load(Ordering::Acquire) {
            let mut troubles = self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner);
            troubles.remove(&(Kind::Fetch, partition.clone()));
            if kind == Kind::Append {
                troubles.remove(&(kind, partition.clone()));
            }
            self.0.troubled.store(!troubles.is_empty(), Ordering::Release);
        }
    }

    /// Notes what became of a call to one partition. An error for good is an answer.
    fn note<T>(&self, kind: Kind, partition: &TopicPartition, since: Instant, result: &Result<T, Error>) {
        match result {
            Err(error) if error.is_retryable() => self.meets(kind, partition, since, error),
            _ => self.answered(kind, partition),
        }
    }
}

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
        partitions: impl Iterator<Item = (Kind, &'a TopicPartition)> + Clone,
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
            for (kind, partition) in partitions.clone() {
                self.availability.meets(kind, partition, since, &"it does not answer");
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
        let asked = std::iter::once((Kind::Append, partition));
        let result = self.await_watched(Duration::ZERO, asked, since, self.log.append(partition, records)).await;
        self.availability.note(Kind::Append, partition, since, &result);
        result
    }

    async fn fetch(&self, from: &[FetchFrom], limits: FetchLimits) -> Result<Vec<Fetched>, Error> {
        let since = Instant::now();
        let asked = from.iter().map(|from| (Kind::Fetch, &from.partition));
        let result = self.await_watched(limits.max_wait, asked, since, self.log.fetch(from, limits)).await;
        match &result {
            Err(_) => from.iter().for_each(|from| self.availability.note(Kind::Fetch, &from.partition, since, &result)),
            Ok(fetched) => {
                for FetchFrom { partition, .. } in from {
                    match fetched.iter().find(|fetched| fetched.partition == *partition) {
                        Some(found) => self.availability.note(Kind::Fetch, partition, since, &found.result),
                        None => self.availability.answered(Kind::Fetch, partition),
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
        self.log.latest(partition).await
    }

    async fn delete_before(&self, partition: &TopicPartition, offset: Offset) -> Result<(), Error> {
        self.log.delete_before(partition, offset).await
    }
}

#[cfg(test)]
mod tests;
