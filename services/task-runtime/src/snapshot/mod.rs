//! Snapshots: the sorted content of a task's store at one offset of its changelog, so that a restore need not read the
//! changelog from its beginning, and the changelog need not keep it.
//!
//! A snapshot is a run of records in the task's partition of `<service>-snapshots`: parts, then a manifest. Its owner says
//! in a commit that it is complete; from then on it counts, exactly if that commit does. What is trimmed is decided by
//! snapshots that count. A restore may use any that is complete and of this changelog, for each holds nothing but certified
//! state.
//!
//! ```text
//! <service>-snapshots/3:  part 0 | part 1 | ... | part k-1 | manifest      one snapshot; each record names the manifest before
//! bytes of the parts:     checkpoint, then rows, each as length and bytes  parts cut it anywhere
//! ```

mod read;
mod write;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::changelog::Chain;

pub(crate) use read::{Load, Restorer, Source};
pub(crate) use write::{WriteError, Writing};

/// Snapshots that are kept: the newest, and one in case it is damaged.
pub(crate) const KEPT: usize = 2;

/// Version of the records; a reader passes over newer ones.
const FORMAT: u8 = 1;

/// What a commit says about a snapshot that is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// The store's content is that of the changelog before this offset.
    pub offset: u64,
    /// First entry of the changelog that a restore from it needs: the last one that counted, to compare the histories.
    pub keep_from: u64,
    /// Where it begins in the partition of the snapshot topic.
    pub first: u64,
    /// Where its manifest stands.
    pub manifest: u64,
    /// Digest of its rows.
    pub digest: u128,
    /// Rows in it.
    pub rows: u64,
    /// Bytes in it.
    pub bytes: u64,
}

/// A record of a snapshot topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum SnapshotRecord {
    Part(Part),
    Manifest(Manifest),
}

/// A piece of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    /// Which snapshot.
    id: u128,
    /// Which piece, from 0.
    index: u32,
    /// Where the manifest of an earlier snapshot stands.
    previous: Option<u64>,
    bytes: Bytes,
}

/// The end of a snapshot that is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    id: u128,
    /// Number of parts.
    parts: u32,
    /// Where the first part stands.
    first: u64,
    /// Where the manifest of an earlier snapshot stands.
    previous: Option<u64>,
    /// Next entry of the changelog.
    pub(crate) offset: u64,
    /// The last entry before it that counted.
    pub(crate) last_counted: u64,
    /// What counted up to there.
    pub(crate) chain: Chain,
    pub(crate) rows: u64,
    bytes: u64,
    digest: u128,
}

impl SnapshotRecord {
    /// Its bytes: format, checksum of the rest, the rest.
    fn encode(&self) -> Bytes {
        let size = 96 + if let Self::Part(part) = self { part.bytes.len() } else { 0 };
        let mut head = Vec::with_capacity(size);
        head.extend_from_slice(&[FORMAT, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut bytes = postcard::to_extend(self, head).expect("records hold nothing that postcard refuses");
        let sum = xxh3_64(&bytes[9..]);
        bytes[1..9].copy_from_slice(&sum.to_le_bytes());
        bytes.into()
    }

    /// Reads a record; none if it is damaged or not one of ours.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&FORMAT, rest) = bytes.split_first()? else { return None };
        let (sum, rest) = rest.split_first_chunk::<8>()?;
        if xxh3_64(rest) != u64::from_le_bytes(*sum) {
            return None;
        }
        postcard::from_bytes(rest).ok()
    }

    /// Where the manifest before this record stands.
    fn previous(&self) -> Option<u64> {
        match self {
            Self::Part(part) => part.previous,
            Self::Manifest(manifest) => manifest.previous,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_one_flipped_bit_is_none() {
        let part = Part { id: 7, index: 1, previous: Some(3), bytes: Bytes::from_static(b"some rows") };
        let record = SnapshotRecord::Part(part);
        let bytes = record.encode();
        assert_eq!(SnapshotRecord::decode(&bytes), Some(record));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SnapshotRecord::decode(&flipped), None, "bit {bit}");
        }
        assert_eq!(SnapshotRecord::decode(&bytes[..8]), None);
    }
}
