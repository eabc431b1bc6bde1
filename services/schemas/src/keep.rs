//! The topic `schemas`: what stands there is read before anything is written, and what is missing is added.
//!
//! One partition, and no cleanup: its order is what decides between two schemas that break each other, and a broker that
//! compacts would keep the later one of two equal keys. It grows by one record for each topic and each change of its schema.

use std::time::Duration;

use event_log::{
    Cleanup, Error, FetchFrom, FetchLimits, Header, Offset, Record, SharedLog, StoredRecord, TopicName, TopicPartition,
    TopicSpec,
};
use task_runtime::{SCHEMA_HEADER, Schema};

use crate::{History, Refusal, Version};

/// Name of the topic.
pub const TOPIC: &str = "schemas";

/// Bytes of one append and of one fetch.
const BYTES_MAX: usize = 256 * 1024;
/// Longest wait of a fetch that is known to find something.
const WAIT: Duration = Duration::from_secs(1);
/// Pauses while the log does not answer, and how often it is asked again.
const PAUSE: Duration = Duration::from_millis(100);
const TRIES_MAX: u32 = 50;

/// Why the schemas of a process cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Records that are there, or that others write, would be broken.
    #[error("{}", list(.0))]
    Incompatible(Vec<Refusal>),
    /// The log does not answer, or refuses.
    #[error("the topic {TOPIC} cannot be used")]
    Log(#[from] Error),
}

fn list(refusals: &[Refusal]) -> String {
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Reads and writes the topic.
#[derive(Debug, Clone)]
pub struct Keeper {
    log: SharedLog,
    at: TopicPartition,
    own: Schema,
}

impl Keeper {
    /// The keeper of the schemas of a mesh. `own` is the schema of the topic's own records.
    #[must_use]
    pub fn new(log: SharedLog, own: Schema) -> Self {
        Self { log, at: TopicPartition::new(TOPIC, 0), own }
    }

    /// All schemas that count.
    ///
    /// # Errors
    /// The log does not answer.
    pub async fn read(&self) -> Result<History, Error> {
        let mut reading = Reading::default();
        self.read_on(&mut reading).await?;
        Ok(reading.history)
    }

    /// Makes sure that the log knows what this process reads and writes. `versions` are all of them; those of topics that
    /// `writes` accepts are written by this process, and added where they are missing.
    ///
    /// # Errors
    /// [`KeepError::Incompatible`] with everything that would be broken; then nothing was added.
    pub async fn keep(&self, versions: &[Version], writes: impl Fn(&str) -> bool) -> Result<History, KeepError> {
        let name = TopicName::new(TOPIC);
        self.log.ensure_topic(&TopicSpec { name, partitions: 1, cleanup: Cleanup::Never }).await?;
        let mut reading = Reading::default();
        self.read_on(&mut reading).await?;
        check(&reading.history, versions)?;

        let is_missing = |version: &&Version| {
            writes(&version.topic) && !reading.history.has(&version.topic, version.described.fingerprint)
        };
        let missing: Vec<&Version> = versions.iter().filter(is_missing).collect();
        if missing.is_empty() {
            return Ok(reading.history);
        }
        tracing::info!(count = missing.len(), "schemas are new to the log");
        let mut rest: Vec<Record> = missing.into_iter().map(|version| self.record(version)).collect();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |record: &&Record| {
                bytes += record.approximate_size();
                bytes <= BYTES_MAX
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let behind = rest.split_off(count);
            self.append(rest).await?;
            rest = behind;
        }
        // Others may have started at the same time: what stands in the log before ours comes first.
        self.read_on(&mut reading).await?;
        check(&reading.history, versions)?;
        Ok(reading.history)
    }

    fn record(&self, version: &Version) -> Record {
        Record {
            key: Some(version.topic.clone().into()),
            value: Some(version.to_bytes().into()),
            headers: vec![Header::new(SCHEMA_HEADER, self.own.header().clone())],
            timestamp_ms: version.time_ms,
        }
    }

    /// A record that is there twice counts once: what may have been appended can be appended again.
    async fn append(&self, records: Vec<Record>) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            match self.log.append(&self.at, records.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_retryable() && tries < TRIES_MAX => tries += 1,
                Err(error) => return Err(error),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn read_on(&self, reading: &mut Reading) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            match self.read_to_end(reading).await {
                Err(error) if error.is_retryable() && tries < TRIES_MAX => tries += 1,
                ended => return ended,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn read_to_end(&self, reading: &mut Reading) -> Result<(), Error> {
        let end = self.log.latest(&self.at).await?;
        // Somebody may have trimmed it, which forgets what stood there.
        reading.next = reading.next.max(self.log.earliest(&self.at).await?);
        while reading.next < end {
            let from = [FetchFrom { partition: self.at.clone(), offset: reading.next }];
            let limits = FetchLimits { max_bytes_per_partition: BYTES_MAX, max_wait: WAIT };
            for fetched in self.log.fetch(&from, limits).await? {
                for stored in fetched.result?.records {
                    reading.take(&stored);
                }
            }
        }
        Ok(())
    }
}

/// How far the topic has been read.
#[derive(Default)]
struct Reading {
    next: Offset,
    history: History,
}

impl Reading {
    fn take(&mut self, stored: &StoredRecord) {
        let StoredRecord { offset, record } = stored;
        if *offset < self.next {
            return;
        }
        self.next = offset.next();
        match record.value.as_deref().map(Version::of) {
            Some(Ok(version)) => {
                let topic = version.topic.clone();
                if self.history.take(version).is_err() {
                    tracing::debug!(topic, %offset, "a schema that breaks an earlier one does not count");
                }
            }
            None | Some(Err(_)) => tracing::warn!(%offset, "a record of the topic schemas cannot be read"),
        }
    }
}

fn check(history: &History, versions: &[Version]) -> Result<(), KeepError> {
    let judge = |version: &Version| history.judge(&version.topic, &version.described, version.build).err();
    let refused: Vec<Refusal> = versions.iter().filter_map(judge).collect();
    if refused.is_empty() { Ok(()) } else { Err(KeepError::Incompatible(refused)) }
}
