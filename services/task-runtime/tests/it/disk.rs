//! A disk that survives the lives of a task, in memory: a later life finds what an earlier one has written.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use state_store::{Change, Error, MemoryStore, Pair, Rows, Store};
use task_runtime::Disks;

#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<MemoryStore>>);

impl Disk {
    /// The disk as it is now, to be brought back later.
    pub(crate) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }

    pub(crate) fn digest(&self) -> u128 {
        self.0.lock().unwrap().digest().unwrap()
    }

    /// Rows of the runtime or of the service, by the first byte of their keys.
    pub(crate) fn rows(&self, kind: u8) -> usize {
        self.0.lock().unwrap().scan(&[kind], Some(&[kind + 1]), usize::MAX).unwrap().len()
    }
}

impl Disks for Disk {
    fn open(&self, _: &str) -> Box<dyn Store> {
        Box::new(OnDisk(self.0.clone(), self.0.lock().unwrap().checkpoint().map(Bytes::copy_from_slice)))
    }

    fn wipe(&self, _: &str) {
        *self.0.lock().unwrap() = MemoryStore::default();
    }
}

/// The store of a life, and the checkpoint that it has seen last.
struct OnDisk(Arc<Mutex<MemoryStore>>, Option<Bytes>);

impl Store for OnDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.0.lock().unwrap().get(key)
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, Error> {
        self.0.lock().unwrap().scan(from, to, limit)
    }

    fn scan_reverse(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, Error> {
        self.0.lock().unwrap().scan_reverse(from, to, limit)
    }

    fn apply(&mut self, changes: &[Change], checkpoint: &[u8]) -> Result<(), Error> {
        self.1 = Some(Bytes::copy_from_slice(checkpoint));
        self.0.lock().unwrap().apply(changes, checkpoint)
    }

    fn bulk_load(
        &mut self,
        sorted: Box<dyn Iterator<Item = Result<Pair, Error>> + '_>,
        checkpoint: &[u8],
    ) -> Result<(), Error> {
        self.0.lock().unwrap().bulk_load(sorted, checkpoint)?;
        self.1 = Some(Bytes::copy_from_slice(checkpoint));
        Ok(())
    }

    fn checkpoint(&self) -> Option<&[u8]> {
        self.1.as_deref()
    }

    fn rows(&self) -> Result<Box<dyn Rows>, Error> {
        self.0.lock().unwrap().rows()
    }

    fn digest(&self) -> Result<u128, Error> {
        self.0.lock().unwrap().digest()
    }

    fn approximate_len(&self) -> u64 {
        self.0.lock().unwrap().approximate_len()
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn begin_flush(&mut self) {}

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), Error> {
        Ok(())
    }
}
