//! A disk that survives the lives of a task, in memory: a later life finds what an earlier one has written.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use state_store::{Change, Error, MemoryStore, Opened, Pair, Rows, Store};
use task_runtime::Disks;

#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<MemoryStore>>, Marred);

/// The key of the service's row that cannot be read.
type Marred = Arc<Mutex<Option<&'static str>>>;

impl Disk {
    /// The disk as it is now, to be brought back later.
    pub(crate) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().unwrap().clone())), Arc::default())
    }

    /// The block of a row does not match its checksum any more.
    pub(crate) fn mar(&self, key: &'static str) {
        *self.1.lock().unwrap() = Some(key);
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
    fn open(&self, _: &str) -> (Box<dyn Store>, Opened) {
        let checkpoint = self.0.lock().unwrap().checkpoint().map(Bytes::copy_from_slice);
        let how = if checkpoint.is_some() { Opened::Resumed } else { Opened::Fresh };
        (Box::new(OnDisk(self.0.clone(), checkpoint, self.1.clone())), how)
    }

    fn wipe(&self, _: &str) {
        *self.0.lock().unwrap() = MemoryStore::default();
        *self.1.lock().unwrap() = None;
    }
}

/// The store of a life, and the checkpoint that it has seen last.
struct OnDisk(Arc<Mutex<MemoryStore>>, Option<Bytes>, Marred);

impl Store for OnDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        if self.2.lock().unwrap().is_some_and(|marred| key[1..] == *marred.as_bytes()) {
            let detail = "a block does not match its checksum".to_owned();
            return Err(Error::Damaged { task: "notebook/0".to_owned(), detail });
        }
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
        let rows = self.0.lock().unwrap().rows()?;
        Ok(Box::new(RowsOnDisk(rows, self.2.clone())))
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

/// Rows that are read at leisure.
struct RowsOnDisk(Box<dyn Rows>, Marred);

impl Rows for RowsOnDisk {
    fn next_rows(&mut self, bytes: usize) -> Result<Vec<Pair>, Error> {
        if self.1.lock().unwrap().is_some() {
            let detail = "a block does not match its checksum".to_owned();
            return Err(Error::Damaged { task: "notebook/0".to_owned(), detail });
        }
        self.0.next_rows(bytes)
    }
}
