//! Entries of a changelog and their bytes: a format byte, then postcard. One entry is one record.

use std::sync::Arc;

use bytes::Bytes;
use event_log::TopicName;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::snapshot::Announced;

/// Version of the entry format; a reader refuses a newer one.
pub(crate) const FORMAT: u8 = 1;

/// One life of one process as an owner: the number is drawn anew at each start, so that a process never takes an entry of
/// its earlier life for its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OwnerId {
    /// Name of the instance.
    pub instance: String,
    /// Number of this life.
    pub life: u64,
}

/// What a record of a changelog says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// "From here on the task is mine, in this epoch."
    Claim {
        /// The life of the changelog that the claimant has read, or begins.
        incarnation: u128,
        /// One more than the epoch that the claimant has read.
        epoch: u64,
        /// The claimant.
        owner: OwnerId,
    },
    /// A commit, or a part of one that is too large for one record.
    Commit(Chunk),
}

/// One part of a commit. Almost always the only one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The life of the changelog.
    pub incarnation: u128,
    /// The owner's epoch.
    pub epoch: u64,
    /// The owner's life.
    pub life: u64,
    /// Number of the commit in its epoch, from 1.
    pub number: u64,
    /// Hash of the history before this commit.
    pub prev_hash: u128,
    /// Hash of the whole body: parts of different bodies never make one commit.
    pub body_hash: u128,
    /// Index of this part.
    pub part: u32,
    /// Number of parts.
    pub parts: u32,
    /// This part of the encoded [`Body`].
    pub bytes: Bytes,
}

/// What a commit changes and sends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Body {
    /// Next offset to read, for each input topic that moved.
    #[serde(with = "positions")]
    pub positions: Vec<(TopicName, u64)>,
    /// Keys of the store with their new values; absent values are removed keys. Timers and remembered requests are among them.
    pub changes: Vec<(Bytes, Option<Bytes>)>,
    /// Records to publish.
    pub outputs: Vec<Output>,
    /// How far each sender's records have been taken.
    pub watermarks: Vec<WatermarkUpdate>,
    /// How far outputs have been published.
    pub published: Vec<PublishedUpto>,
    /// Latest event time seen, in milliseconds since the Unix epoch.
    pub stream_time_ms: i64,
    /// A snapshot of this task that is complete. It counts if the commit does.
    // Behind everything else in the bytes, and absent from most: earlier versions read past it.
    #[serde(skip)]
    pub snapshot: Option<Announced>,
}

/// A record to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Where to.
    #[serde(with = "topic_name")]
    pub topic: TopicName,
    /// Where to.
    pub partition: u32,
    /// Number among all records that this task has ever sent to that partition, from 1 without gaps.
    pub sequence: u64,
    /// Key.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Option<Bytes>,
    /// Headers but for the source, which follows from the sequence.
    pub headers: Vec<(Bytes, Bytes)>,
    /// Event time.
    pub timestamp_ms: i64,
}

/// How far one sender's records in one input have been taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatermarkUpdate {
    /// The input.
    #[serde(with = "topic_name")]
    pub topic: TopicName,
    /// The sending task.
    pub task: Arc<str>,
    /// The life of the sender's changelog.
    pub incarnation: u128,
    /// The last sequence that was taken.
    pub sequence: u64,
}

/// How far one output partition has been published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedUpto {
    /// The output.
    #[serde(with = "topic_name")]
    pub topic: TopicName,
    /// The output.
    pub partition: u32,
    /// The last sequence that the log has acknowledged.
    pub sequence: u64,
}

/// An entry that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer version of this program.
    #[error("format {found} is newer than this version reads ({FORMAT})")]
    Newer {
        /// The format found.
        found: u8,
    },
    /// Not an entry.
    #[error("not a changelog entry")]
    Malformed,
}

impl Entry {
    /// The bytes of an entry.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let size = 128 + if let Self::Commit(chunk) = self { chunk.bytes.len() } else { 0 };
        let mut bytes = Vec::with_capacity(size);
        bytes.push(FORMAT);
        Bytes::from(postcard::to_extend(self, bytes).expect("entries hold nothing that postcard refuses"))
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match bytes.split_first() {
            Some((&FORMAT, rest)) => postcard::from_bytes(rest).map_err(|_| DecodeError::Malformed),
            Some((&found, _)) if found > FORMAT => Err(DecodeError::Newer { found }),
            _ => Err(DecodeError::Malformed),
        }
    }
}

impl Body {
    /// The bytes of a body.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let refuses_nothing = "bodies hold nothing that postcard refuses";
        let mut bytes = postcard::to_extend(self, Vec::with_capacity(512)).expect(refuses_nothing);
        if let Some(snapshot) = &self.snapshot {
            bytes = postcard::to_extend(snapshot, bytes).expect(refuses_nothing);
        }
        Bytes::from(bytes)
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut body, rest) = postcard::take_from_bytes::<Self>(bytes).map_err(|_| DecodeError::Malformed)?;
        if !rest.is_empty() {
            body.snapshot = Some(postcard::from_bytes(rest).map_err(|_| DecodeError::Malformed)?);
        }
        Ok(body)
    }
}

/// Hash of the body that an entry of a commit belongs to.
pub(crate) fn body_hash(entry: &[u8]) -> u128 {
    match Entry::decode(entry) {
        Ok(Entry::Commit(chunk)) => chunk.body_hash,
        _ => 0,
    }
}

/// Bytes of a claim.
pub(crate) fn encode_claim(incarnation: u128, epoch: u64, owner: &OwnerId) -> Bytes {
    Entry::Claim { incarnation, epoch, owner: owner.clone() }.encode()
}

/// The records of one commit: the body is split when a record would exceed `record_bytes_max`.
pub(crate) fn encode_commit(
    incarnation: u128,
    epoch: u64,
    life: u64,
    number: u64,
    prev_hash: u128,
    body: &Bytes,
    record_bytes_max: usize,
) -> (Vec<Bytes>, u128) {
    let body_hash = xxh3_128(body);
    let size = record_bytes_max.max(1);
    let parts = body.len().div_ceil(size).max(1);
    let total = u32::try_from(parts).expect("a commit is bounded by the batch limits");
    let entries = (0..total).map(|part| {
        let from = part as usize * size;
        let bytes = body.slice(from..body.len().min(from + size));
        let chunk = Chunk { incarnation, epoch, life, number, prev_hash, body_hash, part, parts: total, bytes };
        Entry::Commit(chunk).encode()
    });
    (entries.collect(), body_hash)
}

mod topic_name {
    //! Topic names as plain strings.

    use event_log::TopicName;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(name: &TopicName, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TopicName, D::Error> {
        Ok(TopicName::from(<&str>::deserialize(deserializer)?))
    }
}

mod positions {
    //! Positions with their topics as plain strings.

    use event_log::TopicName;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(positions: &[(TopicName, u64)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(positions.iter().map(|(topic, offset)| (topic.as_str(), offset)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(TopicName, u64)>, D::Error> {
        let positions = Vec::<(&str, u64)>::deserialize(deserializer)?;
        Ok(positions.into_iter().map(|(topic, offset)| (TopicName::new(topic), offset)).collect())
    }
}
