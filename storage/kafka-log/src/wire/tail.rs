//! Reading ahead where readers have come to the end: two requests for all partitions that one broker leads and that anybody in
//! this process waits for, always under way. What they bring is kept for a moment, for all who read that partition.
//!
//! The tasks of a process wait for some hundred partitions, several of them for the same, and a request costs a broker far
//! more than the few records that it brings. So they wait here, and only who is further back asks for itself. But a broker
//! looks through all partitions of a request whenever one of them moves: those that lie still, which are most, are asked for
//! apart from those that move.
//!
//! What always holds: what is kept of a partition is what the broker gave, without gaps, from `base` to `next`. Nothing is
//! decided here: whatever goes wrong with a partition or a broker makes its tails be forgotten, and the readers, who are
//! outside then, ask for themselves and hear what it is.

use std::collections::{HashMap, HashSet};
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

/// A partition to which something comes that soon after something else moves; one to which nothing comes for long lies still.
const MOVING_WITHIN: Duration = Duration::from_secs(1);
const STILL_AFTER: Duration = Duration::from_secs(10);
/// A tail that nobody has asked for so long is given up.
const UNASKED_FOR: Duration = Duration::from_secs(40);
/// How often is looked for tails that lie still or nobody has asked for, and for records that were kept long enough.
const SWEEP: Duration = Duration::from_secs(2);

/// The tails of a process.
#[derive(Debug)]
pub(crate) struct Tails {
    state: Arc<Mutex<State>>,
    meters: Meters,
    /// One job for each group.
    jobs: Mutex<HashMap<Group, AbortOnDropHandle<()>>>,
}

#[derive(Debug, Default)]
struct State {
    tails: HashMap<TopicPartition, Tail>,
    /// Partitions whose part in the next request has changed.
    changed: HashMap<Group, HashSet<TopicPartition>>,
    /// Tells the job of a group that there is something to ask for, should it have nothing under way.
    wakes: HashMap<Group, Arc<Notify>>,
    /// What the brokers said when it was last looked whether tails are where their leaders are.
    placed_by: Weak<Metadata>,
    swept: Option<Instant>,
}

/// Partitions that are asked for together: of those that one broker leads, the ones that move, or the ones that lie still.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Group {
    broker: Arc<str>,
    pace: Pace,
}

/// How often something comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Pace {
    /// Hardly ever.
    Still,
    /// Often.
    Moving,
}

impl Group {
    fn still(broker: &str) -> Self {
        Self { broker: Arc::from(broker), pace: Pace::Still }
    }

    fn moving(&self) -> Self {
        Self { broker: self.broker.clone(), pace: Pace::Moving }
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
        let group = Group::still(broker);
        let moving = group.moving();
        state.tails.insert(partition.clone(), Tail::new(group.clone(), at, Instant::now()));
        for group in [&group, &moving] {
            state.wakes.entry(group.clone()).or_default();
        }
        state.change(&group, partition);
        let wakes = [&group, &moving].map(|group| state.wakes[group].clone());
        drop(state);
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        for (group, wake) in [group, moving].into_iter().zip(wakes) {
            jobs.entry(group.clone()).or_insert_with(|| {
                let follower = Follower {
                    state: self.state.clone(),
                    cluster: cluster.clone(),
                    meters: self.meters.clone(),
                    group,
                    wake,
                };
                AbortOnDropHandle::new(cluster.runtime.spawn(follower.run()))
            });
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
            Some(changed) => _ = changed.insert(partition.clone()),
            None => _ = self.changed.insert(group.clone(), HashSet::from([partition.clone()])),
        }
        if let Some(wake) = self.wakes.get(group) {
            wake.notify_one();
        }
    }

    /// Has a partition asked for with others from the next request on that they make; until then its present ones keep it.
    fn move_to(&mut self, group: Group, partition: &TopicPartition) {
        if let Some(tail) = self.tails.get_mut(partition).filter(|tail| tail.group != group) {
            let before = std::mem::replace(&mut tail.group, group.clone());
            let between = tail.leaving.replace(before);
            self.change(&group, partition);
            if let Some(between) = between {
                self.change(&between, partition);
            }
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
            for group in [Some(&tail.group), tail.leaving.as_ref()].into_iter().flatten() {
                self.change(group, partition);
            }
            tail.wake();
        }
    }

    fn forget_all(&mut self, group: &Group) {
        let all = self.tails.iter().filter(|(_, tail)| tail.is_asked_with(group));
        for partition in all.map(|(partition, _)| partition.clone()).collect::<Vec<_>>() {
            self.forget(&partition);
        }
    }

    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now.duration_since(swept) < SWEEP) {
            return;
        }
        self.swept = Some(now);
        let (mut gone, mut still) = (Vec::new(), Vec::new());
        for (partition, tail) in &mut self.tails {
            tail.let_go(now);
            if tail.is_unasked(now, UNASKED_FOR) {
                gone.push(partition.clone());
            } else if tail.group.pace != Pace::Still && tail.is_still(now, STILL_AFTER) {
                still.push((Group::still(&tail.group.broker), partition.clone()));
            }
        }
        for partition in gone {
            self.forget(&partition);
        }
        for (group, partition) in still {
            self.move_to(group, &partition);
        }
    }
}

#[cfg(test)]
mod tests;
