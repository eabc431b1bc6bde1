//! The newest batches in memory, so that readers at the head of the log need neither disk nor decoding.
//!
//! Each partition keeps a run of batches up to its end. All partitions share one budget: when it is exceeded, the batch
//! that was appended longest ago goes, whichever partition it is in.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::batch::Batch;
use crate::partition::Partition;

/// The newest batches of one partition, without a gap.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    batches: VecDeque<Arc<Batch>>,
}

impl Tail {
    pub(crate) fn push(&mut self, batch: Arc<Batch>) {
        self.batches.push_back(batch);
    }

    /// Removes the oldest batch and says how many bytes that frees.
    pub(crate) fn drop_oldest(&mut self) -> usize {
        self.batches.pop_front().map_or(0, |batch| batch.memory_bytes())
    }

    /// The batches from `offset` up to `limit`, until they have `bytes_max` bytes; `None` if the tail begins later.
    pub(crate) fn read(&self, offset: u64, limit: u64, bytes_max: usize) -> Option<Vec<Arc<Batch>>> {
        if self.batches.front()?.base() > offset {
            return None;
        }
        let first = self.batches.partition_point(|batch| batch.end() <= offset);
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        for batch in self.batches.range(first..) {
            bytes = bytes.saturating_add(batch.raw().len());
            if batch.base() >= limit || (bytes > bytes_max && !found.is_empty()) {
                break;
            }
            found.push(batch.clone());
        }
        Some(found)
    }
}

/// Memory that the tails of all partitions share.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: i64,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    /// One entry for each batch in a tail, in the order of appending.
    order: VecDeque<Arc<Partition>>,
    /// Below zero for a moment when a batch is dropped between being put into a tail and being admitted.
    bytes: i64,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max: signed(bytes_max), used: Mutex::default() }
    }

    /// Accounts for a batch that `partition` has put into its tail, and makes room. The caller holds no partition's lock.
    pub(crate) fn admit(&self, partition: &Arc<Partition>, bytes: usize) {
        let mut used = self.used();
        used.bytes += signed(bytes);
        used.order.push_back(partition.clone());
        while used.bytes > self.bytes_max
            && let Some(oldest) = used.order.pop_front()
        {
            used.bytes -= signed(oldest.drop_oldest());
        }
    }

    /// Bytes in all tails together.
    pub(crate) fn bytes(&self) -> u64 {
        u64::try_from(self.used().bytes).unwrap_or(0)
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().expect("no holder of this lock panics")
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
