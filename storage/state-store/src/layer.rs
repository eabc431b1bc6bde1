//! Recent changes in memory, waiting to be written to the tables as one batch.
//!
//! What always holds: a layer is the sum of consecutive whole applies and carries the checkpoint of the last of them, so
//! writing a layer as one unit moves the tables from one prefix of the applies to a longer one.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};

/// What a row costs beside its key and value: two handles in a tree node that is little more than half full.
const ROW_OVERHEAD_BYTES: usize = 112;

/// Size of the blocks that keys and values are kept in, many in one: two allocations less for each row.
const BLOCK_BYTES: usize = 16 * 1024;
/// What is larger has a block of its own.
const SHARED_BYTES_MAX: usize = BLOCK_BYTES / 8;

/// What all layers of the process take together.
#[derive(Debug)]
pub(crate) struct Memory {
    used: AtomicUsize,
    limit: usize,
}

impl Memory {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    /// One store's share has changed.
    pub(crate) fn change(&self, before: usize, now: usize) {
        if now >= before {
            self.used.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.limit
    }
}

/// Changes by key (`None` is a deletion) and the newest checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    changes: BTreeMap<Bytes, Option<Bytes>>,
    checkpoint: Option<Bytes>,
    bytes: usize,
    /// What is left of the newest block.
    block: BytesMut,
}

impl Layer {
    pub(crate) fn is_empty(&self) -> bool {
        self.checkpoint.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Memory in use, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn checkpoint(&self) -> Option<&Bytes> {
        self.checkpoint.as_ref()
    }

    /// The last change of `key`: `Some(None)` says that it was deleted here.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<&Bytes>> {
        self.changes.get(key).map(Option::as_ref)
    }

    /// Takes a change over. The bytes are copied: what the caller holds may be a slice of a whole log record, which the
    /// layer would keep in memory.
    pub(crate) fn record(&mut self, key: &[u8], value: Option<&[u8]>) {
        if let Some(slot) = self.changes.get_mut(key) {
            // Some rows change all the time. Only what they were first stays in a block for as long as the layer lives.
            self.bytes -= slot.as_ref().map_or(0, Bytes::len);
            *slot = value.map(Bytes::copy_from_slice);
        } else {
            self.bytes += key.len() + ROW_OVERHEAD_BYTES;
            let (key, value) = (self.keep(key), value.map(|value| self.keep(value)));
            self.changes.insert(key, value);
        }
        self.bytes += value.map_or(0, <[u8]>::len);
    }

    fn keep(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() > SHARED_BYTES_MAX {
            return Bytes::copy_from_slice(bytes);
        }
        if self.block.capacity() < bytes.len() {
            self.block = BytesMut::with_capacity(BLOCK_BYTES);
        }
        self.block.extend_from_slice(bytes);
        self.block.split().freeze()
    }

    pub(crate) fn set_checkpoint(&mut self, checkpoint: &[u8]) {
        self.checkpoint = Some(Bytes::copy_from_slice(checkpoint));
    }

    /// All changes, for somebody who reads them while this layer goes on. Keys and values are shared.
    pub(crate) fn changes(&self) -> BTreeMap<Bytes, Option<Bytes>> {
        self.changes.clone()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        self.changes.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// Changes with keys in `[from, to)`. The caller has made sure that `from < to`.
    pub(crate) fn range(&self, from: &[u8], to: Option<&[u8]>) -> Range<'_, Bytes, Option<Bytes>> {
        self.changes.range::<[u8], _>((Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded)))
    }
}
