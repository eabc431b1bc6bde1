//! The sync thread: one round of fsyncs for all partitions that were written since the last, and the upkeep of segments.
//!
//! An append wakes the thread at once; those that arrive while a round runs share the next. Nothing waits for company.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use crate::engine::Engine;
use crate::partition::Partition;

/// Work for the sync thread. Each partition is in either list at most once, which bounds both.
#[derive(Debug, Default)]
pub(crate) struct Syncer {
    work: Mutex<Work>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    unsynced: Vec<Arc<Partition>>,
    untended: VecDeque<Arc<Partition>>,
    stopping: bool,
}

impl Syncer {
    /// Adds a partition to the next round.
    pub(crate) fn queue(&self, partition: Arc<Partition>) {
        self.work().unsynced.push(partition);
        self.arrived.notify_one();
    }

    /// Has a partition tended when no round is due.
    pub(crate) fn tend(&self, partition: Arc<Partition>) {
        self.work().untended.push_back(partition);
        self.arrived.notify_one();
    }

    /// Ends the thread once nothing is left to sync.
    pub(crate) fn stop(&self) {
        self.work().stopping = true;
        self.arrived.notify_one();
    }

    /// Runs until stopped.
    pub(crate) fn run(&self, engine: &Engine) {
        let mut round = Vec::new();
        loop {
            let mut work = self.work();
            while work.unsynced.is_empty() && work.untended.is_empty() && !work.stopping {
                work = self.arrived.wait(work).expect("no holder of this lock panics");
            }
            std::mem::swap(&mut round, &mut work.unsynced);
            if round.is_empty() {
                if work.stopping {
                    return;
                }
                let untended = work.untended.pop_front();
                drop(work);
                if let Some(partition) = untended {
                    partition.tend(engine, false);
                }
            } else {
                drop(work);
                sync(engine, &round);
                round.clear();
            }
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().expect("no holder of this lock panics")
    }
}

/// One round. Each partition's readers and writers go on as soon as its own files are durable.
fn sync(engine: &Engine, round: &[Arc<Partition>]) {
    let begun = Instant::now();
    for partition in round {
        let pending = partition.begin_sync();
        let outcome = pending.sync(engine.disk());
        engine.meters().synced(*outcome.as_ref().unwrap_or(&1));
        partition.finish_sync(&pending, &outcome);
    }
    engine.meters().round(round.len(), begun.elapsed());
}
