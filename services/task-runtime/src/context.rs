//! What a handler may do: read and write its stores, emit records, set timers. All of it is data for the next commit.

use std::collections::BTreeSet;

use bytes::Bytes;
use event_log::{TopicName, partition_for_key};
use state_store::Store;

use crate::changelog::Output;
use crate::overlay::Overlay;
use crate::{ProcessError, StoreId, TRACE_HEADER, keys, progress};

/// What comes this much after its time, or before it, came late or is of another clock, and timers that it sets are moved by as
/// much. What passes between the record of one task and the work of the next is far less.
const OFF_MS_MAX: i64 = 1_000;

/// The handler's side of a task.
pub struct Context<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) overlay: &'a mut Overlay,
    pub(crate) emitted: &'a mut Vec<Output>,
    pub(crate) outputs: &'a BTreeSet<TopicName>,
    pub(crate) dead_letters: &'a TopicName,
    pub(crate) partitions: u32,
    pub(crate) partition: u32,
    pub(crate) now_ms: i64,
    /// The owner's clock.
    pub(crate) clock_ms: i64,
    pub(crate) stream_time_ms: i64,
    pub(crate) traceparent: Option<Bytes>,
    pub(crate) record_bytes_max: usize,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("partition", &self.partition)
            .field("now_ms", &self.now_ms)
            .finish_non_exhaustive()
    }
}

impl Context<'_> {
    /// Time of this record, command or timer, in milliseconds since the Unix epoch. There is no other clock.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Latest event time that this task has seen, but no more than [`crate::Config::clock_skew_max`] ahead of its owner's clock: one
    /// record of a clock that runs ahead must not end what goes on. It goes back only where that clock was set back.
    #[must_use]
    pub fn stream_time_ms(&self) -> i64 {
        self.stream_time_ms
    }

    /// Partition of the task.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// The value of a key, with everything that was put before in this commit.
    ///
    /// # Errors
    /// The store is damaged; pass it on.
    pub fn get(&mut self, store: StoreId, key: &[u8]) -> Result<Option<Bytes>, ProcessError> {
        Ok(self.overlay.get(self.store, &keys::state_key(store, key))?)
    }

    /// Sets a key.
    pub fn put(&mut self, store: StoreId, key: &[u8], value: impl Into<Bytes>) {
        self.overlay.set(keys::state_key(store, key), Some(value.into()));
    }

    /// Removes a key.
    pub fn delete(&mut self, store: StoreId, key: &[u8]) {
        self.overlay.set(keys::state_key(store, key), None);
    }

    /// Up to `limit` pairs whose keys begin with `prefix`, in key order, with everything that was put before in this commit.
    ///
    /// # Errors
    /// The store is damaged; pass it on.
    pub fn scan(&mut self, store: StoreId, prefix: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, ProcessError> {
        let prefix = keys::state_key(store, prefix);
        let rows = self.overlay.scan(self.store, &prefix, keys::prefix_end(&prefix).as_deref(), limit)?;
        Ok(rows.into_iter().map(|(key, value)| (key.slice(1..), value)).collect())
    }

    /// Up to `limit` pairs of a store whose keys stand behind `after`, in key order, with everything that was put before in
    /// this commit: for work that goes through a whole store in pieces.
    ///
    /// # Errors
    /// The store is damaged; pass it on.
    pub fn scan_after(
        &mut self,
        store: StoreId,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ProcessError> {
        let end = keys::prefix_end(&keys::state_key(store, b""));
        // The smallest key behind `after` is `after` with a zero byte.
        let mut from = keys::state_key(store, after);
        from.push(0);
        let rows = self.overlay.scan(self.store, &from, end.as_deref(), limit)?;
        Ok(rows.into_iter().map(|(key, value)| (key.slice(1..), value)).collect())
    }

    /// Emits a record to the key's partition of an output topic, with the time of this work. It is published when the
    /// commit is certified, in order with everything else that this task sends to that partition.
    ///
    /// # Errors
    /// Poison if the topic is not declared as an output or the record is larger than the log takes.
    pub fn emit(&mut self, topic: &str, key: &[u8], value: impl Into<Bytes>) -> Result<(), ProcessError> {
        let value = value.into();
        let Some(topic) = self.outputs.iter().find(|t| t.as_str() == topic) else {
            return Err(ProcessError::poison(format!("topic {topic} is not an output of this service")));
        };
        let size = key.len() + value.len();
        if size > self.record_bytes_max {
            let limit = self.record_bytes_max;
            return Err(ProcessError::poison(format!("a record of {size} bytes for {topic} exceeds {limit} bytes")));
        }
        let mut headers = Vec::new();
        if let Some(traceparent) = &self.traceparent {
            headers.push((Bytes::from_static(TRACE_HEADER.as_bytes()), traceparent.clone()));
        }
        self.emitted.push(Output {
            topic: topic.clone(),
            partition: partition_for_key(key, self.partitions),
            // Dealt out when the commit is built: work that is undone leaves no gap.
            sequence: 0,
            key: Some(Bytes::copy_from_slice(key)),
            value: Some(value),
            headers,
            timestamp_ms: self.now_ms,
        });
        Ok(())
    }

    /// Number of the last record that earlier commits of this task have sent, or will send, to the key's partition of a topic:
    /// what is emitted now gets a higher one.
    ///
    /// # Errors
    /// The store is damaged; pass it on.
    pub fn sent_before(&self, topic: &str, key: &[u8]) -> Result<u64, ProcessError> {
        Ok(progress::sent(self.store, topic, partition_for_key(key, self.partitions))?)
    }

    /// Says in the trace what this work is about besides its own key, so that a search for it finds the work. The field is
    /// one that the tracer's spans declare; without a tracer it costs next to nothing.
    pub fn trace_field(&self, name: &'static str, value: &str) {
        tracing::Span::current().record(name, value);
    }

    /// Sets the timer of this name and key to fire at event time `due_ms`, replacing one that is set.
    ///
    /// When this work comes more than a second after its time or before it, because it has waited or another clock has stamped it,
    /// the timer is moved by as much. So it always fires as long after this work as `due_ms` is after [`Self::now_ms`].
    pub fn schedule(&mut self, name: &'static str, key: &[u8], due_ms: i64) {
        let off_ms = self.clock_ms.saturating_sub(self.now_ms);
        let due_ms = if off_ms.saturating_abs() > OFF_MS_MAX { due_ms.saturating_add(off_ms) } else { due_ms };
        let row = keys::timer_row(due_ms, self.clock_ms);
        self.overlay.set(keys::timer_key(name, key), Some(Bytes::copy_from_slice(&row)));
    }

    /// Takes a timer back; without one it does nothing.
    pub fn cancel(&mut self, name: &'static str, key: &[u8]) {
        self.overlay.set(keys::timer_key(name, key), None);
    }
}
