//! Reading ahead where readers have come to the end: one request for all partitions with the same number that one broker
//! leads and that anybody in this process waits for, always under way. What it brings is kept for a moment, for all who read
//! that partition.
//!
//! The tasks of a process wait for some hundred partitions, several of them for the same, and a request costs a broker far
//! more than the few records that it brings. So they wait here, and only who is further back asks for itself. But a broker
//! looks through all partitions of a request that waits whenever one of them moves: what belongs together, as the records of
//! one order do, is asked for together, and not more.
//!
//! What always holds: what is kept of a partition is what the broker gave, without gaps, from `base` to `next`. Nothing is
//! decided here: whatever goes wrong with a partition or a broker makes its tails be forgotten, and the readers, who are
//! outside then, ask for themselves and hear what it is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use event_log::{FetchedBatch, Offset, TopicPartition};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::cluster::{Cluster, Led, Metadata};
use super::meters::Meters;

mod follow;
mod partition;
mod session;

use follow::Follower;
use partition::Tail;

/// A tail that nobody has asked for so long is given up.
const UNASKED_FOR: Duration = Duration::from_secs(40);
/// How often is looked for such tails, and for records that were kept long enough.
const SWEEP: Duration = Duration::from_secs(2);

/// The tails of a process.
#[derive(Debug)]
pub(crate) struct Tails {
    state: Arc<Mutex<State>>,
    meters: Meters,
    /// One job for each group.
    jobs: Mutex<HashMap<Group, Job>>,
}

/// What keeps a request under way for a group.
#[derive(Debug)]
struct Job {
    wake: Arc<Notify>,
    _going: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    tails: HashMap<TopicPartition, Tail>,
    /// Partitions whose part in the next request has changed.
    changed: HashMap<Group, Vec<TopicPartition>>,
    /// What the brokers said when it was last looked whether tails are where their leaders are.
    placed_by: Weak<Metadata>,
    swept: Option<Instant>,
}

/// Partitions that are asked for together: those with the same number that one broker leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Group {
    broker: Arc<str>,
    number: u32,
}

impl Group {
    fn of(broker: &str, partition: &TopicPartition) -> Self {
        Self { broker: Arc::from(broker), number: partition.partition }
    }
}

/// What the tails have for a reader. Partitions are named by their place in the list that was asked.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// What there is.
    pub(super) ready: Vec<(usize, FetchedBatch)>,
    /// Partitions that no request under way waits for at this offset.
    pub(super) outside: Vec<usize>,
    /// Whether there may be something for some of those already.
    pub(super) further_back: bool,
}

/// A reader that is woken when one of its partitions moves, until it is dropped.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    tails: &'a Tails,
    number: u64,
    pub(super) woken: Arc<Notify>,
    enlisted: Vec<TopicPartition>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tails {
    pub(super) fn new(meters: Meters) -> Self {
        Self { state: Arc::default(), meters, jobs: Mutex::default() }
    }

    /// A reader that is woken by nothing yet.
    pub(super) fn reader(&self) -> Reader<'_> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Reader { tails: self, number, woken: Arc::default(), enlisted: Vec::new() }
    }

    /// Begins a tail where a reader has found nothing more. One that is there already stays as it is.
    pub(super) fn begin(&self, cluster: &Arc<Cluster>, broker: &str, partition: &TopicPartition, at: Offset) {
        let mut state = lock(&self.state);
        if let Some(tail) = state.tails.get_mut(partition) {
            tail.exists_up_to(at);
            return;
        }
        let group = Group::of(broker, partition);
        state.tails.insert(partition.clone(), Tail::new(group.clone(), at, Instant::now()));
        state.change(&group, partition);
        drop(state);
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let job = jobs.entry(group.clone()).or_insert_with(|| {
            let wake = Arc::new(Notify::new());
            let follower = Follower {
                state: self.state.clone(),
                cluster: cluster.clone(),
                meters: self.meters.clone(),
                group,
                wake: wake.clone(),
            };
            Job { wake, _going: AbortOnDropHandle::new(cluster.runtime.spawn(follower.run())) }
        });
        job.wake.notify_one();
    }

    /// Tells the job of a group that there is something to ask for, should it have nothing under way.
    fn wake(&self, group: &Group) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(job) = jobs.get(group) {
            job.wake.notify_one();
        }
    }

    /// Forgets what was kept below an offset that somebody has removed the records below of.
    pub(crate) fn removed(&self, partition: &TopicPartition, below: Offset) {
        let mut state = lock(&self.state);
        if let Some(tail) = state.tails.get_mut(partition) {
            tail.remove_below(below);
        }
    }
}

impl Reader<'_> {
    /// What there is for each partition from its offset on, as far as it is here. The reader is woken when there is more.
    pub(super) fn look(&mut self, cluster: &Cluster, positions: &[(TopicPartition, Offset)], bytes: usize) -> Look {
        let now = Instant::now();
        let mut state = lock(&self.tails.state);
        state.place(cluster);
        let mut look = Look::default();
        let mut changed = Vec::new();
        for (at, (partition, offset)) in positions.iter().enumerate() {
            let Some(tail) = state.tails.get_mut(partition).filter(|tail| tail.covers(*offset)) else {
                look.outside.push(at);
                look.further_back = true;
                continue;
            };
            if tail.asked(*offset, now) {
                changed.push((tail.group.clone(), partition.clone()));
            }
            if let Some(batch) = tail.from(*offset, bytes) {
                look.ready.push((at, batch));
                continue;
            }
            if !tail.is_followed() {
                look.outside.push(at);
            }
            if tail.enlist(self.number, &self.woken) {
                self.enlisted.push(partition.clone());
            }
        }
        for (group, partition) in &changed {
            state.change(group, partition);
        }
        drop(state);
        for (group, _) in changed {
            self.tails.wake(&group);
        }
        look
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if self.enlisted.is_empty() {
            return;
        }
        let mut state = lock(&self.tails.state);
        let now = Instant::now();
        for partition in &self.enlisted {
            if let Some(tail) = state.tails.get_mut(partition) {
                tail.leave(self.number, now);
            }
        }
    }
}

impl State {
    fn change(&mut self, group: &Group, partition: &TopicPartition) {
        match self.changed.get_mut(group) {
            Some(changed) => changed.push(partition.clone()),
            None => drop(self.changed.insert(group.clone(), vec![partition.clone()])),
        }
    }

    /// Forgets the tails whose partitions are led elsewhere by now: the broker that was asked may hang for long.
    fn place(&mut self, cluster: &Cluster) {
        let metadata = cluster.metadata();
        if self.placed_by.as_ptr() == Arc::as_ptr(&metadata) {
            return;
        }
        self.placed_by = Arc::downgrade(&metadata);
        let elsewhere = |(partition, tail): (&TopicPartition, &Tail)| match metadata.leader(partition) {
            Led::At(broker) if *broker == *tail.group.broker => None,
            _ => Some(partition.clone()),
        };
        for partition in self.tails.iter().filter_map(elsewhere).collect::<Vec<_>>() {
            self.forget(&partition);
        }
    }

    fn forget(&mut self, partition: &TopicPartition) {
        if let Some(tail) = self.tails.remove(partition) {
            self.change(&tail.group, partition);
            tail.wake();
        }
    }

    fn forget_all(&mut self, group: &Group) {
        let all = self.tails.iter().filter(|(_, tail)| tail.group == *group);
        for partition in all.map(|(partition, _)| partition.clone()).collect::<Vec<_>>() {
            self.forget(&partition);
        }
    }

    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now.duration_since(swept) < SWEEP) {
            return;
        }
        self.swept = Some(now);
        let mut gone = Vec::new();
        for (partition, tail) in &mut self.tails {
            tail.let_go(now);
            if tail.is_unasked(now, UNASKED_FOR) {
                gone.push(partition.clone());
            }
        }
        for partition in gone {
            self.forget(&partition);
        }
    }
}

#[cfg(test)]
mod tests;
