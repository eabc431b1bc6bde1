//! How a batch ends: as a commit, or held until there is more to commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use event_log::TopicName;

use super::Batch;
use crate::changelog::{Body, WatermarkUpdate};
use crate::overlay::Overlay;

/// What has been computed and is not committed yet, because nobody waits for it: how far records were read, and changes that
/// stay within the task. The next commit takes all of it along. A crash before that means reading the records again, which is as if
/// they had not been read before.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(super) overlay: Overlay,
    pub(super) positions: BTreeMap<usize, u64>,
    pub(super) watermarks: BTreeMap<(usize, Arc<str>, u128), u64>,
    pub(super) stream_time_ms: i64,
    pub(super) records: usize,
    pub(super) bytes: usize,
    pub(super) spans: Vec<tracing::Span>,
}

impl Held {
    /// Whether no record was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Whether something has changed that only a commit makes visible.
    pub(crate) fn has_changes(&self) -> bool {
        !self.overlay.is_empty()
    }

    /// Whether this key has.
    pub(crate) fn changes(&self, key: &[u8]) -> bool {
        self.overlay.changes(key)
    }
}

/// What may be held at the most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holding {
    /// Records without any effect.
    pub(crate) quiet_records_max: usize,
    /// Records if some have changed something, and bytes of these changes; zero if none may be held.
    pub(crate) records_max: usize,
    pub(crate) bytes_max: usize,
}

impl Holding {
    /// Everything has to be committed.
    pub(crate) const NONE: Self = Self { quiet_records_max: 0, records_max: 0, bytes_max: 0 };
}

/// A finished batch.
#[derive(Debug)]
pub(crate) struct Finished {
    /// What is to be committed, or what is carried along because it need not be yet.
    pub(crate) outcome: Result<Body, Held>,
    /// Work that is in the commit; of what is held, the spans are held too.
    pub(crate) spans: Vec<tracing::Span>,
    /// Records that were duplicates.
    pub(crate) skipped: u64,
    /// Records that an input has lost, and that the task goes on without.
    pub(crate) lost: u64,
    /// Records that went to the dead letters.
    pub(crate) dead: u64,
}

impl Batch<'_> {
    /// The commit of everything so far, unless it can be held.
    pub(crate) fn finish(self, holding: Holding) -> Finished {
        let (skipped, lost, dead) = (self.skipped, self.lost, self.dead);
        if self.can_be_held(holding) {
            // Work that changed nothing is over; work that did is part of a commit to come.
            let spans = if self.overlay.is_empty() { Vec::new() } else { self.spans };
            let held = Held {
                overlay: self.overlay,
                positions: self.positions,
                watermarks: self.watermarks,
                stream_time_ms: self.stream_time_ms,
                records: self.records,
                bytes: self.bytes,
                spans,
            };
            return Finished { outcome: Err(held), spans: Vec::new(), skipped, lost, dead };
        }
        let topic_of = |input: usize| self.setting.definition.inputs[input].0.clone();
        let mut sequences: BTreeMap<(TopicName, u32), u64> = BTreeMap::new();
        let mut outputs = self.emitted;
        for output in &mut outputs {
            let destination = (output.topic.clone(), output.partition);
            let before = self.progress.sequence(&destination);
            let sequence = sequences.entry(destination).or_insert(before);
            *sequence += 1;
            output.sequence = *sequence;
        }
        let watermarks = self.watermarks.into_iter().map(|((input, task, incarnation), sequence)| WatermarkUpdate {
            topic: topic_of(input),
            task,
            incarnation,
            sequence,
        });
        let body = Body {
            positions: self.positions.into_iter().map(|(input, offset)| (topic_of(input), offset)).collect(),
            watermarks: watermarks.collect(),
            outputs,
            published: Vec::new(),
            stream_time_ms: self.stream_time_ms,
            changes: self.overlay.into_changes(),
            snapshot: None,
        };
        Finished { outcome: Ok(body), spans: self.spans, skipped, lost, dead }
    }

    /// Outputs and answers wait for their commit, and what a timer or a caller has looked at may rest on changes that are held.
    fn can_be_held(&self, holding: Holding) -> bool {
        if !self.emitted.is_empty() {
            return false;
        }
        if self.overlay.is_empty() {
            return self.records < holding.quiet_records_max || self.positions.is_empty();
        }
        !self.answers && !self.fires && self.records < holding.records_max && self.bytes < holding.bytes_max
    }

    /// Keys that the commit will change.
    pub(crate) fn changed_keys(&self) -> impl Iterator<Item = &Bytes> {
        self.overlay.changed_keys()
    }
}
