//! How a task begins: open the store, check that it belongs to this log, read what it lacks, claim, and read up to one's
//! own claim. Fence first, read second: what a deposed owner appends behind the claim is void, and everything before it is
//! known when the first commit is computed.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event_log::{Record, SharedLog, TopicPartition};
use rand::Rng;
use state_store::{Change, Identity, MemoryStore, Opened, Store, Stores};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::batch::Setting;
use crate::changelog::{Body, Chunk, Entry, OwnerId, Read, encode_claim};
use crate::config::Backoff;
use crate::land::Changelog;
use crate::metrics::TaskMetrics;
use crate::outbox::Outbox;
use crate::owner::{Making, Running, Timers};
use crate::progress::{Checkpoint, Progress, damaged};
use crate::snapshot::{Announced, Load, Manifest, Restorer, Source};
use crate::status::Board;
use crate::task::Task;
use crate::{Clock, Config, TaskError};

/// Layout of the keys and values that the runtime writes; another one means that the store is rebuilt.
const STORE_FORMAT: u32 = 2;

/// Changes that are gathered before they are applied during a restore.
const APPLY_CHANGES: usize = 4_096;

/// How often a restore that takes long says how far it is.
const SAY_INTERVAL: Duration = Duration::from_secs(2);

/// Where stores live.
#[derive(Clone)]
pub enum Storage {
    /// On disk.
    Disk(Stores),
    /// In memory: every start is a rebuild from the changelog. For tests and simulation, which hand out the stores.
    Memory(Arc<dyn Fn(&str) -> MemoryStore + Send + Sync>),
    /// Of a simulation, which watches what is written and loses it.
    #[cfg(feature = "simulation")]
    Simulated(Arc<dyn Disks>),
}

/// Stores of a simulated process.
#[cfg(feature = "simulation")]
pub trait Disks: Send + Sync {
    /// The store of a task as it is on the disk now. One that is found to be damaged is emptied.
    fn open(&self, task: &str) -> (Box<dyn Store>, Opened);

    /// Removes the store of a task.
    fn wipe(&self, task: &str);
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Disk(_) => "Disk",
            Self::Memory(_) => "Memory",
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => "Simulated",
        })
    }
}

impl Storage {
    pub(crate) async fn open(&self, task: &str) -> Result<Box<dyn Store>, TaskError> {
        let (store, how) = match self {
            Self::Memory(make) => return Ok(Box::new(make(task))),
            #[cfg(feature = "simulation")]
            Self::Simulated(disks) => disks.open(task),
            Self::Disk(stores) => {
                let (stores, identity) = (stores.clone(), Identity { task: task.to_owned(), format: STORE_FORMAT });
                // Verifying a large store takes seconds; the other tasks of this thread go on meanwhile.
                let opened = tokio::task::spawn_blocking(move || stores.open_store(&identity)).await;
                opened.expect("opening a store does not panic").map_err(TaskError::from_store)?
            }
        };
        if let Opened::Rebuilt { reason } = how {
            tracing::warn!(task, reason, "the local store is rebuilt from the changelog");
        }
        Ok(store)
    }

    /// Whether stores read from a disk.
    fn blocks(&self) -> bool {
        matches!(self, Self::Disk(_))
    }

    pub(crate) fn wipe(&self, task: &str) -> Result<(), TaskError> {
        match self {
            Self::Memory(_) => Ok(()),
            #[cfg(feature = "simulation")]
            Self::Simulated(disks) => {
                disks.wipe(task);
                Ok(())
            }
            Self::Disk(stores) => stores.wipe(task).map_err(TaskError::from_store),
        }
    }
}

/// A store that is a prefix of its changelog.
struct Prefix {
    store: Box<dyn Store>,
    checkpoint: Checkpoint,
    /// It was found, not restored.
    resumed: bool,
    restored_from: Option<RestoredFrom>,
}

/// The snapshot that a store was restored from: of all that were there, the newest that could be used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RestoredFrom {
    /// Next entry of the changelog behind it.
    offset: u64,
    /// Where the changelog ended before they were looked at.
    looked_at: u64,
}

impl RestoredFrom {
    /// Whether a snapshot, announced by this entry, was there and could not be used. Nobody must rely on it.
    pub(crate) fn rules_out(self, announced: &Announced, entry: u64) -> bool {
        entry < self.looked_at && announced.offset > self.offset
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
        let (service, partition) = (self.setting.definition.service(), self.setting.partition);
        if let Some(newest) = checkpoint.snapshots.last() {
            self.board.snapshot_at(newest.offset);
        }
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
            ),
            changelog,
            identity: OwnerId { instance: self.instance.clone(), life: 0 },
            alone: self.alone,
            metrics: TaskMetrics::new(service, partition),
            store,
            met_damage: Cell::default(),
            progress,
            resumed,
            restored_from,
            chain: checkpoint.chain,
            next_offset: checkpoint.next_offset,
            last_counted: checkpoint.last_counted,
            partial_from: None,
            timers: Timers::default(),
            running: Running::default(),
            flush_at: None,
            snapshots: checkpoint.snapshots,
            bytes_since: checkpoint.bytes_since,
            making: Making::default(),
            snapshot_permits: self.snapshot_permits.clone(),
            blocks: self.storage.blocks(),
        })
    }

    /// A store that is a prefix of this changelog: the local one if it is, otherwise the newest snapshot, otherwise an empty
    /// one where the changelog still has everything.
    async fn open_store(&self, changelog: &Changelog) -> Result<Prefix, TaskError> {
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
    async fn restore_store(
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
            if again.has_same_end(&restorer) {
                let (partition, earliest) = (changelog.partition.clone(), event_log::Offset(earliest));
                return Err(TaskError::Trimmed { partition, earliest, position: event_log::Offset::ZERO });
            }
            restorer = again;
            earliest = changelog.earliest().await?.0;
        }
    }

    fn snapshots(&self) -> Source {
        let topic = self.setting.definition.snapshots();
        let partition = TopicPartition { topic, partition: self.setting.partition };
        Source { log: self.log.clone(), partition, config: self.config.clone() }
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
            let board = &self.board;
            let progress = |done: u64| board.restoring(done, rows + behind);
            progress(0);
            let outcome;
            (store, outcome) = source.load(at, &manifest, store, self.storage.blocks(), &progress).await?;
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
        let Some(last) = checkpoint.last_counted else { return Ok(true) };
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

impl Task {
    /// Brings back outputs that were committed but not yet known to be published. Which entries those are is part of the
    /// checkpoint, so they need not be judged again.
    async fn reload_outbox(&mut self, unpublished: &[(u64, u64, u128)]) -> Result<(), TaskError> {
        let earliest = if unpublished.is_empty() { 0 } else { self.changelog.earliest().await?.0 };
        // What was trimmed was published: nobody trims more.
        for &(first, last, body_hash) in unpublished.iter().filter(|(first, ..)| *first >= earliest) {
            let mut parts: Vec<Chunk> = Vec::new();
            for (offset, entry) in self.changelog.read(first, last + 1).await? {
                let entry = Entry::decode(&entry).map_err(|error| self.changelog.unreadable(offset, &error))?;
                if let Entry::Commit(chunk) = entry
                    && chunk.body_hash == body_hash
                    && chunk.part as usize == parts.len()
                {
                    parts.push(chunk);
                }
            }
            let whole: Bytes = parts.iter().flat_map(|part| part.bytes.iter().copied()).collect();
            // The list is the store's: if the log does not have what it says, the store is not of this log.
            let mut body = Body::decode(&whole).map_err(|_| {
                TaskError::Corrupted(damaged(&format!("the commit at {first} is not what the store remembers")))
            })?;
            body.published.clear();
            self.outbox.absorb(&mut body, first, last, body_hash, &self.progress);
        }
        self.outbox.know_the_rest(&self.progress);
        Ok(())
    }

    /// Applies everything that stands in the log now. Returns the number of entries read.
    async fn catch_up(&mut self) -> Result<u64, TaskError> {
        let from = self.next_offset;
        let latest = self.changelog.latest().await?.0;
        self.board.read(&self.chain);
        self.board.restoring(0, latest.saturating_sub(from));
        self.replay(latest).await?;
        Ok(self.next_offset - from)
    }

    /// Reads what is new, claims the next epoch, and gets ready to process. After an error nothing but `Fenced` leaves the
    /// task in a state to go on with.
    pub(crate) async fn become_owner(&mut self, random: &mut dyn FnMut() -> u64) -> Result<(), TaskError> {
        // Another life for each claim: what an earlier one has left in the log must not be taken for this one's.
        self.identity.life = random();
        self.catch_up().await?;
        let first_life = u128::from(random()) << 64 | u128::from(random());
        self.claim(first_life).await?;
        self.timers = Timers::load(&*self.store).map_err(TaskError::from_store)?;
        self.outbox.set_incarnation(self.chain.incarnation.unwrap_or(0));
        tracing::debug!(task = %self.name, epoch = self.chain.epoch, offset = self.next_offset, "task claimed");
        Ok(())
    }

    /// Applies the entries up to `upto`, in few large steps.
    pub(crate) async fn replay(&mut self, upto: u64) -> Result<(), TaskError> {
        let (from, mut changes) = (self.next_offset, Vec::new());
        let mut said = Instant::now();
        let mut backoff = Backoff::new(&self.config);
        while self.next_offset < upto {
            let entries = match self.changelog.read_some(self.next_offset).await {
                Ok(entries) => entries,
                Err(TaskError::Log(error)) if error.is_retryable() => {
                    backoff.pause().await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if entries.is_empty() {
                self.changelog.still_ends_at(upto).await?;
            }
            for (offset, entry) in entries.into_iter().take_while(|(offset, _)| *offset < upto) {
                self.replay_entry(offset, &entry, &mut changes)?;
            }
            if changes.len() >= APPLY_CHANGES {
                self.apply_replayed(&mut changes)?;
            }
            self.board.restoring(self.next_offset - from, upto - from);
            self.metrics.restoring(upto.saturating_sub(self.next_offset));
            if said.elapsed() > SAY_INTERVAL {
                said = Instant::now();
                tracing::info!(task = %self.name, offset = self.next_offset, upto, "restoring");
            }
        }
        self.apply_replayed(&mut changes)
    }

    /// Applies what was replayed. Parts of a commit are kept in memory only: in the midst of one, the store stands before it.
    pub(crate) fn apply_replayed(&mut self, changes: &mut Vec<Change>) -> Result<(), TaskError> {
        if !changes.is_empty() {
            let next_offset = self.partial_from.unwrap_or(self.next_offset);
            let checkpoint = Checkpoint { next_offset, ..self.checkpoint() };
            self.store.apply(changes, &checkpoint.encode()).map_err(TaskError::from_store)?;
            changes.clear();
            self.flush_in_time();
        }
        self.board.applied(self.next_offset);
        Ok(())
    }

    /// Reads one entry by the reader rule; what it changes is added to `changes`.
    pub(crate) fn replay_entry(
        &mut self,
        offset: u64,
        entry: &Bytes,
        changes: &mut Vec<Change>,
    ) -> Result<(), TaskError> {
        let read = match self.chain.read_with(entry, self.config.shortcut) {
            Ok(read) => read,
            Err(error) if self.resumed && error.is_divergence() => {
                let detail = format!("the store does not go on in its changelog at {offset}: {error}");
                return Err(TaskError::Corrupted(damaged(&detail)));
            }
            Err(error) => return Err(self.changelog.unreadable(offset, &error)),
        };
        self.next_offset = offset + 1;
        self.bytes_since += entry.len() as u64;
        match read {
            Read::Committed(mut body) => {
                let hash = crate::changelog::body_hash(entry);
                let begins = self.partial_from.take().unwrap_or(offset);
                self.progress.absorb(&body, changes);
                changes.append(&mut body.changes);
                self.outbox.absorb(&mut body, begins, offset, hash, &self.progress);
                self.last_counted = Some(offset);
                body.snapshot.take().into_iter().for_each(|announced| self.note_snapshot(announced, offset));
            }
            Read::Claimed => {
                self.partial_from = None;
                self.last_counted = Some(offset);
                self.board.read(&self.chain);
            }
            Read::Partial => {
                self.partial_from.get_or_insert(offset);
            }
            Read::Void(_) => {}
        }
        Ok(())
    }

    /// Claims the next epoch, then reads up to the claim.
    async fn claim(&mut self, first_life: u128) -> Result<(), TaskError> {
        let incarnation = self.chain.incarnation.unwrap_or(first_life);
        if self.config.shortcut.takes_over_unclaimed() && self.chain.epoch > 0 {
            self.chain.owner = Some(self.identity.clone());
            return Ok(());
        }
        let entry = encode_claim(incarnation, self.chain.epoch + 1, &self.identity);
        let mut backoff = Backoff::new(&self.config);
        let base = loop {
            let record = Record { value: Some(entry.clone()), ..Record::default() };
            match self.changelog.log.append(&self.changelog.partition, vec![record]).await {
                Ok(base) => break base.0,
                // The same claim again is void if the first has landed.
                Err(error) if error.is_retryable() => backoff.pause().await,
                Err(error) => return Err(error.into()),
            }
        };
        if base < self.next_offset {
            return Err(self.changelog.regressed(self.next_offset, base));
        }
        if self.config.shortcut.reads_before_fence() {
            let _ = self.chain.read(&entry);
            self.next_offset = base + 1;
            self.board.read(&self.chain);
            return Ok(());
        }
        self.replay(base + 1).await?;
        if self.chain.owner.as_ref() == Some(&self.identity) {
            return Ok(());
        }
        Err(TaskError::Fenced { epoch: self.chain.epoch })
    }
}

/// Numbers for lives of owners and changelogs.
pub(crate) fn random() -> Box<dyn FnMut() -> u64> {
    Box::new(|| rand::rng().random())
}
