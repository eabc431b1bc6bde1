//! Making a snapshot, beside the processing: one slice of rows, one record, and so on, so that it takes little memory and
//! holds nothing up.

use std::sync::Arc;

use bytes::Bytes;
use event_log::{Error, Record, SharedLog, TopicPartition};
use state_store::{Pair, Rows, row_digest};
use tokio::sync::OwnedSemaphorePermit;
use xxhash_rust::xxh3::xxh3_128;

use super::{Announced, Manifest, Part, SnapshotRecord};
use crate::config::{Config, answered};
use crate::progress::Checkpoint;

/// Bytes of rows that are read at once: as rows they take several times as much.
const SLICE_BYTES: usize = 64 * 1024;

/// A snapshot to be made.
pub(crate) struct Writing {
    pub(crate) log: SharedLog,
    /// The task's partition of the snapshot topic.
    pub(crate) partition: TopicPartition,
    pub(crate) config: Arc<Config>,
    pub(crate) rows: Box<dyn Rows>,
    /// Whether reading rows may block on the disk, and is done elsewhere therefore.
    pub(crate) blocks: bool,
    pub(crate) checkpoint: Checkpoint,
    /// The owner's life: what is written under it belongs together.
    pub(crate) life: u64,
    /// Where the manifest of the last snapshot that counts stands.
    pub(crate) previous: Option<u64>,
    /// The process makes a few at a time.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// Why none was made. The task goes on without.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("the rows cannot be read")]
    Store(#[from] state_store::Error),
    #[error("the log does not take them")]
    Log(#[from] Error),
    #[error("nothing has counted yet")]
    Nothing,
}

/// Rows on their way into parts.
struct Cutter {
    rows: Box<dyn Rows>,
    part_bytes: usize,
    waiting: Vec<u8>,
    ended: bool,
    count: u64,
    bytes: u64,
    digest: u128,
}

impl Writing {
    /// Writes the parts and the manifest.
    pub(crate) async fn write(self) -> Result<Announced, WriteError> {
        let Self { log, partition, config, rows, blocks, checkpoint, life, previous, permit } = self;
        let last_counted = checkpoint.last_counted.ok_or(WriteError::Nothing)?;
        let head = checkpoint.encode();
        let part_bytes = config.snapshot_part_bytes.clamp(1, config.record_bytes_max);
        let mut cutter = Cutter::new(rows, part_bytes, &head);
        let id = xxh3_128(&[&life.to_le_bytes()[..], &head].concat());
        let (mut index, mut first) = (0_u32, None);
        loop {
            let part;
            (cutter, part) = if blocks {
                let cut = tokio::task::spawn_blocking(move || {
                    let part = cutter.next();
                    (cutter, part)
                });
                cut.await.map_err(|_| Error::Failed("reading rows panicked".to_owned()))?
            } else {
                let part = cutter.next();
                (cutter, part)
            };
            let Some(bytes) = part? else { break };
            let record = SnapshotRecord::Part(Part { id, index, previous, bytes });
            let at = append(&log, &partition, &config, record.encode()).await?;
            first.get_or_insert(at);
            index += 1;
        }
        let first = first.ok_or(WriteError::Nothing)?;
        let Cutter { count: rows, bytes, digest, .. } = cutter;
        let offset = checkpoint.next_offset;
        let manifest = Manifest {
            id,
            parts: index,
            first,
            previous,
            offset,
            last_counted,
            chain: checkpoint.chain,
            rows,
            bytes,
            digest,
        };
        let manifest = append(&log, &partition, &config, SnapshotRecord::Manifest(manifest).encode()).await?;
        drop(permit);
        Ok(Announced { offset, keep_from: last_counted, first, manifest, digest, rows, bytes })
    }
}

/// Appends until the log has it. A record that stands there twice is read once.
async fn append(log: &SharedLog, partition: &TopicPartition, config: &Config, value: Bytes) -> Result<u64, Error> {
    let append = || log.append(partition, vec![Record { value: Some(value.clone()), ..Record::default() }]);
    Ok(answered(config, append).await?.0)
}

impl Cutter {
    fn new(rows: Box<dyn Rows>, part_bytes: usize, head: &[u8]) -> Self {
        let mut waiting = Vec::with_capacity(part_bytes + SLICE_BYTES + head.len());
        push(&mut waiting, head);
        let bytes = waiting.len() as u64;
        Self { rows, part_bytes, waiting, ended: false, count: 0, bytes, digest: 0 }
    }

    /// The next part.
    fn next(&mut self) -> Result<Option<Bytes>, state_store::Error> {
        while self.waiting.len() < self.part_bytes && !self.ended {
            let slice = self.rows.next_rows(self.part_bytes.min(SLICE_BYTES))?;
            self.ended = slice.is_empty();
            for (key, value) in &slice {
                self.digest = self.digest.wrapping_add(row_digest(key, value));
                self.count += 1;
                self.bytes += (8 + key.len() + value.len()) as u64;
                push(&mut self.waiting, key);
                push(&mut self.waiting, value);
            }
        }
        if self.waiting.is_empty() {
            return Ok(None);
        }
        // With room for the next one from the beginning: many large pieces that grow leave as much memory behind.
        let room = Vec::with_capacity(self.part_bytes + SLICE_BYTES);
        let mut part = std::mem::replace(&mut self.waiting, room);
        self.waiting.extend_from_slice(&part[part.len().min(self.part_bytes)..]);
        part.truncate(self.part_bytes);
        Ok(Some(part.into()))
    }
}

fn push(to: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("keys, values and checkpoints are far below 4 GiB");
    to.extend_from_slice(&length.to_le_bytes());
    to.extend_from_slice(bytes);
}

/// Takes apart what parts hold, piece by piece as they come.
#[derive(Default)]
pub(super) struct Joiner {
    waiting: Vec<u8>,
    at: usize,
}

impl Joiner {
    pub(super) fn add(&mut self, part: &[u8]) {
        self.waiting.drain(..std::mem::take(&mut self.at));
        self.waiting.extend_from_slice(part);
    }

    /// The checkpoint that comes first.
    pub(super) fn head(&mut self) -> Option<Bytes> {
        let (piece, end) = self.piece(self.at)?;
        self.at = end;
        Some(piece)
    }

    /// The next row, if all of it has come.
    pub(super) fn row(&mut self) -> Option<Pair> {
        let (key, end) = self.piece(self.at)?;
        let (value, end) = self.piece(end)?;
        self.at = end;
        Some((key, value))
    }

    /// Whether everything that came has been taken out.
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.waiting.len()
    }

    fn piece(&self, at: usize) -> Option<(Bytes, usize)> {
        let (length, _) = self.waiting.get(at..)?.split_first_chunk::<4>()?;
        let begin = at + 4;
        let end = begin.checked_add(u32::from_le_bytes(*length) as usize)?;
        Some((Bytes::copy_from_slice(self.waiting.get(begin..end)?), end))
    }
}

#[cfg(test)]
mod tests {
    use state_store::{MemoryStore, Store};

    use super::*;

    #[test]
    fn rows_survive_being_cut_anywhere() {
        let mut store = MemoryStore::new();
        let row = |n: u8| (Bytes::from(vec![n; usize::from(n % 7)]), Some(Bytes::from(vec![n; usize::from(n) % 40])));
        let changes: Vec<_> = (1..60).map(row).collect();
        store.apply(&changes, b"checkpoint").unwrap();
        let expected = store.scan(b"", None, usize::MAX).unwrap();
        for part_bytes in [1, 3, 10, 64, 100_000] {
            let mut cutter = Cutter::new(store.rows().unwrap(), part_bytes, b"head");
            let (mut joiner, mut head, mut found) = (Joiner::default(), None, Vec::new());
            while let Some(part) = cutter.next().unwrap() {
                joiner.add(&part);
                if head.is_none() {
                    head = joiner.head();
                }
                found.extend(std::iter::from_fn(|| head.as_ref().and_then(|_| joiner.row())));
            }
            assert_eq!((head.as_deref(), &found), (Some(&b"head"[..]), &expected), "{part_bytes}");
            assert!(joiner.is_empty());
            assert_eq!((cutter.count, cutter.digest), (expected.len() as u64, store.digest().unwrap()));
        }
    }
}
