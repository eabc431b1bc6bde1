//! One partition: where its records stand, who may read up to where, and the one place where it is written.
//!
//! What always holds: `start <= high_watermark <= end`; the files hold whole batches without a gap from at most `start` to
//! `end` and nothing behind; the tail is a suffix of them. After a fault that leaves the files in doubt, nothing is
//! appended until the log is opened again.

mod entries;
mod maintain;
mod read;

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use event_log::{Cleanup, Error, Offset, TopicPartition};
use tokio::sync::oneshot;

use self::entries::Entries;
pub(crate) use self::read::Found;
use crate::SyncPolicy;
use crate::batch::Encoded;
use crate::engine::Engine;
use crate::error::refused;
use crate::files::Holder;
use crate::recovery::{self, Outcome};
use crate::segment::{Active, Opened, Sealed, log_path};
use crate::tail::Tail;
use crate::wake::Waiters;

/// Bytes that an active segment grows by before its `.idx` file is written again: what is scanned after a crash, at most.
const VOUCH_INTERVAL_BYTES: u64 = 8 << 20;

#[derive(Debug)]
pub(crate) struct Partition {
    id: TopicPartition,
    directory: PathBuf,
    cleanup: Cleanup,
    /// Why the partition cannot be used at all, if it was found damaged.
    damage: Option<String>,
    /// Changed under the lock of `state`, read without.
    start: AtomicU64,
    /// Likewise.
    high_watermark: AtomicU64,
    state: Mutex<State>,
    /// Held while records are removed, which takes longer than `state` may be held.
    trimming: Mutex<()>,
    waiters: Waiters,
}

#[derive(Debug)]
struct State {
    sealed: VecDeque<Arc<Sealed>>,
    active: Option<Active>,
    /// The offset that the next record gets.
    end: u64,
    tail: Tail,
    /// Why nothing may be appended any more.
    broken: Option<String>,
    unsynced: Unsynced,
    /// Whether the partition waits for the next round of fsyncs.
    queued: bool,
    /// Whether it waits to be tended.
    tending: bool,
}

/// What the next fsync has to make durable, under group sync.
#[derive(Debug, Default)]
struct Unsynced {
    files: Vec<Arc<File>>,
    directories: Vec<Entries>,
    /// Who waits for it, in order of offsets.
    acks: VecDeque<Ack>,
}

#[derive(Debug)]
struct Ack {
    end: u64,
    done: oneshot::Sender<Result<(), Error>>,
}

/// An append that was written.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) base: u64,
    /// Answers once the append is durable; absent when it need not be.
    pub(crate) durable: Option<oneshot::Receiver<Result<(), Error>>>,
}

/// A batch that was written to the file.
struct Written {
    base: u64,
    memory_bytes: usize,
    file: Arc<File>,
    opened: Opened,
}

impl Partition {
    /// Opens the partition in `directory`, which need not exist.
    pub(crate) fn open(id: TopicPartition, directory: PathBuf, cleanup: Cleanup) -> Result<Self, crate::Error> {
        let (found, damage) = match recovery::open(&id, &directory)? {
            Outcome::Whole(found) => (found, None),
            Outcome::Damaged(reason) => {
                tracing::error!(partition = %id, reason, "partition is damaged and refuses");
                (recovery::Found::default(), Some(reason))
            }
        };
        let state = State {
            sealed: found.sealed.into(),
            active: found.active,
            end: found.end,
            tail: Tail::default(),
            broken: None,
            unsynced: Unsynced::default(),
            queued: false,
            tending: false,
        };
        Ok(Self {
            id,
            directory,
            cleanup,
            damage,
            start: AtomicU64::new(found.start),
            high_watermark: AtomicU64::new(found.end),
            state: Mutex::new(state),
            trimming: Mutex::default(),
            waiters: Waiters::default(),
        })
    }

    pub(crate) fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    pub(crate) fn earliest(&self) -> Result<Offset, Error> {
        self.check_sound()?;
        Ok(Offset(self.start()))
    }

    pub(crate) fn latest(&self) -> Result<Offset, Error> {
        self.check_sound()?;
        Ok(Offset(self.high_watermark()))
    }

    fn start(&self) -> u64 {
        self.start.load(Ordering::Acquire)
    }

    fn high_watermark(&self) -> u64 {
        self.high_watermark.load(Ordering::Acquire)
    }

    fn check_sound(&self) -> Result<(), Error> {
        self.damage.as_ref().map_or(Ok(()), |reason| Err(Error::Failed(format!("{}: {reason}", self.id))))
    }

    fn out_of_range(&self, offset: u64) -> Error {
        Error::OffsetOutOfRange {
            partition: self.id.clone(),
            offset: Offset(offset),
            earliest: Offset(self.start()),
            latest: Offset(self.high_watermark()),
        }
    }

    /// Returns once no call that had the lock before is at work any more.
    pub(crate) fn settle(&self) {
        drop(self.state());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Writes a batch at the end. Under group sync it counts once `durable` says so, else at once.
    pub(crate) fn append(self: &Arc<Self>, engine: &Engine, batch: Encoded) -> Result<Appended, Error> {
        self.check_sound()?;
        let mut state = self.state();
        // Asked under the lock: who closes the log takes it afterwards, so that nothing is written behind its back.
        engine.check_open()?;
        let Written { base, memory_bytes, file, opened } = self.write(&mut state, engine, batch)?;
        let durable = match engine.config().sync {
            SyncPolicy::Os => {
                self.high_watermark.store(state.end, Ordering::Release);
                None
            }
            SyncPolicy::Group => Some(state.await_sync(file)),
        };
        if durable.is_some() && !std::mem::replace(&mut state.queued, true) {
            // Under the lock: who closes the log finds the partition queued, or nothing written.
            engine.syncer().queue(self.clone());
        }
        let tend = state.wants_tending();
        drop(state);
        if tend {
            engine.syncer().tend(self.clone());
        }
        if durable.is_none() {
            self.waiters.wake();
        }
        if opened == Opened::Now {
            engine.files().opened(Holder::Active(Arc::downgrade(self)));
        }
        engine.budget().admit(self, memory_bytes);
        Ok(Appended { base, durable })
    }

    /// Puts the batch into the file and into the tail, or leaves everything as it was.
    fn write(&self, state: &mut State, engine: &Engine, batch: Encoded) -> Result<Written, Error> {
        if let Some(reason) = &state.broken {
            return Err(Error::Failed(format!("{} takes no appends: {reason}", self.id)));
        }
        let refuse = |source| refused(&format!("cannot append to {}", self.id), &source);
        if state.active.as_ref().is_some_and(|active| active.is_full(batch.length(), engine.config().segment_bytes)) {
            state.seal(&self.directory).map_err(refuse)?;
        }
        if state.active.is_none() {
            self.begin_segment(state, engine).map_err(refuse)?;
        }
        let batch = batch.at(state.end);
        let active = state.active.as_mut().expect("there is one by now");
        let (file, opened) = active.file(&self.directory).map_err(refuse)?;
        if let Err(source) = engine.disk().write(&file, batch.raw(), active.extent.bytes) {
            if let Err(cut) = engine.disk().cut(&file, active.extent.bytes) {
                let reason = format!("a write failed ({source}) and could not be taken back ({cut})");
                state.break_off(&self.id, &reason);
                return Err(Error::Failed(format!("{}: {reason}", self.id)));
            }
            return Err(refuse(source));
        }
        active.grow(batch.header());
        state.end = batch.end();
        engine.meters().appended(batch.header().count(), batch.raw().len());
        let written = Written { base: batch.base(), memory_bytes: batch.memory_bytes(), file, opened };
        state.tail.push(Arc::new(batch));
        Ok(written)
    }

    /// Creates the file of the segment that begins at the end of the log.
    fn begin_segment(&self, state: &mut State, engine: &Engine) -> std::io::Result<()> {
        let entries = |directory: &Path| Entries::new(engine.disk(), directory, engine.config().sync);
        if !self.directory.exists() {
            let parent = self.directory.parent().map(entries).transpose()?;
            std::fs::create_dir_all(&self.directory)?;
            state.unsynced.directories.extend(parent);
        }
        let directory = entries(&self.directory)?;
        engine.disk().create(&log_path(&self.directory, state.end))?;
        state.unsynced.directories.push(directory);
        state.active = Some(Active::new(state.end));
        Ok(())
    }

    /// Drops the oldest batch of the tail and says how many bytes that frees.
    pub(crate) fn drop_oldest(&self) -> usize {
        self.state().tail.drop_oldest()
    }

    /// Closes the file that is written to, unless it was used since the last call.
    pub(crate) fn release_file(&self) -> bool {
        let mut state = self.state();
        let Some(active) = &mut state.active else { return true };
        if std::mem::replace(&mut active.used, false) {
            return false;
        }
        active.file = None;
        true
    }
}

impl State {
    /// Enters the append that has just been written into `file` into the next round of fsyncs.
    fn await_sync(&mut self, file: Arc<File>) -> oneshot::Receiver<Result<(), Error>> {
        let (done, durable) = oneshot::channel();
        self.unsynced.acks.push_back(Ack { end: self.end, done });
        if !self.unsynced.files.last().is_some_and(|last| Arc::ptr_eq(last, &file)) {
            self.unsynced.files.push(file);
        }
        durable
    }

    /// Ends the active segment; the next batch begins a new one.
    fn seal(&mut self, directory: &Path) -> std::io::Result<()> {
        if let Some(active) = &mut self.active {
            // The file keeps the index in memory until it is on the disk.
            let (file, _) = active.file(directory)?;
            let index = std::mem::take(&mut active.index);
            self.sealed.push_back(Arc::new(Sealed::unfinished(directory, active.extent, index, file)));
            self.active = None;
        }
        Ok(())
    }

    /// Whether the partition should be put on the list of those to tend, on which it is not yet.
    fn wants_tending(&mut self) -> bool {
        let grown = self.active.as_mut().is_some_and(|active| active.has_grown(VOUCH_INTERVAL_BYTES));
        let sealed = self.sealed.back().is_some_and(|last| last.unfinished.load(Ordering::Relaxed));
        (grown || sealed) && !std::mem::replace(&mut self.tending, true)
    }

    /// Refuses all appends from now on. Those that wait are told: they may be in the log when it is opened again.
    fn break_off(&mut self, partition: &TopicPartition, reason: &str) {
        tracing::error!(%partition, reason, "partition takes no appends until the log is opened again");
        self.broken = Some(reason.to_owned());
        for ack in self.unsynced.acks.drain(..) {
            // Who has given up waiting needs no answer.
            let _ = ack.done.send(Err(Error::Failed(format!("{partition}: {reason}"))));
        }
    }
}
