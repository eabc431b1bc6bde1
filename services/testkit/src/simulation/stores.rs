//! Disks of simulated processes: stores in memory that are watched at every write and lose an unsynced tail in a crash.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use state_store::{Change, Error, MemoryStore, Pair, Rows, Store};
use task_runtime::Disks;
use xxhash_rust::xxh3::xxh3_128_with_seed;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::shared::Shared;
use super::{Dice, Scenario, TaskKey};

/// One task's store as it would be found on the disk.
#[derive(Default)]
struct Disk {
    durable: MemoryStore,
    unsynced: Vec<(Vec<Change>, Bytes)>,
}

impl Disk {
    fn settle(&mut self, keep: usize) {
        self.unsynced.truncate(keep);
        for (changes, checkpoint) in self.unsynced.drain(..) {
            self.durable.apply(&changes, &checkpoint).expect("it was applied before");
        }
    }
}

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
            let all = disk.unsynced.len();
            match dice.below(10) {
                0 => *disk = Disk::default(),
                1..5 => disk.settle(all),
                _ => disk.settle(dice.index(all + 1)),
            }
        }
    }

    /// A person removes the store of a task.
    pub(super) fn wipe_task(&self, task: &str) {
        self.wipe(task);
    }

    /// Digest of everything that a task's store holds.
    pub(super) fn digest(&self, task: &str) -> u128 {
        let disk = self.disk(task);
        let mut disk = lock(&disk);
        let all = disk.unsynced.len();
        disk.settle(all);
        disk.durable.digest().expect("a store in memory does not fail")
    }
}

impl<S: Scenario> Disks for ProcessDisks<S> {
    fn open(&self, task: &str) -> Box<dyn Store> {
        let disk = self.disk(task);
        let mut guard = lock(&disk);
        // Only a crash loses what was written.
        let all = guard.unsynced.len();
        guard.settle(all);
        let inner = guard.durable.clone();
        drop(guard);
        let task = self.shared.topology.task(task).expect("tasks are named like this");
        let digest = service_digest(&inner);
        Box::new(WatchedStore { inner, disk, task, digest, shared: self.shared.clone() })
    }

    fn wipe(&self, task: &str) {
        *lock(&self.disk(task)) = Disk::default();
    }
}

struct WatchedStore<S> {
    inner: MemoryStore,
    disk: Arc<Mutex<Disk>>,
    task: TaskKey,
    /// Over all rows but those of the runtime's progress.
    digest: u128,
    shared: Arc<Shared<S>>,
}

impl<S: Scenario> Store for WatchedStore<S> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.inner.get(key)
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, Error> {
        self.inner.scan(from, to, limit)
    }

    fn scan_reverse(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, Error> {
        self.inner.scan_reverse(from, to, limit)
    }

    fn apply(&mut self, changes: &[Change], checkpoint: &[u8]) -> Result<(), Error> {
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
        lock(&self.disk).unsynced.push((changes.to_vec(), Bytes::copy_from_slice(checkpoint)));
        let (task, digest) = (self.task, self.digest);
        self.shared.oracle(|oracle| oracle.applied(task, digest));
        Ok(())
    }

    fn bulk_load(
        &mut self,
        sorted: Box<dyn Iterator<Item = Result<Pair, Error>> + '_>,
        checkpoint: &[u8],
    ) -> Result<(), Error> {
        self.inner.bulk_load(sorted, checkpoint)?;
        *lock(&self.disk) = Disk { durable: self.inner.clone(), unsynced: Vec::new() };
        self.digest = service_digest(&self.inner);
        let (task, digest) = (self.task, self.digest);
        self.shared.count("snapshot loaded");
        self.shared.oracle(|oracle| oracle.applied(task, digest));
        Ok(())
    }

    fn rows(&self) -> Result<Box<dyn Rows>, Error> {
        self.inner.rows()
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
        let mut disk = lock(&self.disk);
        let all = disk.unsynced.len();
        disk.settle(all);
        Ok(())
    }

    fn close(mut self: Box<Self>) -> Result<(), Error> {
        self.flush()
    }
}

/// Digest of all rows but those of the runtime's progress.
fn service_digest(store: &MemoryStore) -> u128 {
    let rows = store.scan(&[1], None, usize::MAX).expect("a store in memory does not fail");
    rows.iter().fold(0, |sum: u128, (key, value)| sum.wrapping_add(row_digest(key, value)))
}

/// Hash of one row; the sum over all rows is the digest of a state.
pub(super) fn row_digest(key: &[u8], value: &[u8]) -> u128 {
    xxh3_128_with_seed(value, xxh3_64(key)).wrapping_add(xxh3_128(key))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("one thread runs a seed, and it holds no lock when it panics")
}
