//! The two threads that all stores of a process share: one writes frozen layers to the tables, one compacts tables.
//!
//! Writing is apart from compacting because a compaction can take seconds while a processing thread waits for a layer to be
//! written. One thread each, whatever the number of tasks, so that housekeeping never takes more than its share of the CPU.
//!
//! What always holds: a store has at most one frozen layer, and its tables stand at most once in the queue of compactions,
//! so both queues are as long as there are stores at most. Every frozen layer that was handed over gets an outcome.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::Error;
use crate::directory::io_error;
use crate::layer::Layer;
use crate::state::State;
use crate::tables::Tables;

/// A layer that takes no more changes, and what became of writing it.
pub(crate) struct Frozen {
    pub(crate) layer: Layer,
    /// State of the tables before it is written.
    before: State,
    outcome: Mutex<Option<Result<State, Arc<Error>>>>,
    settled: Condvar,
}

impl Frozen {
    pub(crate) fn new(layer: Layer, before: State) -> Self {
        Self { layer, before, outcome: Mutex::new(None), settled: Condvar::new() }
    }

    /// What became of the last attempt; `None` while it is under way.
    pub(crate) fn outcome(&self) -> Option<Result<State, Arc<Error>>> {
        lock(&self.outcome).clone()
    }

    /// Waits until the attempt is over.
    pub(crate) fn wait(&self) -> Result<State, Arc<Error>> {
        let mut outcome = lock(&self.outcome);
        loop {
            if let Some(outcome) = outcome.clone() {
                return outcome;
            }
            outcome = self.settled.wait(outcome).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes the layer on the calling thread.
    pub(crate) fn write(&self, tables: &Tables) {
        let written = catch_unwind(AssertUnwindSafe(|| tables.write(&self.layer, &self.before)));
        let outcome = written.unwrap_or_else(|_| Err(tables.damaged("writing a layer panicked".to_owned())));
        *lock(&self.outcome) = Some(outcome.map_err(Arc::new));
        self.settled.notify_all();
    }
}

/// The threads and their queues. Dropping it finishes the job in hand and ends the threads.
pub(crate) struct Background {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    queues: Mutex<Queues>,
    /// Something was queued, or the end has come.
    queued: Condvar,
    /// A job was finished.
    finished: Condvar,
}

#[derive(Default)]
struct Queues {
    writes: VecDeque<(Arc<Tables>, Arc<Frozen>)>,
    compactions: VecDeque<Arc<Tables>>,
    writing: Option<Arc<Tables>>,
    compacting: Option<Arc<Tables>>,
    ending: bool,
}

impl Background {
    pub(crate) fn start(directory: &Path) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let mut background = Self { shared, threads: Vec::new() };
        background.spawn("store-writer", Shared::write).map_err(io_error("start a thread for", directory))?;
        background.spawn("store-compactor", Shared::compact).map_err(io_error("start a thread for", directory))?;
        Ok(background)
    }

    fn spawn(&mut self, name: &str, job: fn(&Shared)) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name(name.to_owned());
        self.threads.push(thread.spawn(move || job(&shared))?);
        Ok(())
    }

    /// Hands a layer over to be written. Its store has no other one in the queue.
    pub(crate) fn write(&self, tables: &Arc<Tables>, frozen: &Arc<Frozen>) {
        lock(&frozen.outcome).take();
        lock(&self.shared.queues).writes.push_back((Arc::clone(tables), Arc::clone(frozen)));
        self.shared.queued.notify_all();
    }

    /// Hands tables over to be compacted, if they need it.
    pub(crate) fn compact(&self, tables: &Arc<Tables>) {
        self.shared.queue_compaction(tables);
    }

    /// Takes everything that concerns these tables out of the queues and waits for what is in hand, so that afterwards the
    /// caller holds the only reference. Frozen layers that were not begun stay unwritten.
    pub(crate) fn retire(&self, tables: &Arc<Tables>) {
        let mut queues = lock(&self.shared.queues);
        queues.writes.retain(|(queued, _)| !Arc::ptr_eq(queued, tables));
        loop {
            queues.compactions.retain(|queued| !Arc::ptr_eq(queued, tables));
            let in_hand = [&queues.writing, &queues.compacting];
            if !in_hand.into_iter().flatten().any(|busy| Arc::ptr_eq(busy, tables)) {
                return;
            }
            queues = self.shared.finished.wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        lock(&self.shared.queues).ending = true;
        self.shared.queued.notify_all();
        for thread in self.threads.drain(..) {
            // A panic of the thread was reported when it happened; there is nothing left to do about it.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn write(&self) {
        let mut queues = lock(&self.queues);
        loop {
            if let Some((tables, frozen)) = queues.writes.pop_front() {
                queues.writing = Some(Arc::clone(&tables));
                drop(queues);
                if tables.is_overgrown() {
                    compact(&tables);
                }
                frozen.write(&tables);
                self.queue_compaction(&tables);
                drop((tables, frozen));
                queues = lock(&self.queues);
                // Dropped under the lock: `retire` relies on nobody else holding the tables.
                queues.writing = None;
                self.finished.notify_all();
            } else if queues.ending {
                return;
            } else {
                queues = self.queued.wait(queues).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn compact(&self) {
        let mut queues = lock(&self.queues);
        loop {
            if queues.ending {
                return;
            }
            if let Some(tables) = queues.compactions.pop_front() {
                queues.compacting = Some(Arc::clone(&tables));
                drop(queues);
                compact(&tables);
                drop(tables);
                queues = lock(&self.queues);
                queues.compacting = None;
                self.finished.notify_all();
            } else {
                queues = self.queued.wait(queues).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn queue_compaction(&self, tables: &Arc<Tables>) {
        if !tables.wants_compaction() {
            return;
        }
        let mut queues = lock(&self.queues);
        if !queues.compactions.iter().any(|queued| Arc::ptr_eq(queued, tables)) {
            queues.compactions.push_back(Arc::clone(tables));
            self.queued.notify_all();
        }
    }
}

/// A failed compaction costs speed, not content: the next write asks for it again.
fn compact(tables: &Tables) {
    match catch_unwind(AssertUnwindSafe(|| tables.compact())) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(task = tables.task(), error = &error as &dyn std::error::Error, "compaction failed")
        }
        Err(_) => tracing::warn!(task = tables.task(), "compaction panicked"),
    }
}

/// None of the locks here guards anything that a panic could leave half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
