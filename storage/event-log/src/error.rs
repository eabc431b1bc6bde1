//! What can go wrong with a log, classed by what the caller may do next.

use crate::{Offset, TopicPartition};

/// An error of the log. The variants differ in what the caller may conclude.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The offset lies below the start of the log (it was trimmed) or beyond its end (the log lost records).
    #[error("offset {offset} of {partition} is outside the log [{earliest}, {latest}]")]
    OffsetOutOfRange {
        /// The partition that was asked.
        partition: TopicPartition,
        /// The offset that was asked for.
        offset: Offset,
        /// First offset that can be read.
        earliest: Offset,
        /// Offset that the next record will get.
        latest: Offset,
    },
    /// The topic does not exist, or has no such partition.
    #[error("unknown topic or partition {0}")]
    UnknownTopic(String),
    /// The topic exists with other properties than were asked for.
    #[error("topic {topic} exists with {found}, but {wanted} is configured{}", behind(repair))]
    TopicMismatch {
        /// The topic.
        topic: String,
        /// What the log has.
        found: String,
        /// What the caller wants.
        wanted: String,
        /// What a person can do about it, with the command if there is one; empty where the log knows nothing.
        repair: String,
    },
    /// The records are larger than the log takes in one append. Nothing was appended.
    #[error("records of {size} bytes exceed the limit of {limit} bytes")]
    TooLarge {
        /// Size of the encoded records in bytes.
        size: usize,
        /// Largest size that is taken, in bytes.
        limit: usize,
    },
    /// The append may or may not have happened, and may still happen later. Only the same bytes may be sent again.
    #[error("the outcome of the append is unknown: {0}")]
    UnknownOutcome(String),
    /// Nothing happened; the same call may work later.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
    /// The log is damaged or refuses for good; a person must act.
    #[error("the log failed: {0}")]
    Failed(String),
}

fn behind(repair: &str) -> String {
    if repair.is_empty() { String::new() } else { format!("; {repair}") }
}

impl Error {
    /// Whether the same call may succeed later without anyone acting.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::UnknownOutcome(_) | Self::Unavailable(_))
    }
}
