//! Restoring a store from a snapshot: find the newest that is complete and of this changelog, and load it in one go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event_log::{Error, FetchFrom, FetchLimits, Offset, SharedLog, TopicPartition};
use state_store::{Pair, Store, row_digest};
use tokio::sync::mpsc;

use super::write::Joiner;
use super::{Manifest, SnapshotRecord};
use crate::TaskError;
use crate::config::{Config, answered};
use crate::progress::Checkpoint;

/// Bytes of one fetch of parts, and parts that wait for the store.
const READ_BYTES: usize = 4 * 1024 * 1024;
const PARTS_WAITING: usize = 8;

/// The snapshots of one task.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) log: SharedLog,
    pub(crate) partition: TopicPartition,
    pub(crate) config: Arc<Config>,
}

/// Goes from the newest complete snapshot to older ones.
pub(crate) struct Restorer {
    source: Source,
    earliest: u64,
    latest: u64,
    /// Where to look next, as long as each record leads to an earlier manifest.
    at: Option<u64>,
    /// Manifests that a look at all records has found, oldest first; none before it.
    scanned: Option<Vec<(u64, Manifest)>>,
    seen: BTreeSet<u64>,
}

/// What became of loading one.
pub(crate) enum Load {
    Done(Box<Checkpoint>),
    /// It is not complete, or not what its manifest says; the store is as before.
    Damaged(String),
}

impl Restorer {
    pub(crate) async fn begin(source: Source) -> Result<Self, TaskError> {
        let (log, partition) = (&source.log, &source.partition);
        let ends = || futures::future::try_join(log.earliest(partition), log.latest(partition));
        let (Offset(earliest), Offset(latest)) = answered(&source.config, ends).await?;
        let at = latest.checked_sub(1).filter(|at| *at >= earliest);
        Ok(Self { source, earliest, latest, at, scanned: None, seen: BTreeSet::new() })
    }

    /// Whether nothing was written or trimmed between the beginnings of the two. A look at all records ends at once where their
    /// first ones have gone meanwhile.
    pub(crate) fn has_same_records(&self, other: &Self) -> bool {
        (self.earliest, self.latest) == (other.earliest, other.latest)
    }

    /// The next older manifest. Usually the last record is one, and each leads to the one before. Where that fails (a
    /// snapshot that was begun late, a record that cannot be read) all records are looked at.
    pub(crate) async fn next(&mut self) -> Result<Option<(u64, Manifest)>, TaskError> {
        while let Some(at) = self.at.take() {
            let Some(record) = self.source.record(at).await? else { break };
            self.at = record.previous().filter(|previous| (self.earliest..at).contains(previous));
            if let SnapshotRecord::Manifest(manifest) = record
                && self.seen.insert(at)
            {
                return Ok(Some((at, manifest)));
            }
        }
        if self.scanned.is_none() {
            self.scanned = Some(self.source.manifests(self.earliest, self.latest).await?);
        }
        while let Some((at, manifest)) = self.scanned.as_mut().and_then(Vec::pop) {
            if self.seen.insert(at) {
                return Ok(Some((at, manifest)));
            }
        }
        Ok(None)
    }
}

impl Source {
    /// Records from an offset on, with their offsets; none where they cannot be read any more.
    async fn fetch(&self, from: u64, bytes: usize) -> Result<Vec<(u64, Option<SnapshotRecord>)>, TaskError> {
        let at = [FetchFrom { partition: self.partition.clone(), offset: Offset(from) }];
        let limits = FetchLimits { max_bytes_per_partition: bytes, max_wait: Duration::from_millis(200) };
        let fetch = async || {
            let mut fetched = self.log.fetch(&at, limits).await?;
            fetched.pop().map(|fetched| fetched.result).transpose()
        };
        match answered(&self.config, fetch).await {
            Ok(batch) => {
                let records = batch.map_or_else(Vec::new, |batch| batch.records);
                let decode = |value: Option<Bytes>| value.and_then(|value| SnapshotRecord::decode(&value));
                Ok(records.into_iter().map(|r| (r.offset.0, decode(r.record.value))).collect())
            }
            // Trimmed meanwhile: a newer snapshot is complete.
            Err(Error::OffsetOutOfRange { .. }) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    async fn record(&self, at: u64) -> Result<Option<SnapshotRecord>, TaskError> {
        let records = self.fetch(at, 1).await?;
        Ok(records.into_iter().next().filter(|(offset, _)| *offset == at).and_then(|(_, record)| record))
    }

    async fn manifests(&self, earliest: u64, latest: u64) -> Result<Vec<(u64, Manifest)>, TaskError> {
        let (mut next, mut found) = (earliest, Vec::new());
        while next < latest {
            let records = self.fetch(next, READ_BYTES).await?;
            let Some((last, _)) = records.last() else { break };
            next = last + 1;
            for (at, record) in records {
                if let Some(SnapshotRecord::Manifest(manifest)) = record {
                    found.push((at, manifest));
                }
            }
        }
        Ok(found)
    }

    /// Loads a snapshot into an empty store, which stays empty unless the outcome is [`Load::Done`].
    pub(crate) async fn load(
        &self,
        at: u64,
        manifest: &Manifest,
        mut store: Box<dyn Store>,
        blocks: bool,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(Box<dyn Store>, Load), TaskError> {
        let unchecked = self.config.shortcut.trusts_damaged_snapshots();
        let expected = Expected { rows: manifest.rows, digest: manifest.digest, offset: manifest.offset, unchecked };
        let loaded = if blocks {
            let (sender, mut parts) = mpsc::channel(PARTS_WAITING);
            let loading = tokio::task::spawn_blocking(move || {
                let loaded = load(&mut *store, expected, std::iter::from_fn(|| parts.blocking_recv()));
                (store, loaded)
            });
            let sent = self.send_parts(at, manifest, &mut Parts::Sent(sender), progress).await;
            let (back, loaded) = loading.await.map_err(|_| Error::Failed("loading a snapshot panicked".to_owned()))?;
            store = back;
            sent?;
            loaded
        } else {
            let mut parts = Parts::Gathered(Vec::new());
            self.send_parts(at, manifest, &mut parts, progress).await?;
            let Parts::Gathered(parts) = parts else { unreachable!("it was made a moment ago") };
            load(&mut *store, expected, parts.into_iter())
        };
        match loaded {
            Ok(checkpoint) => Ok((store, Load::Done(Box::new(checkpoint)))),
            Err(state_store::Error::Source(detail)) => Ok((store, Load::Damaged(detail))),
            Err(state_store::Error::Unsorted { .. }) => {
                Ok((store, Load::Damaged("its rows are not sorted".to_owned())))
            }
            Err(error) => Err(TaskError::from_store(error)),
        }
    }

    /// Sends all parts in their order; ends early where one is missing, which whoever takes them finds out.
    async fn send_parts(
        &self,
        at: u64,
        manifest: &Manifest,
        to: &mut Parts,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), TaskError> {
        let (mut next, mut wanted) = (manifest.first, 0);
        while next < at && wanted < manifest.parts {
            let records = self.fetch(next, READ_BYTES).await?;
            let Some((last, _)) = records.last() else { return Ok(()) };
            next = last + 1;
            for (_, record) in records {
                // Others may write here too, and a part may stand here twice.
                let Some(SnapshotRecord::Part(part)) = record else { continue };
                if part.id == manifest.id && part.index == wanted && wanted < manifest.parts {
                    wanted += 1;
                    if !to.take(part.bytes).await {
                        return Ok(());
                    }
                }
            }
            progress(manifest.rows * u64::from(wanted) / u64::from(manifest.parts.max(1)));
        }
        Ok(())
    }
}

/// Parts on their way to the store.
enum Parts {
    /// To a thread that loads them: the pace is that of the disk.
    Sent(mpsc::Sender<Bytes>),
    /// They are loaded when all have come.
    Gathered(Vec<Bytes>),
}

impl Parts {
    /// False if nobody takes it.
    async fn take(&mut self, part: Bytes) -> bool {
        match self {
            Self::Sent(sender) => sender.send(part).await.is_ok(),
            Self::Gathered(parts) => {
                parts.push(part);
                true
            }
        }
    }
}

/// What the rows of a snapshot must add up to.
#[derive(Clone, Copy)]
struct Expected {
    rows: u64,
    digest: u128,
    offset: u64,
    /// Nobody compares them.
    unchecked: bool,
}

/// Loads what the parts hold; returns the checkpoint that comes first among it.
fn load(
    store: &mut dyn Store,
    expected: Expected,
    mut parts: impl Iterator<Item = Bytes>,
) -> Result<Checkpoint, state_store::Error> {
    let mut joiner = Joiner::default();
    let head = loop {
        let part = parts.next().ok_or_else(|| state_store::Error::Source("its parts are missing".to_owned()))?;
        joiner.add(&part);
        if let Some(head) = joiner.head() {
            break head;
        }
    };
    let checkpoint = Checkpoint::decode(&head).filter(|checkpoint| checkpoint.next_offset == expected.offset);
    let checkpoint = checkpoint
        .ok_or_else(|| state_store::Error::Source("its checkpoint is not that of its manifest".to_owned()))?;
    store.bulk_load(Box::new(Incoming { joiner, parts, expected, rows: 0, digest: 0, ended: false }), &head)?;
    Ok(checkpoint)
}

/// Rows of parts that are still coming. The last item is an error unless all rows have come.
struct Incoming<P> {
    joiner: Joiner,
    parts: P,
    expected: Expected,
    rows: u64,
    digest: u128,
    ended: bool,
}

impl<P: Iterator<Item = Bytes>> Iterator for Incoming<P> {
    type Item = Result<Pair, state_store::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            if let Some((key, value)) = self.joiner.row() {
                self.rows += 1;
                self.digest = self.digest.wrapping_add(row_digest(&key, &value));
                return Some(Ok((key, value)));
            }
            match self.parts.next() {
                Some(part) => self.joiner.add(&part),
                None => self.ended = true,
            }
        }
        let Expected { rows, digest, unchecked, .. } = self.expected;
        if unchecked || (self.rows, self.digest) == (rows, digest) && self.joiner.is_empty() {
            return None;
        }
        Some(Err(state_store::Error::Source(format!("{} of its {rows} rows were found, or others", self.rows))))
    }
}
