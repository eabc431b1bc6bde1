//! What fetches tell about themselves. Handles are made once: a look-up by name costs more than the count.

use metrics::{Counter, counter};

/// Metrics of all fetches of a log.
#[derive(Clone)]
pub(crate) struct Meters {
    requests: Counter,
    records: Counter,
}

impl Meters {
    pub(crate) fn new() -> Self {
        Self {
            requests: counter!("ordermesh_kafka_fetches_total"),
            records: counter!("ordermesh_kafka_fetch_records_total"),
        }
    }

    /// A request that was sent.
    pub(super) fn asked(&self) {
        self.requests.increment(1);
    }

    /// Records that one brought.
    pub(super) fn brought(&self, records: usize) {
        self.records.increment(records as u64);
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}
