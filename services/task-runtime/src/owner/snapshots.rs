//! The owner's part in snapshots: it has one made when the changelog has grown, announces it in a commit, and trims what no
//! restore needs any more.
//!
//! What always holds: an entry of the changelog is removed only when two announced snapshots make it superfluous, and when
//! all outputs before it are published.

use std::sync::Arc;

use event_log::{Offset, SharedLog, TopicPartition};
use futures::future::BoxFuture;

use crate::TaskError;
use crate::snapshot::{Announced, KEPT, WriteError, Writing};
use crate::task::Task;

/// Snapshots under way.
#[derive(Default)]
pub(crate) struct Making {
    pub(super) job: Option<BoxFuture<'static, Result<Announced, WriteError>>>,
    /// One that is complete, for the next commit.
    pub(super) announce: Option<Announced>,
    pub(super) trim: Option<BoxFuture<'static, ()>>,
    /// After one that failed, the next is tried at this offset.
    not_before: u64,
}

impl Task {
    /// Begins a snapshot of what is applied now, if it is time for one and the process has room for it.
    pub(super) fn start_snapshot(&mut self) -> Result<(), TaskError> {
        if self.making.job.is_some() || self.making.announce.is_some() || !self.snapshot_is_due() {
            return Ok(());
        }
        let Ok(permit) = Arc::clone(&self.snapshot_permits).try_acquire_owned() else { return Ok(()) };
        let writing = Writing {
            log: self.log.clone(),
            partition: self.snapshot_partition(),
            config: self.config.clone(),
            rows: self.store.rows().map_err(TaskError::from_store)?,
            blocks: self.blocks,
            checkpoint: self.checkpoint(),
            life: self.identity.life,
            previous: self.snapshots.last().map(|newest| newest.manifest),
            permit,
        };
        tracing::debug!(task = %self.name, offset = self.next_offset, "snapshot begins");
        self.making.job = Some(Box::pin(writing.write()));
        Ok(())
    }

    /// A large store is worth a snapshot less often: what is written of it stays within a multiple of what the log took.
    fn snapshot_is_due(&self) -> bool {
        let newest = self.snapshots.last();
        let records = self.next_offset.saturating_sub(newest.map_or(0, |newest| newest.offset));
        let bytes_max = self.config.snapshot_after_bytes.max(newest.map_or(0, |newest| newest.bytes));
        let grown = records >= self.config.snapshot_after_records || self.bytes_since >= bytes_max;
        grown && records > 0 && self.next_offset >= self.making.not_before
    }

    /// A snapshot is complete, or could not be made. Rows that cannot be read could not be read for the next one either.
    pub(super) fn made(&mut self, made: Result<Announced, WriteError>) -> Result<(), TaskError> {
        match made {
            Ok(announced) => {
                let Announced { offset, rows, bytes, .. } = announced;
                tracing::info!(task = %self.name, offset, rows, bytes, "snapshot made");
                self.metrics.snapshot(bytes);
                self.making.announce = Some(announced);
            }
            Err(WriteError::Store(error)) if error.is_damage() => return Err(TaskError::Corrupted(error)),
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(task = %self.name, %error, source, "no snapshot could be made");
                self.making.not_before = self.next_offset + self.config.snapshot_after_records / 10 + 1;
            }
        }
        Ok(())
    }

    /// Removes what two snapshots that count have made superfluous.
    pub(super) fn start_trim(&mut self) {
        let [.., older, _] = &self.snapshots[..] else { return };
        const { assert!(KEPT == 2, "the older of the kept snapshots is the guard") };
        let published = self.outbox.first_unpublished().unwrap_or(u64::MAX);
        let mut upto = older.keep_from.min(published);
        if self.config.shortcut.trims_too_far() {
            upto = self.next_offset;
        }
        let changelog = (self.changelog.partition.clone(), Offset(upto));
        let snapshots = (self.snapshot_partition(), Offset(older.first));
        self.making.trim = Some(Box::pin(trim(self.log.clone(), [changelog, snapshots])));
    }
}

/// What cannot be removed now is removed after the next snapshot.
async fn trim(log: SharedLog, upto: [(TopicPartition, Offset); 2]) {
    for (partition, offset) in upto {
        match log.delete_before(&partition, offset).await {
            Ok(()) => tracing::debug!(%partition, %offset, "trimmed"),
            Err(error) if error.is_retryable() => tracing::debug!(%partition, %offset, %error, "not trimmed yet"),
            Err(error) => tracing::warn!(%partition, %offset, %error, "the log cannot be trimmed"),
        }
    }
}
