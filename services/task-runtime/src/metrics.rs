//! What a task tells about itself. Handles are made once: a look-up by label costs more than the count.

use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::batch::Finished;

/// Metrics of one task.
#[derive(Clone)]
pub(crate) struct TaskMetrics {
    items: Counter,
    skipped: Counter,
    lost: Counter,
    dead: Counter,
    commits: Counter,
    commit_seconds: Histogram,
    batch_items: Histogram,
    outbox: Gauge,
    lag_records: Gauge,
    snapshots: Counter,
    snapshot_bytes: Gauge,
    restore_left: Gauge,
    restore_seconds: Histogram,
}

impl TaskMetrics {
    pub(crate) fn new(service: &'static str, partition: u32) -> Self {
        let partition = partition.to_string();
        let labels = [("service", service.to_owned()), ("partition", partition)];
        Self {
            items: counter!("ordermesh_task_items_total", &labels),
            skipped: counter!("ordermesh_task_records_skipped_total", &labels),
            lost: counter!("ordermesh_task_records_lost_total", &labels),
            dead: counter!("ordermesh_task_dead_letters_total", &labels),
            commits: counter!("ordermesh_commits_total", &labels),
            commit_seconds: histogram!("ordermesh_commit_duration_seconds", "service" => service),
            batch_items: histogram!("ordermesh_commit_items", "service" => service),
            outbox: gauge!("ordermesh_outbox_records", &labels),
            lag_records: gauge!("ordermesh_task_lag_records", &labels),
            snapshots: counter!("ordermesh_snapshots_total", &labels),
            snapshot_bytes: gauge!("ordermesh_snapshot_bytes", &labels),
            restore_left: gauge!("ordermesh_restore_left_records", &labels),
            restore_seconds: histogram!("ordermesh_restore_duration_seconds", "service" => service),
        }
    }

    #[expect(clippy::unused_self, reason = "the one place that reads the monotonic clock for metrics")]
    pub(crate) fn now(&self) -> Instant {
        Instant::now()
    }

    pub(crate) fn batch(&self, items: usize, finished: &Finished) {
        self.items.increment(items as u64);
        self.skipped.increment(finished.skipped);
        self.lost.increment(finished.lost);
        self.dead.increment(finished.dead);
        self.batch_items.record(u32::try_from(items).unwrap_or(u32::MAX));
    }

    /// A standby is this far behind what it knows of the changelog.
    pub(crate) fn lag(&self, records: u64) {
        self.lag_records.set(u32::try_from(records).unwrap_or(u32::MAX));
    }

    /// A snapshot of this size is complete.
    pub(crate) fn snapshot(&self, bytes: u64) {
        self.snapshots.increment(1);
        self.snapshot_bytes.set(bytes as f64);
    }

    /// So many rows and entries are still to be restored.
    pub(crate) fn restoring(&self, left: u64) {
        self.restore_left.set(left as f64);
    }

    pub(crate) fn restored(&self, took: Duration) {
        self.restore_left.set(0);
        self.restore_seconds.record(took);
    }

    pub(crate) fn committed(&self, started: Instant, outbox: usize) {
        self.commits.increment(1);
        self.commit_seconds.record(started.elapsed());
        self.outbox.set(u32::try_from(outbox).unwrap_or(u32::MAX));
    }
}
