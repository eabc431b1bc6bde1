//! Getting an entry into the changelog and finding out what became of it. An acknowledgement is not a commit: what counts
//! is what a reader of the log would say.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event_log::{Error, FetchFrom, FetchLimits, Offset, Record, SharedLog, TopicPartition};
use tokio::time::Instant;

use crate::TaskError;
use crate::changelog::{Chain, Read};
use crate::config::{Backoff, Config, answered};

/// What stands in the log after an append.
#[derive(Debug)]
pub(crate) enum Landed {
    /// Our entries stand exactly where they were expected, with nothing in between: they count.
    AsExpected,
    /// Something else stands there too: what counts is for the reader rule to say. Entries from the expected offset on.
    Among(Vec<(u64, Bytes)>),
    /// Given up although the outcome is not known: a planted bug.
    Abandoned,
}

/// What a follower of the log was given.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) entries: Vec<(u64, Bytes)>,
    /// End of the log.
    pub(crate) end: u64,
    /// When it was no further.
    pub(crate) as_of: Instant,
}

/// One changelog, for appending and reading.
#[derive(Debug, Clone)]
pub(crate) struct Changelog {
    pub(crate) log: SharedLog,
    pub(crate) partition: TopicPartition,
    pub(crate) config: Arc<Config>,
}

const READ_BYTES: usize = 1024 * 1024;

impl Changelog {
    /// Appends the entries of one commit or claim, which should stand from `expected` on, and reads back whatever else is
    /// found there. Retries with the same bytes until the outcome is known.
    pub(crate) async fn land(self, entries: Vec<Bytes>, expected: u64, chain: Chain) -> Result<Landed, TaskError> {
        let mut backoff = Backoff::new(&self.config);
        let (mut next, mut contiguous) = (expected, true);
        for entry in entries {
            loop {
                let record = Record { value: Some(entry.clone()), ..Record::default() };
                match self.log.append(&self.partition, vec![record]).await {
                    Ok(base) => {
                        if base.0 < next {
                            return Err(self.regressed(next, base.0));
                        }
                        contiguous &= base.0 == next;
                        next = base.0 + 1;
                        break;
                    }
                    Err(error) if error.is_retryable() => {
                        tracing::warn!(partition = %self.partition, %error, "commit is delayed");
                        if self.config.shortcut.abandons_unknown_outcomes() {
                            return Ok(Landed::Abandoned);
                        }
                        backoff.pause().await;
                        if let Some(seen) = self.settled(expected, &chain).await? {
                            return Ok(Landed::Among(seen));
                        }
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if contiguous || self.config.shortcut.trusts_the_ack() {
            return Ok(Landed::AsExpected);
        }
        Ok(Landed::Among(self.read(expected, next).await?))
    }

    /// After an unknown outcome: whether the log already says what became of the entry, so that nothing need be sent again.
    async fn settled(&self, expected: u64, chain: &Chain) -> Result<Option<Vec<(u64, Bytes)>>, TaskError> {
        let latest = self.latest().await?.0;
        if latest < expected {
            return Err(self.regressed(expected, latest));
        }
        let seen = self.read(expected, latest).await?;
        let mut scratch = chain.clone();
        for (offset, entry) in &seen {
            let read = scratch.read_with(entry, self.config.shortcut).map_err(|e| self.unreadable(*offset, &e))?;
            if matches!(read, Read::Claimed | Read::Committed(_)) {
                return Ok(Some(seen));
            }
        }
        Ok(None)
    }

    /// Entries of `[from, to)`, trying until the log answers.
    pub(crate) async fn read(&self, from: u64, to: u64) -> Result<Vec<(u64, Bytes)>, TaskError> {
        let mut entries = Vec::new();
        let mut next = from;
        let mut backoff = Backoff::new(&self.config);
        while next < to {
            match self.read_some(next).await {
                Ok(batch) if batch.is_empty() => self.still_ends_at(to).await?,
                Ok(batch) => {
                    for (offset, entry) in batch {
                        next = offset + 1;
                        if offset < to {
                            entries.push((offset, entry));
                        }
                    }
                }
                Err(TaskError::Log(error)) if error.is_retryable() => backoff.pause().await,
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    /// Fails if the log, which has ended at `to` before, does not any more.
    pub(crate) async fn still_ends_at(&self, to: u64) -> Result<(), TaskError> {
        let latest = self.latest().await?.0;
        if latest < to { Err(self.regressed(to, latest)) } else { Ok(()) }
    }

    /// Entries from `from` on, as many as one fetch gives; none at the end of the log.
    pub(crate) async fn read_some(&self, from: u64) -> Result<Vec<(u64, Bytes)>, TaskError> {
        // A short wait: a record that was acknowledged a moment ago may not be readable everywhere yet.
        let fetched = self.fetch(from, Duration::from_millis(200)).await?;
        Ok(fetched.map_or_else(Vec::new, |followed| followed.entries))
    }

    /// Waits for entries from `from` on, trying until the log answers.
    pub(crate) async fn follow(self, from: u64) -> Result<Followed, TaskError> {
        let mut backoff = Backoff::new(&self.config);
        loop {
            match self.fetch(from, self.config.fetch_wait).await {
                Ok(Some(followed)) => return Ok(followed),
                Ok(None) => {}
                Err(TaskError::Log(error)) if error.is_retryable() => backoff.pause().await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn fetch(&self, from: u64, max_wait: Duration) -> Result<Option<Followed>, TaskError> {
        let at = [FetchFrom { partition: self.partition.clone(), offset: Offset(from) }];
        let limits = FetchLimits { max_bytes_per_partition: READ_BYTES, max_wait };
        let Some(fetched) = self.log.fetch(&at, limits).await?.pop() else { return Ok(None) };
        let batch = fetched.result.map_err(|error| self.classed(error, from))?;
        let (end, as_of) = (batch.high_watermark.0, batch.as_of);
        let entries = batch.records.into_iter().map(|r| (r.offset.0, r.record.value.unwrap_or_default())).collect();
        Ok(Some(Followed { entries, end, as_of }))
    }

    /// End of the log, trying until it answers.
    pub(crate) async fn latest(&self) -> Result<Offset, TaskError> {
        Ok(answered(&self.config, || self.log.latest(&self.partition)).await?)
    }

    /// Start of the log, trying until it answers.
    pub(crate) async fn earliest(&self) -> Result<Offset, TaskError> {
        Ok(answered(&self.config, || self.log.earliest(&self.partition)).await?)
    }

    pub(crate) fn regressed(&self, expected: u64, found: u64) -> TaskError {
        let partition = self.partition.clone();
        TaskError::LogRegressed { partition, expected: Offset(expected), found: Offset(found) }
    }

    pub(crate) fn unreadable(&self, offset: u64, reason: &impl ToString) -> TaskError {
        let partition = self.partition.clone();
        TaskError::Unreadable { partition, offset: Offset(offset), reason: reason.to_string() }
    }

    fn classed(&self, error: Error, position: u64) -> TaskError {
        match error {
            Error::OffsetOutOfRange { earliest, .. } if earliest.0 > position => {
                TaskError::Overtaken { partition: self.partition.clone(), earliest, position: Offset(position) }
            }
            Error::OffsetOutOfRange { latest, .. } => self.regressed(position, latest.0),
            other => other.into(),
        }
    }
}
