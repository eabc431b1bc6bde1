//! One task of this process: its state as far as it has read the changelog, whoever owns it. As a standby it follows
//! (`standby.rs`), as the owner it processes (`owner/`); it goes from one to the other without letting go of its store.

use std::cell::Cell;
use std::sync::Arc;

use event_log::{SharedLog, TopicPartition};
use state_store::Store;
use tokio::sync::Semaphore;

use crate::attempts::Attempts;
use crate::batch::Setting;
use crate::changelog::{Chain, OwnerId};
use crate::clock::Moment;
use crate::handle::Position;
use crate::land::Changelog;
use crate::metrics::TaskMetrics;
use crate::outbox::Outbox;
use crate::owner::{Making, Running, Timers};
use crate::progress::{Checkpoint, Progress, damaged};
use crate::restore::RestoredFrom;
use crate::snapshot::Announced;
use crate::status::Board;
use crate::view::View;
use crate::{CallError, Clock, Config, TaskError};

/// A restored task.
pub(crate) struct Task {
    pub(crate) name: Arc<str>,
    pub(crate) config: Arc<Config>,
    pub(crate) setting: Arc<Setting>,
    pub(crate) log: SharedLog,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) changelog: Changelog,
    pub(crate) board: Arc<Board>,
    /// Who this process is in its claims: another life for each claim.
    pub(crate) identity: OwnerId,
    /// Nobody else runs tasks: see [`crate::Assignment`].
    pub(crate) alone: bool,
    pub(crate) metrics: TaskMetrics,
    pub(crate) store: Box<dyn Store>,
    /// A read has met damage in the store.
    pub(crate) met_damage: Cell<bool>,
    pub(crate) progress: Progress,
    pub(crate) chain: Chain,
    /// Next entry of the changelog: everything before it is applied.
    pub(crate) next_offset: u64,
    /// Offset of the last entry that counted.
    pub(crate) last_counted: Option<u64>,
    /// The state began with a store, not with the first entry of the changelog.
    pub(crate) resumed: bool,
    pub(crate) restored_from: Option<RestoredFrom>,
    /// First part of a commit whose other parts have not been read yet.
    pub(crate) partial_from: Option<u64>,
    pub(crate) outbox: Outbox,
    pub(crate) timers: Timers,
    pub(crate) running: Running,
    pub(crate) attempts: Attempts,
    pub(crate) flush_at: Option<tokio::time::Instant>,
    /// The newest snapshots that count, oldest first.
    pub(crate) snapshots: Vec<Announced>,
    /// Bytes of the changelog since the newest of them.
    pub(crate) bytes_since: u64,
    pub(crate) making: Making,
    /// The process makes a few snapshots at a time.
    pub(crate) snapshot_permits: Arc<Semaphore>,
    /// Whether the store reads from a disk.
    pub(crate) blocks: bool,
}

impl Task {
    /// Closes the store, so that the next start has nothing to replay.
    pub(crate) fn close(self) -> Result<(), TaskError> {
        self.store.close().map_err(TaskError::from_store)?;
        self.attempts.close();
        Ok(())
    }

    /// Closes the store of a task whose log has lost records. Nothing else knows of them: a start that finds the store as far as
    /// it came refuses again, and does not go on from what is left.
    pub(crate) fn bear_witness(self) {
        let task = self.name.clone();
        if let Err(error) = self.close() {
            tracing::error!(%task, %error, "the store that knows of lost records cannot be closed");
        }
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            next_offset: self.next_offset,
            chain: self.chain.clone(),
            stream_time_ms: self.progress.stream_time_ms,
            last_counted: self.last_counted,
            unpublished: self.outbox.unpublished(),
            snapshots: self.snapshots.clone(),
            bytes_since: self.bytes_since,
        }
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment::of(&*self.clock)
    }

    pub(crate) fn position(&self) -> Position {
        Position { incarnation: self.chain.incarnation.unwrap_or(0), offset: self.next_offset }
    }

    pub(crate) fn view(&self) -> View<'_> {
        View::of_owner(&*self.store, &self.met_damage)
    }

    /// Ends the task when a read has met damage: nothing may ever write to the row again, and only a rebuild brings it back.
    pub(crate) fn trust_store(&self) -> Result<(), TaskError> {
        if self.met_damage.get() {
            return Err(TaskError::Corrupted(damaged("a read has met damage")));
        }
        Ok(())
    }

    /// A commit that counts, which ends with this entry, has announced a snapshot.
    pub(crate) fn note_snapshot(&mut self, announced: Announced, entry: u64) {
        let is_known = self.snapshots.last().is_some_and(|newest| newest.offset >= announced.offset);
        if is_known || self.restored_from.is_some_and(|from| from.rules_out(&announced, entry)) {
            return;
        }
        self.board.snapshot_at(announced.offset);
        self.snapshots.push(announced);
        let surplus = self.snapshots.len().saturating_sub(crate::snapshot::KEPT);
        self.snapshots.drain(..surplus);
        self.bytes_since = 0;
    }

    /// The task's partition of its snapshot topic.
    pub(crate) fn snapshot_partition(&self) -> TopicPartition {
        TopicPartition { topic: self.setting.definition.snapshots(), partition: self.setting.partition }
    }

    /// Has the store written from time to time: what it has not is read again from the changelog after a crash.
    pub(crate) fn flush_in_time(&mut self) {
        let now = tokio::time::Instant::now();
        let flush_at = *self.flush_at.get_or_insert(now + self.config.flush_interval);
        if now >= flush_at {
            self.store.begin_flush();
            self.flush_at = None;
        }
    }

    /// What is told to callers that want the owner, and have come to somebody else.
    pub(crate) fn not_owner(&self) -> CallError {
        CallError::NotOwner {
            service: self.setting.definition.service,
            partition: self.setting.partition,
            epoch: self.chain.epoch,
            owner: self.chain.owner.as_ref().map(|owner| owner.instance.clone()),
        }
    }
}
