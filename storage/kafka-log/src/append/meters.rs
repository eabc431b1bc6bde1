//! What appends tell about themselves. Handles are made once: a look-up by name costs more than the count.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};
use tokio::time::Instant;

/// Shortest time between two warnings of the same.
const WARN_AGAIN: Duration = Duration::from_secs(60);

/// Metrics of all appends of a log.
pub(super) struct Meters {
    requests: Counter,
    records: Counter,
    bytes: Counter,
    seconds: Histogram,
    unclear: Counter,
    throttled: Counter,
    warned: Mutex<Option<Instant>>,
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            requests: counter!("ordermesh_kafka_appends_total"),
            records: counter!("ordermesh_kafka_append_records_total"),
            bytes: counter!("ordermesh_kafka_append_bytes_total"),
            seconds: histogram!("ordermesh_kafka_append_duration_seconds"),
            unclear: counter!("ordermesh_kafka_appends_unclear_total"),
            throttled: counter!("ordermesh_kafka_appends_throttled_total"),
            warned: Mutex::default(),
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

    /// A request whose answer says that the broker holds this client back.
    pub(super) fn throttled(&self, broker: &str, throttled: Duration) {
        self.throttled.increment(1);
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|warned| warned.elapsed() >= WARN_AGAIN) {
            *warned = Some(Instant::now());
            tracing::warn!(
                broker,
                throttled_ms = throttled.as_millis(),
                likely = "a quota on this client or user that was set since the start: producer_byte_rate or \
                          request_percentage; kafka-configs.sh --describe --entity-type users, and clients, shows it",
                "a broker holds appends back"
            );
        }
    }
}
