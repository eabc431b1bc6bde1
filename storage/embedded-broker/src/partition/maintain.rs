//! What is done to a partition beside appends and reads: fsyncs, `.idx` files, removal of old records. Called from the
//! sync thread and from blocking calls, never from a thread that must not block.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use event_log::{Cleanup, Error};

use super::entries::Entries;
use super::{Partition, VOUCH_INTERVAL_BYTES};
use crate::SyncPolicy;
use crate::disk::Disk;
use crate::engine::Engine;
use crate::error::refused;
use crate::files::Holder;
use crate::index::{self, Extent, Index};
use crate::recovery::remove_segment;
use crate::segment::{Opened, Sealed, index_path};
use crate::start;

/// What one partition brings into a round of fsyncs.
#[derive(Debug)]
pub(crate) struct Pending {
    files: Vec<Arc<File>>,
    directories: Vec<Entries>,
    /// Everything below this offset is durable once the files and directories are.
    end: u64,
}

impl Pending {
    /// Makes it durable and says how many fsyncs that took.
    pub(crate) fn sync(&mut self, disk: &dyn Disk) -> io::Result<u64> {
        for file in &self.files {
            disk.sync(file)?;
        }
        for directory in &mut self.directories {
            directory.open(disk)?.sync_all()?;
        }
        Ok((self.files.len() + self.directories.len()) as u64)
    }
}

/// What an `.idx` file shall vouch for, and what has to be synced before.
#[derive(Default)]
struct Unvouched {
    directories: Vec<Entries>,
    sealed: Vec<Arc<Sealed>>,
    active: Option<Vouched>,
}

/// The part of the active segment that an `.idx` file shall vouch for.
struct Vouched {
    file: Arc<File>,
    opened: Opened,
    extent: Extent,
    index: Index,
}

impl Partition {
    /// Takes what has been written since the last round. What is written from now on joins the next one.
    pub(crate) fn begin_sync(&self) -> Pending {
        let mut state = self.state();
        state.queued = false;
        Pending {
            files: std::mem::take(&mut state.unsynced.files),
            directories: std::mem::take(&mut state.unsynced.directories),
            end: state.end,
        }
    }

    /// Tells the outcome of a round to those who wait for it. After a failure the system has forgotten what it could not
    /// write, so a later fsync would succeed without it: nothing more is appended until the log is opened again.
    pub(crate) fn finish_sync(&self, pending: &Pending, outcome: &io::Result<u64>) {
        let mut state = self.state();
        let mut done = Vec::new();
        match outcome {
            Err(error) => state.break_off(&self.id, &format!("an fsync failed ({error})")),
            Ok(_) if state.broken.is_some() => {}
            Ok(_) => {
                self.high_watermark.store(pending.end, Ordering::Release);
                let acks = &mut state.unsynced.acks;
                let covered = acks.partition_point(|ack| ack.end <= pending.end);
                done.extend(acks.drain(..covered).map(|ack| ack.done));
                if let Some(active) = &mut state.active
                    && active.extent.end == pending.end
                {
                    active.dirty = false;
                }
            }
        }
        drop(state);
        for done in done {
            // Who has given up waiting needs no answer.
            let _ = done.send(Ok(()));
        }
        self.waiters().wake();
    }

    /// Brings the partition into shape after it was opened: under group sync, what a dead process has written becomes
    /// durable before anyone reads it; the rest is left to the sync thread.
    pub(crate) fn tend_at_start(self: &Arc<Self>, engine: &Engine) {
        let mut state = self.state();
        let dirty = state.active.as_ref().is_some_and(|active| active.dirty);
        let unfinished = state.sealed.iter().any(|sealed| sealed.unfinished.load(Ordering::Relaxed));
        let expiring = matches!(self.cleanup, Cleanup::AfterMs(_)) && !state.sealed.is_empty();
        if engine.config().sync == SyncPolicy::Group && (dirty || unfinished) {
            drop(state);
            self.tend(engine, true);
        } else if unfinished || expiring {
            state.tending = true;
            drop(state);
            engine.syncer().tend(self.clone());
        }
    }

    /// Finishes sealed segments, vouches for the active one if it has grown (or in any case), and removes what is too old.
    pub(crate) fn tend(self: &Arc<Self>, engine: &Engine, vouch_anyway: bool) {
        if let Err(error) = self.finish_segments(engine, vouch_anyway) {
            // Nothing is lost: without its `.idx` file a segment is scanned when the log is opened.
            tracing::warn!(partition = %self.id, %error, "cannot write the index of a segment");
        }
        if let Cleanup::AfterMs(age_ms) = self.cleanup
            && let Err(error) = self.expire(engine.disk(), engine.config().clock.now_ms(), age_ms)
        {
            tracing::warn!(partition = %self.id, %error, "cannot remove old records");
        }
    }

    fn finish_segments(self: &Arc<Self>, engine: &Engine, vouch_anyway: bool) -> Result<(), Error> {
        let Unvouched { mut directories, sealed: unfinished, active } = self.unvouched(vouch_anyway)?;
        if active.as_ref().is_some_and(|vouched| vouched.opened == Opened::Now) {
            engine.files().opened(Holder::Active(Arc::downgrade(self)));
        }
        let refuse = |source: io::Error| refused(&format!("cannot maintain {}", self.id), &source);
        for at in 0..directories.len() {
            let synced = match directories[at].open(engine.disk()) {
                Ok(directory) => directory.sync_all(),
                Err(error) => {
                    self.state().unsynced.directories.extend(directories.drain(at..));
                    return Err(refuse(error));
                }
            };
            self.synced(engine, synced)?;
        }
        for sealed in unfinished {
            let (reading, _) = sealed.reading().map_err(refuse)?;
            self.synced(engine, engine.disk().sync(&reading.file))?;
            let path = index_path(&self.directory, sealed.extent.base);
            index::write(engine.disk(), &path, &sealed.extent, &reading.index).map_err(refuse)?;
            sealed.unfinished.store(false, Ordering::Relaxed);
            engine.files().opened(Holder::Sealed(Arc::downgrade(&sealed)));
        }
        if let Some(Vouched { file, extent, index, .. }) = active {
            self.synced(engine, engine.disk().sync(&file))?;
            index::write(engine.disk(), &index_path(&self.directory, extent.base), &extent, &index).map_err(refuse)?;
            let mut state = self.state();
            if let Some(active) = &mut state.active
                && active.extent.base == extent.base
            {
                active.vouched_bytes = extent.bytes;
                active.dirty &= active.extent.bytes > extent.bytes;
            }
        }
        Ok(())
    }

    /// Takes what no `.idx` file vouches for yet.
    fn unvouched(&self, vouch_anyway: bool) -> Result<Unvouched, Error> {
        let mut state = self.state();
        state.tending = false;
        let mut found = Unvouched::default();
        if state.broken.is_some() || self.damage.is_some() {
            return Ok(found);
        }
        let unfinished = state.sealed.iter().filter(|sealed| sealed.unfinished.load(Ordering::Relaxed));
        found.sealed = unfinished.cloned().collect();
        if let Some(active) = &mut state.active
            && active.extent.bytes > active.vouched_bytes
            && (vouch_anyway || active.extent.bytes - active.vouched_bytes >= VOUCH_INTERVAL_BYTES)
        {
            let (file, opened) = active
                .file(&self.directory)
                .map_err(|source| refused(&format!("cannot open a segment of {}", self.id), &source))?;
            found.active = Some(Vouched { file, opened, extent: active.extent, index: active.index.clone() });
        }
        // Last: what is taken out of the state and not synced would be taken for durable.
        found.directories = std::mem::take(&mut state.unsynced.directories);
        Ok(found)
    }

    /// Counts an fsync. After a failed one nothing more is appended: see [`finish_sync`](Self::finish_sync).
    fn synced(&self, engine: &Engine, outcome: io::Result<()>) -> Result<(), Error> {
        engine.meters().synced(1);
        outcome.map_err(|source| {
            let reason = format!("an fsync failed ({source})");
            self.state().break_off(&self.id, &reason);
            Error::Failed(format!("{}: {reason}", self.id))
        })
    }

    /// Removes the sealed segments whose newest record is older than `age_ms`, up to the first that is not.
    fn expire(&self, disk: &dyn Disk, now_ms: i64, age_ms: u64) -> Result<(), Error> {
        let oldest = now_ms.saturating_sub_unsigned(age_ms);
        let state = self.state();
        let expired = state.sealed.iter().take_while(|sealed| sealed.extent.max_timestamp < oldest);
        let upto = expired.last().map_or(0, |sealed| sealed.extent.end).min(self.high_watermark());
        drop(state);
        self.delete_before(disk, upto)
    }

    /// Removes all records below `offset`: first for readers and for good, then from the disk, by whole segments.
    pub(crate) fn delete_before(&self, disk: &dyn Disk, offset: u64) -> Result<(), Error> {
        self.check_sound()?;
        let _one_at_a_time = self.trimming.lock().expect("no holder of this lock panics");
        if offset <= self.start() {
            return Ok(());
        }
        if offset > self.high_watermark() {
            return Err(self.out_of_range(offset));
        }
        start::write(disk, &self.directory, offset)
            .map_err(|source| refused(&format!("cannot remove records of {}", self.id), &source))?;
        for base in self.forget_below(offset) {
            if let Err(error) = remove_segment(&self.directory, base) {
                // It is tried again when the log is opened.
                tracing::warn!(partition = %self.id, %error, "cannot remove a segment");
            }
        }
        Ok(())
    }

    /// Moves the start and gives the segments that are behind it now.
    fn forget_below(&self, offset: u64) -> Vec<u64> {
        let mut state = self.state();
        self.start.store(offset, Ordering::Release);
        let behind = state.sealed.partition_point(|sealed| sealed.extent.end <= offset);
        let mut gone: Vec<u64> = state.sealed.drain(..behind).map(|sealed| sealed.extent.base).collect();
        // The active one goes too when nothing of it is left. The start tells where the next one begins.
        if let Some(active) = state.active.take_if(|active| active.extent.end <= offset && active.extent.bytes > 0) {
            gone.push(active.extent.base);
        }
        gone
    }
}
