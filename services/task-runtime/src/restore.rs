//! How a task begins: find a store that belongs to this log ([`prefix`]), read what it lacks ([`replay`]), and, to own the
//! task, claim it and read up to one's own claim ([`claim`]).

mod claim;
mod prefix;
mod replay;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use event_log::{SharedLog, TopicPartition};
use rand::Rng;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::attempts::Attempts;
use crate::batch::Setting;
use crate::changelog::OwnerId;
use crate::land::Changelog;
use crate::metrics::TaskMetrics;
use crate::outbox::Outbox;
use crate::owner::{Making, Running, Timers};
use crate::progress::{Progress, proven_upto};
use crate::snapshot::Source;
use crate::status::Board;
use crate::storage::Storage;
use crate::task::Task;
use crate::{Clock, Config, TaskError};
use prefix::Prefix;
pub(crate) use prefix::RestoredFrom;

/// How often a restore that takes long says how far it is.
const SAY_INTERVAL: Duration = Duration::from_secs(2);

/// Tells how far a restore is: those who look at any time, and those who read the log now and then.
struct Teller {
    task: Arc<str>,
    board: Arc<Board>,
    metrics: TaskMetrics,
    said: Instant,
}

impl Drop for Teller {
    /// A restore that is given up leaves nothing to restore either.
    fn drop(&mut self) {
        self.metrics.restoring(0);
    }
}

impl Teller {
    fn new(task: &Arc<str>, board: &Arc<Board>, metrics: TaskMetrics) -> Self {
        Self { task: task.clone(), board: board.clone(), metrics, said: Instant::now() }
    }

    /// So many of these rows or entries are in the store.
    fn tell(&mut self, done: u64, of: u64) {
        self.board.restoring(done, of);
        self.metrics.restoring(of.saturating_sub(done));
        if self.said.elapsed() > SAY_INTERVAL {
            self.said = Instant::now();
            tracing::info!(task = %self.task, done, of, "restoring");
        }
    }
}

/// What a task is made of.
pub(crate) struct Plan {
    pub(crate) name: Arc<str>,
    pub(crate) instance: String,
    pub(crate) config: Arc<Config>,
    pub(crate) setting: Arc<Setting>,
    pub(crate) log: SharedLog,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) storage: Storage,
    pub(crate) board: Arc<Board>,
    pub(crate) alone: bool,
    pub(crate) snapshot_permits: Arc<Semaphore>,
    pub(crate) random: Box<dyn FnMut() -> u64>,
}

impl Plan {
    /// Opens the task's store and brings it up to where the changelog ends now.
    pub(crate) async fn open(&mut self) -> Result<Task, TaskError> {
        let changelog = self.changelog();
        let begin = Instant::now();
        self.board.loaded(0);
        let opened = self.open_store(&changelog).await?;
        let unpublished = opened.checkpoint.unpublished.clone();
        let mut task = self.task(opened, changelog)?;
        task.reload_outbox(&unpublished).await?;
        let replayed = task.catch_up().await?;
        let took = begin.elapsed();
        task.metrics.restored(took);
        if took > SAY_INTERVAL {
            tracing::info!(task = %self.name, offset = task.next_offset, replayed, ?took, "task restored");
        } else {
            tracing::debug!(task = %self.name, offset = task.next_offset, replayed, ?took, "task restored");
        }
        Ok(task)
    }

    /// The task in an empty store, as far as a snapshot brings it and at most to this offset. It is made to be read.
    pub(crate) async fn open_before(&mut self, at_most: u64) -> Result<Task, TaskError> {
        let changelog = self.changelog();
        let store = self.storage.open(&self.name).await?;
        let earliest = changelog.earliest().await?.0;
        let opened = self.restore_store(store, &changelog, earliest, at_most).await?;
        self.task(opened, changelog)
    }

    fn changelog(&self) -> Changelog {
        let topic = self.setting.definition.changelog();
        let partition = TopicPartition { topic, partition: self.setting.partition };
        Changelog { log: self.log.clone(), partition, config: self.config.clone() }
    }

    fn task(&self, opened: Prefix, changelog: Changelog) -> Result<Task, TaskError> {
        let Prefix { store, checkpoint, resumed, restored_from } = opened;
        let progress = Progress::load(&*store, checkpoint.stream_time_ms).map_err(TaskError::from_store)?;
        if let Some(newest) = checkpoint.snapshots.last() {
            self.board.snapshot_at(newest.offset);
        }
        let metrics = self.metrics();
        Ok(Task {
            name: self.name.clone(),
            config: self.config.clone(),
            setting: self.setting.clone(),
            log: self.log.clone(),
            clock: self.clock.clone(),
            board: self.board.clone(),
            outbox: Outbox::new(
                self.log.clone(),
                self.config.clone(),
                &self.name,
                self.setting.definition.schemas.clone(),
                metrics.clone(),
            ),
            changelog,
            identity: OwnerId { instance: self.instance.clone(), life: 0 },
            alone: self.alone,
            metrics,
            store,
            met_damage: Cell::default(),
            progress,
            resumed,
            restored_from,
            next_offset: proven_upto(checkpoint.last_counted),
            chain: checkpoint.chain,
            last_counted: checkpoint.last_counted,
            partial_from: None,
            timers: Timers::default(),
            running: Running::default(),
            attempts: Attempts::open(self.storage.attempts_path(&self.name)),
            flush_at: None,
            snapshots: checkpoint.snapshots,
            bytes_since: checkpoint.bytes_since,
            making: Making::default(),
            snapshot_permits: self.snapshot_permits.clone(),
            blocks: self.storage.blocks(),
        })
    }

    fn metrics(&self) -> TaskMetrics {
        let definition = &self.setting.definition;
        TaskMetrics::new(definition.service(), self.setting.partition, definition.input_topics())
    }

    fn snapshots(&self) -> Source {
        let topic = self.setting.definition.snapshots();
        let partition = TopicPartition { topic, partition: self.setting.partition };
        Source { log: self.log.clone(), partition, config: self.config.clone() }
    }
}

/// Numbers for lives of owners and changelogs.
pub(crate) fn random() -> Box<dyn FnMut() -> u64> {
    Box::new(|| rand::rng().random())
}
