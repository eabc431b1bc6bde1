//! One partition of an output topic, as a receiver by the watermark rule takes it.

use std::collections::BTreeMap;

use event_log::Record;
use task_runtime::Source;
use task_runtime::changelog::Body;

use super::{Verdict, fail};

type Sender = (String, u128);

#[derive(Debug, Clone)]
struct Seen {
    source: Option<(Sender, u64)>,
    taken: bool,
}

/// A partition as its receivers take it.
#[derive(Debug, Default)]
pub struct Received {
    records: Vec<Seen>,
    watermarks: BTreeMap<Sender, u64>,
}

impl Received {
    pub(super) fn add(&mut self, record: &Record) {
        let source = Source::of(record).map(|s| ((s.task.to_owned(), s.incarnation), s.sequence));
        self.take(source);
    }

    fn take(&mut self, source: Option<(Sender, u64)>) {
        let mut taken = true;
        if let Some((sender, sequence)) = &source {
            let watermark = self.watermarks.entry(sender.clone()).or_default();
            taken = *sequence == *watermark + 1;
            if taken {
                *watermark = *sequence;
            }
        }
        self.records.push(Seen { source, taken });
    }

    /// Behind the last record that a receiver takes: what follows has no effect, and need not be committed as read.
    pub(super) fn end_of_taken(&self) -> u64 {
        self.records.iter().rposition(|seen| seen.taken).map_or(0, |last| last as u64 + 1)
    }

    /// Number of records.
    pub fn end(&self) -> u64 {
        self.records.len() as u64
    }

    /// How many records of a task stand here without a gap.
    pub fn dense(&self, task: &str) -> u64 {
        self.watermarks.iter().filter(|((name, _), _)| name == task).map(|(_, sequence)| *sequence).sum()
    }

    /// Records that no task has sent.
    pub fn sourceless(&self) -> u64 {
        self.records.iter().filter(|seen| seen.source.is_none()).count() as u64
    }

    /// How many records were sent again.
    pub(crate) fn repeated(&self) -> u64 {
        self.records.iter().filter(|seen| !seen.taken).count() as u64
    }

    pub(super) fn truncate(&mut self, from: u64) {
        let mut records = std::mem::take(self).records;
        records.truncate(usize::try_from(from).unwrap_or(usize::MAX));
        for seen in records {
            self.take(seen.source);
        }
    }

    /// A receiver's commit that moved its position from `from` to `to` must have taken exactly what the rule says.
    pub(super) fn check_taken(&self, topic: &str, from: u64, to: u64, body: &Body) -> Verdict {
        let (Ok(start), Ok(end)) = (usize::try_from(from), usize::try_from(to)) else { return Ok(()) };
        let Some(range) = self.records.get(start..end) else {
            return fail("I15 positions", format!("{topic} has {} records, the position is {to}", self.records.len()));
        };
        let mut expected: BTreeMap<&Sender, u64> = BTreeMap::new();
        for seen in range {
            if let (Some((sender, sequence)), true) = (&seen.source, seen.taken) {
                expected.insert(sender, *sequence);
            }
        }
        let updates = body.watermarks.iter().filter(|update| update.topic.as_str() == topic);
        let found: Vec<_> = updates.map(|u| ((u.task.to_string(), u.incarnation), u.sequence)).collect();
        if found.iter().map(|(sender, sequence)| (sender, *sequence)).eq(expected.iter().map(|(s, n)| (*s, *n))) {
            return Ok(());
        }
        fail("I15 watermark", format!("from {from} to {to} of {topic}: {expected:?} are right, {found:?} were taken"))
    }
}
