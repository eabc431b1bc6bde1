//! Disks of simulated processes: stores in memory that are watched at every write, lose an unsynced tail in a crash, and are
//! damaged like those of a real disk.

mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use state_store::{Change, Error, MemoryStore, Opened, Pair, Rows, Store};
use task_runtime::Disks;
use xxhash_rust::xxh3::xxh3_128_with_seed;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

pub(super) use self::disk::{Damage, Sums};
use self::disk::{Disk, Write};
use super::shared::Shared;
use super::{Dice, Scenario, TaskKey};

/// The disks of one process.
pub(super) struct ProcessDisks<S> {
    shared: Arc<Shared<S>>,
    disks: Mutex<BTreeMap<String, Arc<Mutex<Disk>>>>,
}

impl<S: Scenario> ProcessDisks<S> {
    pub(super) fn new(shared: Arc<Shared<S>>) -> Self {
        Self { shared, disks: Mutex::default() }
    }

    fn disk(&self, task: &str) -> Arc<Mutex<Disk>> {
        lock(&self.disks).entry(task.to_owned()).or_default().clone()
    }

    /// The process died: of what was not synced, any tail may be gone; now and then the whole disk.
    pub(super) fn crash(&self, dice: &mut Dice) {
        for disk in lock(&self.disks).values() {
            let mut disk = lock(disk);
            match dice.below(10) {
                0 => *disk = Disk::default(),
                1..5 => disk.sync(),
                _ => {
                    let all = disk.unsynced();
                    disk.settle(dice.index(all + 1));
                }
            }
        }
    }

    /// A person removes the store of a task.
    pub(super) fn wipe_task(&self, task: &str) {
        self.wipe(task);
    }

    /// Damages the disk that a task's store is on; `is_open` says that a life of the task has it open. Returns whether there
    /// was anything to damage.
    pub(super) fn damage(&self, task: &str, is_open: bool, donor: Option<&MemoryStore>, dice: &mut Dice) -> bool {
        let damage = if is_open { Damage::BitFlipped } else { dice.pick(&Damage::AT_REST) };
        let disk = self.disk(task);
        let is_done = lock(&disk).damage(damage, donor, dice);
        if is_done {
            self.shared.note(format_args!("{task}: {}", damage.name()));
            self.shared.count(damage.name());
        }
        is_done
    }

    /// What has reached the disk of a task's store, to be put where it does not belong.
    pub(super) fn copy(&self, task: &str) -> Option<MemoryStore> {
        let disk = self.disk(task);
        let disk = lock(&disk);
        (!disk.is_damaged && disk.durable.checkpoint().is_some()).then(|| disk.durable.clone())
    }

    /// Tasks whose stores were damaged, and not emptied since.
    pub(super) fn damaged(&self) -> Vec<String> {
        let disks = lock(&self.disks);
        disks.iter().filter(|(_, disk)| lock(disk).is_damaged).map(|(task, _)| task.clone()).collect()
    }

    /// What everything that was written to a task's store adds up to; none if nothing was, which is 0, or if it was removed
    /// as damaged.
    pub(super) fn sums(&self, task: &str) -> Option<Sums> {
        let disk = self.disk(task);
        let mut disk = lock(&disk);
        disk.sync();
        disk.durable.checkpoint().map(|_| disk.sealed())
    }
}

impl<S: Scenario> Disks for ProcessDisks<S> {
    fn open(&self, task: &str) -> (Box<dyn Store>, Opened) {
        let disk = self.disk(task);
        let mut guard = lock(&disk);
        // Only a crash loses what was written.
        guard.sync();
        let trusts = self.shared.profile.trusts_damaged_disks;
        if trusts {
            guard.trust();
        }
        let opened = match guard.fault() {
            Some(reason) => {
                self.shared.note(format_args!("{task}: {reason}"));
                self.shared.count("damage found by an open");
                *guard = Disk::default();
                Opened::Rebuilt { reason: reason.to_owned() }
            }
            None if guard.durable.checkpoint().is_some() => Opened::Resumed,
            None => Opened::Fresh,
        };
        let inner = guard.durable.clone();
        drop(guard);
        let name = task.to_owned();
        let task = self.shared.topology.task(task).expect("tasks are named like this");
        let digest = Sums::of(&inner).service;
        let store = WatchedStore { inner, disk, task, name, digest, trusts, shared: self.shared.clone() };
        (Box::new(store), opened)
    }

    fn wipe(&self, task: &str) {
        let disk = self.disk(task);
        let mut disk = lock(&disk);
        if disk.is_damaged {
            self.shared.count("damage found by the task");
        }
        *disk = Disk::default();
    }
}

struct WatchedStore<S> {
    inner: MemoryStore,
    disk: Arc<Mutex<Disk>>,
    task: TaskKey,
    name: String,
    /// Over all rows but those of the runtime's progress.
    digest: u128,
    /// Nobody looks at checksums: a planted bug.
    trusts: bool,
    shared: Arc<Shared<S>>,
}

impl<S> WatchedStore<S> {
    /// What stands in damaged blocks cannot be read.
    fn check(&self, from: &[u8], to: Option<&[u8]>) -> Result<(), Error> {
        if self.trusts || !lock(&self.disk).is_marred(from, to) {
            return Ok(());
        }
        Err(damaged(&self.name))
    }

    fn check_row(&self, key: &[u8]) -> Result<(), Error> {
        self.check(key, Some(&[key, &[0]].concat()))
    }
}

impl<S: Scenario> Store for WatchedStore<S> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.check_row(key)?;
        self.inner.get(key)
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, Error> {
        self.check(from, to)?;
        self.inner.scan(from, to, limit)
    }

    fn scan_reverse(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, Error> {
        self.check(from, to)?;
        self.inner.scan_reverse(from, to, limit)
    }

    fn apply(&mut self, changes: &[Change], checkpoint: &[u8]) -> Result<(), Error> {
        // What a row was must be read for the sum of all rows.
        changes.iter().try_for_each(|(key, _)| self.check_row(key))?;
        // Several changes of one key may stand in one write, each on top of the one before.
        let mut latest: BTreeMap<&[u8], Option<&Bytes>> = BTreeMap::new();
        for (key, value) in changes.iter().filter(|(key, _)| key.first() != Some(&0)) {
            latest.insert(key, value.as_ref());
        }
        for (key, value) in latest {
            if let Some(before) = self.inner.get(key)? {
                self.digest = self.digest.wrapping_sub(row_digest(key, &before));
            }
            if let Some(value) = value {
                self.digest = self.digest.wrapping_add(row_digest(key, value));
            }
        }
        self.inner.apply(changes, checkpoint)?;
        let (changes, checkpoint) = (changes.to_vec(), Bytes::copy_from_slice(checkpoint));
        let mut disk = lock(&self.disk);
        disk.write(Write { changes, checkpoint, sums: Sums { all: self.inner.digest()?, service: self.digest } });
        let was_damaged = disk.is_damaged;
        drop(disk);
        let (task, digest) = (self.task, self.digest);
        self.shared.oracle(|oracle| oracle.applied(task, digest, was_damaged));
        Ok(())
    }

    fn bulk_load(
        &mut self,
        sorted: Box<dyn Iterator<Item = Result<Pair, Error>> + '_>,
        checkpoint: &[u8],
    ) -> Result<(), Error> {
        self.inner.bulk_load(sorted, checkpoint)?;
        *lock(&self.disk) = Disk::of(&self.inner);
        self.digest = Sums::of(&self.inner).service;
        let (task, digest) = (self.task, self.digest);
        self.shared.count("snapshot loaded");
        self.shared.oracle(|oracle| oracle.applied(task, digest, false));
        Ok(())
    }

    fn rows(&self) -> Result<Box<dyn Rows>, Error> {
        let marred = if self.trusts { BTreeSet::new() } else { lock(&self.disk).marred().clone() };
        Ok(Box::new(WatchedRows { inner: self.inner.rows()?, marred, task: self.name.clone() }))
    }

    fn checkpoint(&self) -> Option<&[u8]> {
        self.inner.checkpoint()
    }

    fn digest(&self) -> Result<u128, Error> {
        self.inner.digest()
    }

    fn approximate_len(&self) -> u64 {
        self.inner.approximate_len()
    }

    fn disk_bytes(&self) -> u64 {
        self.inner.disk_bytes()
    }

    fn begin_flush(&mut self) {}

    fn flush(&mut self) -> Result<(), Error> {
        lock(&self.disk).sync();
        Ok(())
    }

    fn close(mut self: Box<Self>) -> Result<(), Error> {
        self.flush()
    }
}

/// Rows that are read at leisure.
struct WatchedRows {
    inner: Box<dyn Rows>,
    marred: BTreeSet<Bytes>,
    task: String,
}

impl Rows for WatchedRows {
    fn next_rows(&mut self, bytes: usize) -> Result<Vec<Pair>, Error> {
        let rows = self.inner.next_rows(bytes)?;
        if rows.iter().any(|(key, _)| self.marred.contains(key)) {
            return Err(damaged(&self.task));
        }
        Ok(rows)
    }
}

fn damaged(task: &str) -> Error {
    Error::Damaged { task: task.to_owned(), detail: "a block does not match its checksum".to_owned() }
}

/// Hash of one row; the sum over all rows is the digest of a state.
pub(super) fn row_digest(key: &[u8], value: &[u8]) -> u128 {
    xxh3_128_with_seed(value, xxh3_64(key)).wrapping_add(xxh3_128(key))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("one thread runs a seed, and it holds no lock when it panics")
}
