//! One task of this process: its state as far as it has read the changelog, whoever owns it. As a standby it follows
//! (`standby.rs`), as the owner it processes (`owner/`); it goes from one to the other without letting go of its store.

use std::sync::Arc;

use event_log::SharedLog;
use state_store::Store;

use crate::batch::Setting;
use crate::changelog::{Chain, OwnerId};
use crate::handle::Position;
use crate::land::Changelog;
use crate::metrics::TaskMetrics;
use crate::outbox::Outbox;
use crate::owner::{Running, Timers};
use crate::progress::{Checkpoint, Progress};
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
    pub(crate) progress: Progress,
    pub(crate) chain: Chain,
    /// Next entry of the changelog: everything before it is applied.
    pub(crate) next_offset: u64,
    /// Offset of the last entry that counted.
    pub(crate) last_counted: Option<u64>,
    /// The state began with a store, not with the first entry of the changelog.
    pub(crate) resumed: bool,
    /// First part of a commit whose other parts have not been read yet.
    pub(crate) partial_from: Option<u64>,
    pub(crate) outbox: Outbox,
    pub(crate) timers: Timers,
    pub(crate) running: Running,
    pub(crate) flush_at: Option<tokio::time::Instant>,
}

impl Task {
    /// Closes the store, so that the next start has nothing to replay.
    pub(crate) fn close(self) -> Result<(), TaskError> {
        self.store.close().map_err(TaskError::from_store)
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            next_offset: self.next_offset,
            chain: self.chain.clone(),
            stream_time_ms: self.progress.stream_time_ms,
            last_counted: self.last_counted,
            unpublished: self.outbox.unpublished(),
        }
    }

    pub(crate) fn position(&self) -> Position {
        Position { incarnation: self.chain.incarnation.unwrap_or(0), offset: self.next_offset }
    }

    pub(crate) fn view(&self) -> View<'_> {
        View::new(&*self.store)
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
