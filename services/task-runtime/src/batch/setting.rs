//! What stays the same for all batches of a task.

use std::collections::BTreeSet;
use std::sync::Arc;

use event_log::TopicName;

use crate::{Definition, NoTracer, SharedTracer, Shortcut};

/// What stays the same for all batches of a task.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// What the service does.
    pub(crate) definition: Definition,
    /// The task's partition.
    pub(crate) partition: u32,
    /// Partitions of every topic.
    pub(crate) partitions: u32,
    /// Largest output in bytes.
    pub(crate) record_bytes_max: usize,
    /// How long answers are remembered, in milliseconds.
    pub(crate) request_memory_ms: i64,
    /// How far stream time may be ahead of the clock, in milliseconds.
    pub(crate) clock_skew_max_ms: i64,
    /// Whether to go on behind records that an input has lost.
    pub(crate) accept_input_loss: bool,
    pub(crate) shortcut: Shortcut,
    pub(crate) tracer: SharedTracer,
    pub(super) outputs: BTreeSet<TopicName>,
    pub(super) dead_letters: TopicName,
}

impl Setting {
    /// The setting of one task.
    pub(crate) fn new(definition: Definition, partition: u32, partitions: u32, config: &crate::Config) -> Self {
        let outputs = definition.outputs.iter().cloned().collect();
        let dead_letters = definition.dead_letters();
        let request_memory_ms = i64::try_from(config.request_memory.as_millis()).unwrap_or(i64::MAX);
        let clock_skew_max_ms = i64::try_from(config.clock_skew_max.as_millis()).unwrap_or(i64::MAX);
        let tracer = Arc::new(NoTracer);
        Self {
            definition,
            partition,
            partitions,
            record_bytes_max: config.record_bytes_max,
            request_memory_ms,
            clock_skew_max_ms,
            accept_input_loss: config.accept_input_loss,
            shortcut: config.shortcut,
            tracer,
            outputs,
            dead_letters,
        }
    }

    pub(crate) fn traced_by(mut self, tracer: SharedTracer) -> Self {
        self.tracer = tracer;
        self
    }
}
