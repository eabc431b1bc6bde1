//! The store that a task begins with: the local one if it belongs to this log, otherwise the newest snapshot that does,
//! otherwise an empty one.
//!
//! Always: it is a prefix of the task's changelog, and all that is behind it is still there.

use state_store::Store;

use super::{Plan, Teller};
use crate::TaskError;
use crate::land::Changelog;
use crate::progress::Checkpoint;
use crate::snapshot::{Announced, Load, Manifest, Restorer};

/// A store that is a prefix of its changelog.
pub(super) struct Prefix {
    pub(super) store: Box<dyn Store>,
    pub(super) checkpoint: Checkpoint,
    /// It was found, not restored.
    pub(super) resumed: bool,
    pub(super) restored_from: Option<RestoredFrom>,
}

/// The snapshot that a store was restored from: of all that were there, the newest that could be used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RestoredFrom {
    offset: u64,
    /// Where the changelog ended before they were looked at.
    looked_at: u64,
}

impl RestoredFrom {
    /// Next entry of the changelog behind the snapshot.
    pub(crate) fn offset(self) -> u64 {
        self.offset
    }

    /// Whether a snapshot, announced by this entry, was there and could not be used. Nobody must rely on it.
    pub(crate) fn rules_out(self, announced: &Announced, entry: u64) -> bool {
        entry < self.looked_at && announced.offset > self.offset
    }
}

impl Plan {
    /// A store that is a prefix of this changelog: the local one if it is, otherwise the newest snapshot, otherwise an empty
    /// one where the changelog still has everything.
    pub(super) async fn open_store(&self, changelog: &Changelog) -> Result<Prefix, TaskError> {
        let mut store = self.storage.open(&self.name).await?;
        let (earliest, latest) = (changelog.earliest().await?.0, changelog.latest().await?.0);
        if let Some(found) = store.checkpoint().map(Checkpoint::decode) {
            if let Some(checkpoint) = found {
                if checkpoint.next_offset > latest {
                    return Err(changelog.regressed(checkpoint.next_offset, latest));
                }
                if self.belongs(&checkpoint, changelog, earliest).await? {
                    return Ok(Prefix { store, checkpoint, resumed: true, restored_from: None });
                }
            }
            tracing::warn!(task = %self.name, "the local store is not of this changelog and is rebuilt");
            drop(store);
            self.storage.wipe(&self.name)?;
            store = self.storage.open(&self.name).await?;
        }
        self.restore_store(store, changelog, earliest, u64::MAX).await
    }

    /// Fills an empty store with the newest snapshot that ends at `at_most` or before, if there is one.
    pub(super) async fn restore_store(
        &self,
        mut store: Box<dyn Store>,
        changelog: &Changelog,
        mut earliest: u64,
        at_most: u64,
    ) -> Result<Prefix, TaskError> {
        // What a commit before this one's end announces has been complete since then.
        let mut looked_at = changelog.latest().await?.0;
        let mut restorer = Restorer::begin(self.snapshots()).await?;
        loop {
            let loaded;
            (store, loaded) =
                self.load_snapshot(store, &mut restorer, looked_at, changelog, (earliest, at_most)).await?;
            if let Some((checkpoint, restored_from)) = loaded {
                return Ok(Prefix { store, checkpoint, resumed: false, restored_from: Some(restored_from) });
            }
            if earliest == 0 {
                return Ok(Prefix { store, checkpoint: Checkpoint::default(), resumed: false, restored_from: None });
            }
            // An owner that lives may have completed a newer one meanwhile, and trimmed those that were looked at.
            looked_at = changelog.latest().await?.0;
            let again = Restorer::begin(self.snapshots()).await?;
            if again.has_same_records(&restorer) {
                let (partition, earliest) = (changelog.partition.clone(), event_log::Offset(earliest));
                return Err(TaskError::Trimmed { partition, earliest, position: event_log::Offset::ZERO });
            }
            restorer = again;
            earliest = changelog.earliest().await?.0;
        }
    }

    /// Loads the newest snapshot that is complete and of this changelog.
    async fn load_snapshot(
        &self,
        mut store: Box<dyn Store>,
        restorer: &mut Restorer,
        looked_at: u64,
        changelog: &Changelog,
        (earliest, at_most): (u64, u64),
    ) -> Result<(Box<dyn Store>, Option<(Checkpoint, RestoredFrom)>), TaskError> {
        let source = self.snapshots();
        while let Some((at, manifest)) = restorer.next().await? {
            let Manifest { offset, rows, last_counted, .. } = manifest;
            if offset > at_most || !self.is_of(&manifest, changelog, earliest).await? {
                tracing::debug!(task = %self.name, offset, "a snapshot is not of this changelog, or too old");
                continue;
            }
            let behind = changelog.latest().await?.0.min(at_most).saturating_sub(offset);
            let mut teller = Teller::new(&self.name, &self.board, self.metrics());
            let mut progress = |done: u64| teller.tell(done, rows + behind);
            progress(0);
            let outcome;
            (store, outcome) = source.load(at, &manifest, store, self.storage.blocks(), &mut progress).await?;
            match outcome {
                Load::Done(checkpoint) => {
                    tracing::info!(task = %self.name, offset, rows, last_counted, behind, "snapshot loaded");
                    self.board.loaded(rows);
                    let restored_from = RestoredFrom { offset, looked_at };
                    return Ok((store, Some((*checkpoint, restored_from))));
                }
                Load::Damaged(reason) => {
                    tracing::error!(task = %self.name, offset, reason, "a snapshot cannot be used, an older one is tried");
                }
            }
        }
        Ok((store, None))
    }

    /// Whether a snapshot belongs to this changelog, and all that is behind it is still there.
    async fn is_of(&self, manifest: &Manifest, changelog: &Changelog, earliest: u64) -> Result<bool, TaskError> {
        if manifest.last_counted < earliest {
            return Ok(false);
        }
        // Asked after the manifest was read: its owner may have written both a moment ago.
        let latest = changelog.latest().await?.0;
        if manifest.offset > latest {
            return Err(changelog.regressed(manifest.offset, latest));
        }
        let last = manifest.last_counted;
        let found = changelog.read(last, last + 1).await?;
        Ok(found.first().is_some_and(|(offset, entry)| *offset == last && manifest.chain.ends_with(entry)))
    }

    async fn belongs(&self, checkpoint: &Checkpoint, changelog: &Changelog, earliest: u64) -> Result<bool, TaskError> {
        let Some(last) = checkpoint.last_counted else { return Ok(earliest == 0) };
        if checkpoint.next_offset < earliest {
            return Ok(false);
        }
        if self.config.shortcut.skips_prev_hash() {
            return Ok(true);
        }
        // An entry that has been trimmed cannot be compared. Of another life of the log, what follows would all be void to it.
        if last < earliest {
            return Ok(false);
        }
        let found = changelog.read(last, last + 1).await?;
        Ok(found.first().is_some_and(|(offset, entry)| *offset == last && checkpoint.chain.ends_with(entry)))
    }
}
