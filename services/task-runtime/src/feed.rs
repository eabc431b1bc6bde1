//! A service's own output topic as a feed: each partition is read once for any number of readers, which start at any
//! position, miss nothing and see nothing twice.
//!
//! The records of such a topic come from one task and are numbered by it, so that `(sequence, offset)` is a position: what
//! has been seen, and where to read on. Repeats after a crash are recognised by their number. One reader of the log keeps
//! the newest events of a partition in a bounded ring; subscriptions hold a number each and read from there. One that has
//! fallen out of the ring although something in it was for it is [`FeedError::Behind`]: a slow reader costs nothing.
//!
//! A feed does not depend on who owns the partition: the topic is the truth for every process.

mod follow;
mod lookup;
mod ring;
mod subscription;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use event_log::{Error, Offset, Record, SharedLog, TopicName, TopicPartition};
use tokio::sync::Semaphore;

use ring::Ring;
pub use subscription::{Subscription, Taken};

/// One event of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Where its record stands.
    pub offset: u64,
    /// Its number among all records of its partition, from 1.
    pub sequence: u64,
    /// Key of the record.
    pub key: Bytes,
    /// What the service made of the record.
    pub content: Content,
}

/// What a service makes of a record for its readers. The runtime only compares it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// What several keys belong to, such as a customer.
    pub group: Bytes,
    /// A class that readers can ask for, such as a state.
    pub class: u32,
    /// The event, encoded for those who watch: shared by all of them.
    pub body: Bytes,
}

/// Where a record of a feed stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its partition.
    pub partition: u32,
    /// Its number among all records of its partition, from 1.
    pub sequence: u64,
}

/// Makes content of a record; `None` for what readers do not see.
pub type Decode = fn(&Record, Place) -> Option<Content>;

/// What a reader wants to see. All conditions that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interest {
    /// Only events of this key.
    pub key: Option<Bytes>,
    /// Only events of this group.
    pub group: Option<Bytes>,
    /// Only events of this class.
    pub class: Option<u32>,
}

impl Interest {
    fn wants(&self, event: &Event) -> bool {
        self.key.as_ref().is_none_or(|key| *key == event.key)
            && self.group.as_ref().is_none_or(|group| *group == event.content.group)
            && self.class.is_none_or(|class| class == event.content.class)
    }
}

/// A position in one partition of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedPosition {
    /// The life of the sender's changelog.
    pub incarnation: u128,
    /// Number of the last record that has been seen.
    pub sequence: u64,
    /// Where to read on.
    pub offset: u64,
}

/// Limits of feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedConfig {
    /// Memory for the newest events of one partition, while somebody reads it.
    pub ring_bytes: usize,
    /// Bytes of one fetch.
    pub fetch_bytes: usize,
    /// Readers of one feed that may read old records from the log at one time; others wait.
    pub catch_ups_max: usize,
}

impl Default for FeedConfig {
    fn default() -> Self {
        Self { ring_bytes: 2 << 20, fetch_bytes: 256 << 10, catch_ups_max: 8 }
    }
}

/// Why a feed ends for a reader.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FeedError {
    /// The position is older than what the log keeps, or not of this log.
    #[error("the position is not in the log, which begins at {earliest}")]
    Expired {
        /// First offset that can be read.
        earliest: u64,
    },
    /// The reader is so slow that what it has not read is no longer kept in memory.
    #[error("the reader is too slow")]
    Behind,
    /// The partition has begun another life: positions of this one mean nothing in it.
    #[error("the partition has begun another life")]
    AnotherLife,
    /// The log does not answer, or refuses.
    #[error(transparent)]
    Log(#[from] Error),
}

/// Makes the feeds of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Feeds {
    log: SharedLog,
    partitions: u32,
    config: FeedConfig,
}

impl Feeds {
    /// Feeds of topics that have so many partitions.
    #[must_use]
    pub fn new(log: SharedLog, partitions: u32, config: FeedConfig) -> Self {
        Self { log, partitions, config }
    }

    /// The feed of a topic that the tasks of `service` write, and nobody else.
    #[must_use]
    pub fn of(&self, service: &'static str, topic: &'static str, decode: Decode) -> Feed {
        let partitions = (0..self.partitions).map(|partition| Channel {
            at: TopicPartition::new(topic, partition),
            task: format!("{service}/{partition}"),
            ring: Mutex::new(Ring::new(self.config.ring_bytes)),
        });
        Feed(Arc::new(Shared {
            log: self.log.clone(),
            topic: TopicName::new(topic),
            decode,
            config: self.config,
            catch_ups: Semaphore::new(self.config.catch_ups_max),
            partitions: partitions.collect(),
        }))
    }
}

/// The feed of one topic. Cheap to clone.
#[derive(Clone)]
pub struct Feed(Arc<Shared>);

struct Shared {
    log: SharedLog,
    topic: TopicName,
    decode: Decode,
    config: FeedConfig,
    catch_ups: Semaphore,
    partitions: Vec<Channel>,
}

/// One partition of a feed.
struct Channel {
    at: TopicPartition,
    /// Who writes it.
    task: String,
    ring: Mutex<Ring>,
}

impl Channel {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feed {
    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &TopicName {
        &self.0.topic
    }

    /// The offset behind the last record of a partition. Asked before a strong read of the writing task, it is an offset
    /// before which everything is in that read's state.
    ///
    /// # Errors
    /// The log does not answer, or there is no such partition.
    pub async fn end(&self, partition: u32) -> Result<u64, FeedError> {
        Ok(self.0.log.latest(&self.channel(partition)?.at).await?.0)
    }

    /// The first offset of a partition that can still be read.
    ///
    /// # Errors
    /// The log does not answer, or there is no such partition.
    pub async fn earliest(&self, partition: u32) -> Result<u64, FeedError> {
        Ok(self.0.log.earliest(&self.channel(partition)?.at).await?.0)
    }

    /// Reads a partition on from a position that the log must still have.
    ///
    /// # Errors
    /// [`FeedError::Expired`] when it does not.
    pub async fn subscribe(
        &self,
        partition: u32,
        from: FeedPosition,
        interest: Interest,
    ) -> Result<Subscription, FeedError> {
        let channel = self.channel(partition)?;
        let Offset(earliest) = self.0.log.earliest(&channel.at).await?;
        let Offset(end) = self.0.log.latest(&channel.at).await?;
        if !(earliest..=end).contains(&from.offset) {
            return Err(FeedError::Expired { earliest });
        }
        Ok(Subscription::new(self.clone(), partition, from, interest, end))
    }

    fn channel(&self, partition: u32) -> Result<&Channel, FeedError> {
        let unknown = || Error::UnknownTopic(format!("{}/{partition}", self.0.topic));
        Ok(self.0.partitions.get(partition as usize).ok_or_else(unknown)?)
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("topic", &self.0.topic).finish_non_exhaustive()
    }
}
