//! The sync threads: rounds of fsyncs for all partitions that were written since the last, and the upkeep of segments.
//!
//! An append wakes the first thread at once; those that arrive while a round runs share the next. Nothing waits for
//! company. The others help with rounds of several files: a journalling file system commits concurrent fsyncs together, so
//! that on a slow disk a round costs little more than one of them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use crate::engine::Engine;
use crate::partition::Partition;

/// Threads that help with rounds of several partitions.
pub(crate) const HELPERS: usize = 3;

/// Work for the sync threads. Each partition is in a list at most once, which bounds all of them.
#[derive(Debug, Default)]
pub(crate) struct Syncer {
    work: Mutex<Work>,
    arrived: Condvar,
    round: Mutex<Round>,
    begun: Condvar,
    done: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    unsynced: Vec<Arc<Partition>>,
    untended: VecDeque<Arc<Partition>>,
    stopping: bool,
}

/// The round that runs.
#[derive(Debug, Default)]
struct Round {
    /// Partitions that no thread has taken yet.
    left: Vec<Arc<Partition>>,
    /// Threads that are at work on one.
    busy: usize,
    stopping: bool,
}

impl Syncer {
    /// Adds a partition to the next round. The caller may hold its lock: none is taken under that of the lists.
    pub(crate) fn queue(&self, partition: Arc<Partition>) {
        self.work().unsynced.push(partition);
        self.arrived.notify_one();
    }

    /// Partitions of the next round.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> usize {
        self.work().unsynced.len()
    }

    /// Has a partition tended when no round is due.
    pub(crate) fn tend(&self, partition: Arc<Partition>) {
        self.work().untended.push_back(partition);
        self.arrived.notify_one();
    }

    /// Ends the threads once nothing is left to sync.
    pub(crate) fn stop(&self) {
        self.work().stopping = true;
        self.arrived.notify_one();
    }

    /// The first thread: starts the rounds. Runs until stopped.
    pub(crate) fn run(&self, engine: &Engine) {
        loop {
            let mut work = self.work();
            while work.unsynced.is_empty() && work.untended.is_empty() && !work.stopping {
                work = self.arrived.wait(work).expect("no holder of this lock panics");
            }
            if !work.unsynced.is_empty() {
                let partitions = std::mem::take(&mut work.unsynced);
                drop(work);
                self.sync(engine, partitions);
            } else if work.stopping {
                self.round().stopping = true;
                self.begun.notify_all();
                return;
            } else {
                let untended = work.untended.pop_front();
                drop(work);
                if let Some(partition) = untended {
                    partition.tend(engine, false);
                }
            }
        }
    }

    /// One round. Each partition's readers and writers go on as soon as its own files are durable.
    fn sync(&self, engine: &Engine, partitions: Vec<Arc<Partition>>) {
        let begun = Instant::now();
        let count = partitions.len();
        engine.meters().round_begins(count);
        self.round().left = partitions;
        for _ in 1..count.min(1 + HELPERS) {
            self.begun.notify_one();
        }
        self.take_part(engine);
        let finished = self.done.wait_while(self.round(), |round| round.busy > 0 || !round.left.is_empty());
        drop(finished.expect("no holder of this lock panics"));
        engine.meters().round_ends(begun.elapsed());
    }

    /// A helping thread. Runs until the first one ends.
    pub(crate) fn help(&self, engine: &Engine) {
        loop {
            let idle = self.begun.wait_while(self.round(), |round| round.left.is_empty() && !round.stopping);
            let round = idle.expect("no holder of this lock panics");
            if round.stopping {
                return;
            }
            drop(round);
            self.take_part(engine);
        }
    }

    /// Syncs partitions of the round until none is left to take.
    fn take_part(&self, engine: &Engine) {
        let mut round = self.round();
        while let Some(partition) = round.left.pop() {
            round.busy += 1;
            drop(round);
            let mut pending = partition.begin_sync();
            let outcome = pending.sync(engine.disk());
            engine.meters().synced(*outcome.as_ref().unwrap_or(&1));
            partition.finish_sync(&pending, &outcome);
            round = self.round();
            round.busy -= 1;
        }
        if round.busy == 0 {
            self.done.notify_one();
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().expect("no holder of this lock panics")
    }

    fn round(&self) -> MutexGuard<'_, Round> {
        self.round.lock().expect("no holder of this lock panics")
    }
}
