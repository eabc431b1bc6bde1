//! The port itself.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{Error, Offset, Record, StoredRecord, TopicPartition, TopicSpec};

/// A log that is shared by the parts of a process.
pub type SharedLog = Arc<dyn EventLog>;

/// Where to read next in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchFrom {
    /// The partition.
    pub partition: TopicPartition,
    /// First offset wanted.
    pub offset: Offset,
}

/// Bounds of one fetch.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// Stop gathering at about this many bytes for each partition. At least one record is returned even if it is larger,
    /// and an adapter may finish the batch that it has begun.
    pub max_bytes_per_partition: usize,
    /// Longest time to wait when no partition has anything new. Zero asks without waiting.
    pub max_wait: Duration,
}

/// What one partition had.
#[derive(Debug)]
pub struct Fetched {
    /// The partition that was asked.
    pub partition: TopicPartition,
    /// Its records, or why there are none. One partition's error does not hide the others' records.
    pub result: Result<FetchedBatch, Error>,
}

/// Records of one partition.
#[derive(Debug)]
pub struct FetchedBatch {
    /// Records in offset order from the offset asked for. May begin later where the broker has removed records.
    pub records: Vec<StoredRecord>,
    /// First offset that is not yet readable; what a reader at the end has read up to.
    pub high_watermark: Offset,
    /// A time at which the high watermark was no higher: whoever has read up to it has read all that there was then. An
    /// adapter that reads ahead may have looked before it was asked.
    pub as_of: Instant,
}

impl FetchedBatch {
    /// The offset behind the last record; none without records.
    #[must_use]
    pub fn end(&self) -> Option<Offset> {
        self.records.last().map(|last| last.offset.next())
    }
}

/// A partitioned, append-only log.
///
/// Calls may be dropped at any await. A dropped `append` has an unknown outcome; every other call has no effect when dropped.
#[async_trait]
pub trait EventLog: Send + Sync + Debug + 'static {
    /// Creates the topic, or checks that the existing one has these properties.
    ///
    /// # Errors
    /// [`Error::TopicMismatch`] when it exists otherwise; [`Error::Failed`] when no topic can be like this.
    async fn ensure_topic(&self, spec: &TopicSpec) -> Result<(), Error>;

    /// All topics with their properties, by name.
    async fn topics(&self) -> Result<Vec<TopicSpec>, Error>;

    /// Appends the records as one batch, all or nothing, and returns the offset of the first. The others follow densely.
    ///
    /// An empty list is an error of the caller and answered with [`Error::Failed`].
    ///
    /// # Errors
    /// After [`Error::UnknownOutcome`] the batch may be in the log, or land later, or be there twice. After
    /// [`Error::TooLarge`] and [`Error::Unavailable`] it is not there and will not be. After [`Error::Failed`] it is not
    /// readable, but may be once the log was opened again.
    async fn append(&self, partition: &TopicPartition, records: Vec<Record>) -> Result<Offset, Error>;

    /// Reads several partitions, each from its offset, and waits up to `max_wait` until any of them has something (or an error).
    ///
    /// Returns an entry for each partition that has records or an error, in the order asked; none when the time is over.
    /// One call costs one waiter however many partitions it names, and an adapter may send it as one request.
    ///
    /// An offset at the end of a partition waits; one below its start or beyond its end is that partition's
    /// [`Error::OffsetOutOfRange`].
    async fn fetch(&self, from: &[FetchFrom], limits: FetchLimits) -> Result<Vec<Fetched>, Error>;

    /// First offset that can be read.
    async fn earliest(&self, partition: &TopicPartition) -> Result<Offset, Error>;

    /// The high watermark: the offset that the next record will get, as far as readers may see.
    async fn latest(&self, partition: &TopicPartition) -> Result<Offset, Error>;

    /// Removes all records below `offset`, for good. Below the earliest offset it does nothing.
    ///
    /// # Errors
    /// [`Error::OffsetOutOfRange`] beyond the high watermark.
    async fn delete_before(&self, partition: &TopicPartition, offset: Offset) -> Result<(), Error>;
}
