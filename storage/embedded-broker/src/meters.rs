//! Figures of the log, for the `metrics` facade and for callers. Handles are made once, when the log is opened: a recorder
//! has to be installed before.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Histogram};

/// Totals since the log was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Batches appended.
    pub appends: u64,
    /// Records in them.
    pub records: u64,
    /// Their encoded bytes.
    pub bytes: u64,
    /// Calls of fsync for records and their files' directories.
    pub fsyncs: u64,
    /// Rounds of fsyncs.
    pub rounds: u64,
    /// Bytes in the tail cache now.
    pub tail_cache_bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Meters {
    appends: (AtomicU64, Counter),
    records: (AtomicU64, Counter),
    bytes: (AtomicU64, Counter),
    fsyncs: (AtomicU64, Counter),
    rounds: (AtomicU64, Counter),
    round_duration: Histogram,
    round_partitions: Histogram,
}

impl Meters {
    pub(crate) fn new() -> Self {
        let counter = |name: &'static str| (AtomicU64::new(0), metrics::counter!(name));
        Self {
            appends: counter("ordermesh_broker_appends_total"),
            records: counter("ordermesh_broker_records_total"),
            bytes: counter("ordermesh_broker_bytes_total"),
            fsyncs: counter("ordermesh_broker_fsyncs_total"),
            rounds: counter("ordermesh_broker_sync_rounds_total"),
            round_duration: metrics::histogram!("ordermesh_broker_sync_round_duration_seconds"),
            round_partitions: metrics::histogram!("ordermesh_broker_sync_round_partitions"),
        }
    }

    pub(crate) fn appended(&self, records: u32, bytes: usize) {
        add(&self.appends, 1);
        add(&self.records, u64::from(records));
        add(&self.bytes, bytes as u64);
    }

    pub(crate) fn synced(&self, fsyncs: u64) {
        add(&self.fsyncs, fsyncs);
    }

    /// Counts a round that begins: before anyone can learn of its outcome.
    pub(crate) fn round_begins(&self, partitions: usize) {
        add(&self.rounds, 1);
        // A count far below 2^52, so nothing is lost.
        self.round_partitions.record(partitions as f64);
    }

    pub(crate) fn round_ends(&self, duration: Duration) {
        self.round_duration.record(duration.as_secs_f64());
    }

    pub(crate) fn stats(&self, tail_cache_bytes: u64) -> Stats {
        let now = |(total, _): &(AtomicU64, Counter)| total.load(Ordering::Relaxed);
        Stats {
            appends: now(&self.appends),
            records: now(&self.records),
            bytes: now(&self.bytes),
            fsyncs: now(&self.fsyncs),
            rounds: now(&self.rounds),
            tail_cache_bytes,
        }
    }
}

fn add((total, counter): &(AtomicU64, Counter), amount: u64) {
    total.fetch_add(amount, Ordering::Relaxed);
    counter.increment(amount);
}
