//! Single records of topics, by where they stand: for those who explain what happened, not for processing.

use std::time::Duration;

use event_log::{Error, FetchFrom, FetchLimits, Offset, StoredRecord, TopicPartition};

use super::{FeedError, Feeds};
use crate::{Source, schema};

/// Fetches after which a search gives up.
const FETCHES_MAX: usize = 64;

impl Feeds {
    /// The record at an offset; none when the log does not have it any more.
    ///
    /// # Errors
    /// The log does not answer, or there is no such partition.
    pub async fn record(&self, topic: &str, partition: u32, offset: u64) -> Result<Option<StoredRecord>, FeedError> {
        let records = self.some(topic, partition, offset, 1).await?;
        Ok(records.into_iter().find(|stored| stored.offset.0 == offset))
    }

    /// The first record of a key that stands at or behind an offset and has a higher number than `after`; none when it is
    /// not there, or too far away.
    ///
    /// # Errors
    /// As [`Feeds::record`].
    pub async fn find(
        &self,
        topic: &str,
        partition: u32,
        mut offset: u64,
        key: &[u8],
        after: u64,
    ) -> Result<Option<StoredRecord>, FeedError> {
        for _ in 0..FETCHES_MAX {
            let records = self.some(topic, partition, offset, self.config.fetch_bytes).await?;
            let Some(last) = records.last() else { return Ok(None) };
            offset = last.offset.0 + 1;
            let is_wanted = |stored: &StoredRecord| {
                let record = &stored.record;
                record.key.as_deref() == Some(key) && Source::of(record).is_some_and(|source| source.sequence > after)
            };
            if let Some(found) = records.into_iter().find(is_wanted) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// What stands at or behind an offset now.
    async fn some(
        &self,
        topic: &str,
        partition: u32,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Vec<StoredRecord>, FeedError> {
        let from = [FetchFrom { partition: TopicPartition::new(topic, partition), offset: Offset(offset) }];
        let limits = FetchLimits { max_bytes_per_partition: bytes_max, max_wait: Duration::ZERO };
        match self.log.fetch(&from, limits).await?.pop().map(|fetched| fetched.result) {
            None | Some(Err(Error::OffsetOutOfRange { .. })) => Ok(Vec::new()),
            Some(Err(error)) => Err(error.into()),
            // A fetch may begin before the offset, at the start of a batch.
            Some(Ok(batch)) => {
                let behind = batch.records.into_iter().skip_while(|stored| stored.offset.0 < offset);
                let bare = |stored: StoredRecord| StoredRecord {
                    record: schema::bare(&stored.record).into_owned(),
                    offset: stored.offset,
                };
                Ok(behind.map(bare).collect())
            }
        }
    }
}
