//! What all parts of one run share: the log as it really is, the judge, the trace, and who is to crash next.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use event_log::{Error, EventLog, FetchedBatch, MemoryLog, Offset, Record, TopicPartition};
use futures::FutureExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::oracle::{Oracle, Verdict};
use super::profile::Profile;
use super::trace::Trace;
use super::{Dice, Plan, Scenario, Topology};

/// A crash that waits for an append.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trip {
    /// Appends that still pass.
    pub(super) appends: u64,
    pub(super) after_landing: bool,
}

/// What all parts of one run share.
pub struct Shared<S> {
    /// The log as it really is.
    pub(super) log: MemoryLog,
    /// What the seed is like.
    pub profile: Profile,
    /// The services and their topics.
    pub topology: Arc<Topology>,
    oracle: Mutex<Oracle<S>>,
    trace: Mutex<Trace>,
    dice: Mutex<Dice>,
    faulty: AtomicBool,
    trips: Mutex<BTreeMap<usize, Trip>>,
    cut_until: Mutex<BTreeMap<usize, Instant>>,
    /// Where records of snapshots are not what was written, one of each partition at the most.
    damaged_snapshots: Mutex<BTreeMap<TopicPartition, u64>>,
    to_crash: Mutex<Vec<usize>>,
    /// What was under way in the network when this moved is lost: the broker itself has crashed.
    broker_life: AtomicU64,
    pub(super) crash_wanted: Notify,
    pub(super) failed: Notify,
}

impl<S: Scenario> Shared<S> {
    pub(super) fn new(plan: Plan<S>, dice: Dice, print: bool) -> Self {
        let Plan { profile, topology, scenario } = plan;
        let topology = Arc::new(topology);
        Self {
            log: MemoryLog::new(),
            profile,
            oracle: Mutex::new(Oracle::new(topology.clone(), scenario)),
            topology,
            trace: Mutex::new(Trace::new(print)),
            dice: Mutex::new(dice),
            faulty: AtomicBool::new(true),
            trips: Mutex::default(),
            cut_until: Mutex::default(),
            damaged_snapshots: Mutex::default(),
            to_crash: Mutex::default(),
            broker_life: AtomicU64::new(0),
            crash_wanted: Notify::new(),
            failed: Notify::new(),
        }
    }

    /// Asks or tells the judge.
    pub fn oracle<R>(&self, ask: impl FnOnce(&mut Oracle<S>) -> R) -> R {
        let mut oracle = lock(&self.oracle);
        let answer = ask(&mut oracle);
        if oracle.failure.is_some() {
            self.failed.notify_one();
        }
        answer
    }

    /// Tells the judge of a check.
    pub fn check(&self, verdict: Verdict) {
        self.oracle(|oracle| oracle.check(verdict));
    }

    /// Notes that something happened.
    pub fn count(&self, what: &'static str) {
        self.oracle(|oracle| oracle.count(what));
    }

    /// Writes a line of the trace.
    pub fn note(&self, event: fmt::Arguments<'_>) {
        lock(&self.trace).note(event);
    }

    pub(super) fn trace_digest(&self) -> (u64, u64) {
        lock(&self.trace).digest()
    }

    pub(super) fn dice<R>(&self, draw: impl FnOnce(&mut Dice) -> R) -> R {
        draw(&mut lock(&self.dice))
    }

    /// Whether things go wrong yet.
    pub fn is_faulty(&self) -> bool {
        self.faulty.load(Ordering::Relaxed)
    }

    /// From now on nothing goes wrong any more, but for what is already under way.
    pub(super) fn heal(&self) {
        self.faulty.store(false, Ordering::Relaxed);
        lock(&self.trips).clear();
        lock(&self.cut_until).clear();
    }

    /// The records really are in the log now, whether anyone is told or not.
    pub(super) fn land(&self, partition: &TopicPartition, records: Vec<Record>) -> Result<Offset, Error> {
        let seen = records.clone();
        let base = self.log.append(partition, records).now_or_never().expect("a log in memory answers at once")?;
        self.note(format_args!("{partition}@{base} +{}", seen.len()));
        self.oracle(|oracle| oracle.landed(partition, base.0, &seen));
        self.damage_snapshot(partition, base);
        Ok(base)
    }

    /// A record of a snapshot may not be on the disk as it was acknowledged. Two snapshots are kept of each task, so that one
    /// may be lost.
    fn damage_snapshot(&self, partition: &TopicPartition, at: Offset) {
        if !self.profile.damaged_snapshots || !self.is_faulty() || !self.topology.is_of_snapshots(&partition.topic) {
            return;
        }
        let mut damaged = lock(&self.damaged_snapshots);
        if !damaged.contains_key(partition) && self.dice(|dice| dice.permille(300)) {
            self.note(format_args!("{partition}@{at} is damaged"));
            self.count("snapshot: a record damaged");
            damaged.insert(partition.clone(), at.0);
        }
    }

    /// What a reader is given: one bit of a record that is damaged is another.
    pub(super) fn as_on_disk(&self, partition: &TopicPartition, batch: &mut FetchedBatch) {
        let Some(at) = lock(&self.damaged_snapshots).get(partition).copied() else { return };
        for stored in batch.records.iter_mut().filter(|stored| stored.offset.0 == at) {
            let mut bytes = stored.record.value.take().unwrap_or_default().to_vec();
            if let Some(byte) = bytes.last_mut() {
                *byte ^= 1 << (at % 8);
            }
            stored.record.value = Some(bytes.into());
            self.count("snapshot: a damaged record read");
        }
    }

    /// Loses everything from `from` on, and what is under way.
    pub(super) fn lose(&self, partition: &TopicPartition, from: Offset, under_owner: bool) {
        self.broker_life.fetch_add(1, Ordering::Relaxed);
        self.note(format_args!("{partition} loses everything from {from} on"));
        self.oracle(|oracle| oracle.truncated(partition, from, under_owner));
        self.log.truncate(partition, from).expect("all topics exist");
    }

    pub(super) fn broker_life(&self) -> u64 {
        self.broker_life.load(Ordering::Relaxed)
    }

    pub(super) fn set_trip(&self, process: usize, trip: Trip) {
        lock(&self.trips).insert(process, trip);
    }

    /// Counts an append; the trip if this is the one to crash at.
    pub(super) fn tripped(&self, process: usize) -> Option<Trip> {
        let mut trips = lock(&self.trips);
        let trip = trips.get_mut(&process)?;
        if trip.appends > 0 {
            trip.appends -= 1;
            return None;
        }
        trips.remove(&process)
    }

    pub(super) fn request_crash(&self, process: usize) {
        lock(&self.to_crash).push(process);
        self.crash_wanted.notify_one();
    }

    pub(super) fn next_crash(&self) -> Option<usize> {
        lock(&self.to_crash).pop()
    }

    /// Cuts a process off from the log for a while.
    pub(super) fn cut_off(&self, process: usize, time: Duration) {
        lock(&self.cut_until).insert(process, Instant::now() + time);
    }

    pub(super) fn is_cut_off(&self, process: usize) -> bool {
        lock(&self.cut_until).get(&process).is_some_and(|until| *until > Instant::now())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("one thread runs a seed, and it holds no lock when it panics")
}
