//! What appends tell about themselves. Handles are made once: a look-up by name costs more than the count.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

/// Metrics of all appends of a log.
pub(super) struct Meters {
    requests: Counter,
    records: Counter,
    bytes: Counter,
    seconds: Histogram,
    unclear: Counter,
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            requests: counter!("ordermesh_kafka_appends_total"),
            records: counter!("ordermesh_kafka_append_records_total"),
            bytes: counter!("ordermesh_kafka_append_bytes_total"),
            seconds: histogram!("ordermesh_kafka_append_duration_seconds"),
            unclear: counter!("ordermesh_kafka_appends_unclear_total"),
        }
    }

    /// A request that was acknowledged; bytes are those of keys, values and headers with a little framing.
    pub(super) fn appended(&self, records: usize, bytes: usize, took: Duration) {
        self.requests.increment(1);
        self.records.increment(records as u64);
        self.bytes.increment(bytes as u64);
        self.seconds.record(took);
    }

    /// A request whose outcome is not known.
    pub(super) fn unclear(&self) {
        self.unclear.increment(1);
    }
}
