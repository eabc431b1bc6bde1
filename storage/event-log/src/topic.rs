//! Names and properties of topics, and positions in them.

use std::fmt;
use std::sync::Arc;

use crate::Error;

/// Name of a topic: 1 to 249 of `[A-Za-z0-9._-]`, as Kafka has it. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Wraps a name. Adapters refuse a name outside the character set when the topic is created.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether every adapter accepts the name.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        (1..=249).contains(&self.0.len())
            && !matches!(&*self.0, "." | "..")
            && self.0.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    }
}

impl From<&str> for TopicName {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Number of a partition within its topic, from 0.
pub type Partition = u32;

/// One partition of one topic.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition in it.
    pub partition: Partition,
}

impl TopicPartition {
    /// Names one partition.
    #[must_use]
    pub fn new(topic: impl Into<TopicName>, partition: Partition) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Position of a record in its partition. A committed or checkpointed offset is the *next* one to read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Offset(pub u64);

impl Offset {
    /// The first offset of a log that was never trimmed.
    pub const ZERO: Self = Self(0);

    /// The offset behind this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the broker may throw away of a topic by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// Nothing: records go away only by `delete_before`. Changelogs are like this.
    Never,
    /// Whole segments whose newest record is older than this many milliseconds.
    AfterMs(u64),
    /// All but the latest record of each key, in time.
    Compact,
}

/// A topic as it is declared: created like this if it is absent, checked against this if it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: TopicName,
    /// Its number of partitions, from 1. It never changes: another number would re-home every key.
    pub partitions: u32,
    /// What the broker may throw away.
    pub cleanup: Cleanup,
}

/// Largest number of partitions that a topic can have: far above any use, it keeps a slip from creating millions of files.
const PARTITIONS_MAX: u32 = 10_000;

impl TopicSpec {
    /// Whether a topic can be like this at all: its name and its number of partitions (1 to 10,000).
    ///
    /// # Errors
    /// [`Error::Failed`] that names what is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let Self { name, partitions, .. } = self;
        if !name.is_valid() {
            return Err(Error::Failed(format!("topic name {:?} is not 1 to 249 of A-Z a-z 0-9 . _ -", name.as_str())));
        }
        if !(1..=PARTITIONS_MAX).contains(partitions) {
            return Err(Error::Failed(format!("topic {name} cannot have {partitions} partitions")));
        }
        Ok(())
    }

    /// Whether this topic, which exists, is what `wanted` declares.
    ///
    /// # Errors
    /// [`Error::TopicMismatch`].
    pub fn check_matches(&self, wanted: &Self) -> Result<(), Error> {
        if self == wanted {
            return Ok(());
        }
        Err(Error::TopicMismatch {
            topic: wanted.name.to_string(),
            found: self.properties(),
            wanted: wanted.properties(),
            repair: String::new(),
        })
    }

    fn properties(&self) -> String {
        let cleanup = match self.cleanup {
            Cleanup::Never => "no cleanup".to_owned(),
            Cleanup::AfterMs(age) => format!("cleanup after {age} ms"),
            Cleanup::Compact => "compaction".to_owned(),
        };
        format!("{} partitions and {cleanup}", self.partitions)
    }
}
