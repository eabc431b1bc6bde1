//! What a task tells about itself. Handles are made once: a look-up by label costs more than the count.

use std::time::{Duration, Instant};

use event_log::TopicName;
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
    commit_items: Histogram,
    outbox: Gauge,
    published: Counter,
    publish_seconds: Histogram,
    calls_waiting: Gauge,
    waits: Gauge,
    lag_records: Gauge,
    /// By input, in the order of the definition.
    input_lags: Vec<Gauge>,
    snapshots: Counter,
    snapshot_bytes: Gauge,
    restore_left: Gauge,
    restore_seconds: Histogram,
}

impl TaskMetrics {
    pub(crate) fn new<'a>(service: &'static str, partition: u32, inputs: impl Iterator<Item = &'a TopicName>) -> Self {
        let partition = partition.to_string();
        let labels = [("service", service.to_owned()), ("partition", partition)];
        let input_lag = |topic: &TopicName| {
            let [service, partition] = labels.clone();
            gauge!("ordermesh_task_input_lag_records", &[service, partition, ("topic", topic.as_str().to_owned())])
        };
        Self {
            items: counter!("ordermesh_task_items_total", &labels),
            skipped: counter!("ordermesh_task_records_skipped_total", &labels),
            lost: counter!("ordermesh_task_records_lost_total", &labels),
            dead: counter!("ordermesh_task_dead_letters_total", &labels),
            commits: counter!("ordermesh_commits_total", &labels),
            commit_seconds: histogram!("ordermesh_commit_duration_seconds", "service" => service),
            commit_items: histogram!("ordermesh_commit_items", "service" => service),
            outbox: gauge!("ordermesh_outbox_records", &labels),
            published: counter!("ordermesh_published_records_total", &labels),
            publish_seconds: histogram!("ordermesh_publish_duration_seconds", "service" => service),
            calls_waiting: gauge!("ordermesh_task_calls_waiting", &labels),
            waits: gauge!("ordermesh_task_waits", &labels),
            input_lags: inputs.map(input_lag).collect(),
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
    }

    /// So many inputs have come since the last commit.
    pub(crate) fn gathered(&self, items: usize) {
        self.commit_items.record(u32::try_from(items).unwrap_or(u32::MAX));
    }

    /// A standby is this far behind what it knows of the changelog.
    pub(crate) fn lag(&self, records: u64) {
        self.lag_records.set(records as f64);
    }

    /// So many records of each input stand in the log and are not processed, as far as is known.
    pub(crate) fn input_lags(&self, lags: impl Iterator<Item = u64>) {
        for (gauge, records) in self.input_lags.iter().zip(lags) {
            gauge.set(records as f64);
        }
    }

    /// So many calls wait to be processed, and so many wait for what has not happened yet.
    pub(crate) fn waiting(&self, calls: usize, waits: usize) {
        self.calls_waiting.set(calls as f64);
        self.waits.set(waits as f64);
    }

    /// So many records were published, and as many are left.
    pub(crate) fn published(&self, records: usize, left: usize) {
        self.published.increment(records as u64);
        self.outbox.set(left as f64);
    }

    /// The last output of a commit was published, so long after the commit counted.
    pub(crate) fn published_all(&self, took: Duration) {
        self.publish_seconds.record(took);
    }

    /// The task processes no longer: what an owner says of itself is over.
    pub(crate) fn at_rest(&self) {
        self.input_lags(std::iter::repeat(0));
        self.waiting(0, 0);
        self.outbox.set(0);
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
        self.outbox.set(outbox as f64);
    }
}
