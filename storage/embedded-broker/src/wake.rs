//! Waking of readers that have come to the end of their partitions.
//!
//! A reader enlists with every partition that it asked, then reads, then waits: a partition that moves after the read
//! finds the reader on its list. One reader costs one waiting place, however many partitions it enlists with.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::partition::Partition;

/// The readers that wait for one partition, oldest first. They are few, and the list keeps its memory when it is empty:
/// coming and going allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    list: Mutex<Vec<(u64, Arc<Notify>)>>,
}

impl Waiters {
    /// Wakes all of them. They stay enlisted until they leave by themselves.
    pub(crate) fn wake(&self) {
        for (_, reader) in &*self.list() {
            reader.notify_one();
        }
    }

    fn list(&self) -> MutexGuard<'_, Vec<(u64, Arc<Notify>)>> {
        self.list.lock().expect("no holder of this lock panics")
    }
}

/// A reader that is enlisted until it is dropped.
#[derive(Debug)]
pub(crate) struct Reader {
    number: u64,
    woken: Arc<Notify>,
    partitions: Vec<Arc<Partition>>,
}

impl Reader {
    /// Enlists a reader with all these partitions.
    pub(crate) fn enlist(partitions: Vec<Arc<Partition>>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let woken = Arc::new(Notify::new());
        for partition in &partitions {
            partition.waiters().list().push((number, woken.clone()));
        }
        Self { number, woken, partitions }
    }

    /// Waits until one of the partitions has moved since the reader was enlisted or last woken.
    pub(crate) async fn woken(&self) {
        self.woken.notified().await;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for partition in &self.partitions {
            let mut list = partition.waiters().list();
            if let Some(at) = list.iter().position(|(number, _)| *number == self.number) {
                list.remove(at);
            }
        }
    }
}
