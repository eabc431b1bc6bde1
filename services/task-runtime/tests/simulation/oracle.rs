//! The judge of a run. It sees every record at the moment it lands in the log, reads changelogs by the reader rule, and
//! demands, at every step and not only in the end:
//!
//! - `exactly-once`: no effect is ever counted twice, and in the end each one is counted at every hop;
//! - `reply-certified`: what a caller was told stands in the log as counted, at that moment;
//! - `output-certified`: what stands in an output topic is the output of a counted commit, under its number;
//! - `watermark`, `positions`, `sequence`, `published`: receivers take densely, nothing runs backwards or leaves a gap;
//! - `strong-read`: a strong read is the state of the log at some moment while it ran;
//! - `linearizable`: the same from the clients' side alone, without looking into the log;
//! - `store-prefix`: a live store is at every write the state of a prefix of its changelog.
//!
//! Where the log itself loses what it has acknowledged, less can be demanded: see [`Oracle::truncated`].

mod calls;
mod reading;
mod received;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use event_log::{Offset, Record, TopicPartition};
use task_runtime::Source;
use task_runtime::changelog::Body;

use crate::mesh;
use crate::profile::PARTITIONS;

pub(crate) use calls::Calls;
pub(crate) use reading::Reading;
pub(crate) use received::Received;

/// A service, by its index, and a partition.
pub(crate) type TaskKey = (usize, u32);

/// What was violated, and how.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) oracle: &'static str,
    pub(crate) detail: String,
}

pub(crate) type Verdict = Result<(), Failure>;

pub(crate) fn fail(oracle: &'static str, detail: impl Into<String>) -> Verdict {
    Err(Failure { oracle, detail: detail.into() })
}

/// How often things happened, so that a run can show that its faults are not tame.
pub(crate) type Stats = BTreeMap<&'static str, u64>;

#[derive(Default)]
pub(crate) struct Oracle {
    readings: BTreeMap<TaskKey, Reading>,
    topics: BTreeMap<TopicPartition, Received>,
    pub(crate) calls: Calls,
    pub(crate) stats: Stats,
    pub(crate) failure: Option<Failure>,
    /// The log has lost something that it had acknowledged.
    pub(crate) has_lost: bool,
    has_lost_changelog: bool,
    /// Inputs that lost what their receiver had taken, or may have.
    torn: BTreeSet<TopicPartition>,
    /// Tasks whose owner can no longer notice: see [`Oracle::truncated`].
    blind: BTreeSet<TaskKey>,
    /// Where the owner of a changelog that was cut under it expects its next entry, at the earliest.
    cut_at: BTreeMap<TaskKey, u64>,
    /// Effects that were counted, and lost.
    lost: BTreeSet<(Bytes, u64)>,
}

impl Oracle {
    pub(crate) fn new() -> Self {
        let mut oracle = Self::default();
        for service in 0..mesh::SERVICES.len() {
            for partition in 0..PARTITIONS {
                oracle.readings.insert((service, partition), Reading::default());
            }
        }
        oracle
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.stats.entry(what).or_default() += 1;
    }

    pub(crate) fn check(&mut self, verdict: Verdict) {
        if let Err(failure) = verdict
            && self.failure.is_none()
        {
            self.failure = Some(failure);
        }
    }

    pub(crate) fn reading(&self, task: TaskKey) -> &Reading {
        &self.readings[&task]
    }

    pub(crate) fn readings(&self) -> impl Iterator<Item = (TaskKey, &Reading)> {
        self.readings.iter().map(|(task, reading)| (*task, reading))
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = (&TopicPartition, &Received)> {
        self.topics.iter()
    }

    /// Records have landed in the log.
    pub(crate) fn landed(&mut self, partition: &TopicPartition, base: u64, records: &[Record]) {
        for (record, offset) in records.iter().zip(base..) {
            let verdict = match mesh::service_of_changelog(&partition.topic) {
                Some(service) => self.landed_entry((service, partition.partition), offset, record),
                None => self.landed_record(partition, record),
            };
            self.check(verdict);
        }
    }

    fn landed_entry(&mut self, task: TaskKey, offset: u64, record: &Record) -> Verdict {
        if self.cut_at.get(&task).is_some_and(|end| offset >= *end) && self.blind.insert(task) {
            *self.stats.entry("owner blinded by a refilled log").or_default() += 1;
        }
        let reading = self.readings.get_mut(&task).expect("all tasks have a reading");
        let entry = record.value.clone().unwrap_or_default();
        match reading.read(offset, entry) {
            Err(_) if self.has_lost => {
                *self.stats.entry("changelog unreadable after a loss").or_default() += 1;
                Ok(())
            }
            Err(reason) => fail("readable", format!("{task:?} at {offset}: {reason}")),
            Ok(None) => Ok(()),
            Ok(Some(body)) => self.committed(task, offset, &body),
        }
    }

    fn committed(&mut self, task: TaskKey, offset: u64, body: &Body) -> Verdict {
        let reading = self.readings.get_mut(&task).expect("all tasks have a reading");
        let (moved, verdict) = reading.absorb(body, offset);
        verdict?;
        for (topic, from, to) in moved {
            let input = TopicPartition::new(topic.as_str(), task.1);
            match self.topics.get(&input) {
                Some(received) if !self.torn.contains(&input) => received.check_taken(&topic, from, to, body)?,
                _ => {}
            }
        }
        // A sender that has lost its changelog sends other things under the same numbers, and the same things again.
        if task.0 == 0 || !self.has_lost_changelog {
            self.readings[&task].check_effects(body, self.has_lost_changelog)?;
        }
        for upto in body.published.iter().filter(|_| !self.has_lost) {
            let output = TopicPartition::new(upto.topic.clone(), upto.partition);
            let name = format!("{}/{}", mesh::SERVICES[task.0], task.1);
            let there = self.topics.get(&output).map_or(0, |received| received.dense(&name));
            if there < upto.sequence {
                return fail("published", format!("{name} says {} are in {output}, but {there} are", upto.sequence));
            }
        }
        Ok(())
    }

    fn landed_record(&mut self, partition: &TopicPartition, record: &Record) -> Verdict {
        let received = self.topics.entry(partition.clone()).or_default();
        received.add(record);
        let Some(source) = Source::of(record) else { return Ok(()) };
        if self.has_lost_changelog {
            return Ok(());
        }
        let Some(sender) = mesh::sender(source.task) else {
            return fail("output-certified", format!("unknown sender {}", source.task));
        };
        let output = self.readings[&sender].output(partition, source.sequence);
        match output {
            Some(output) if output.key == record.key && output.value == record.value => Ok(()),
            Some(_) => fail("output-certified", format!("{} {} has other content", source.task, source.sequence)),
            None => {
                let detail = format!("{} {} in {partition} is of no counted commit", source.task, source.sequence);
                fail("output-certified", detail)
            }
        }
    }

    /// The log lost everything from `from` on although it had acknowledged it.
    ///
    /// What was acknowledged to clients before is gone and cannot be demanded. What is demanded still: a task stops loudly or
    /// agrees with a pure reading of what is left. There is one case in which an owner cannot notice: its changelog was cut
    /// while it lived, and by its next append the log has grown again to exactly where it was. It sees its entry land where
    /// it expected it. From that point on the task is not judged.
    pub(crate) fn truncated(&mut self, partition: &TopicPartition, from: Offset, under_owner: bool) {
        self.has_lost = true;
        match mesh::service_of_changelog(&partition.topic) {
            Some(service) => {
                self.has_lost_changelog = true;
                let task = (service, partition.partition);
                let reading = self.readings.get_mut(&task).expect("all tasks have a reading");
                if under_owner {
                    self.cut_at.insert(task, reading.last_commit());
                }
                self.lost.extend(reading.effects());
                reading.truncate(from.0);
            }
            None => {
                let receiver = mesh::receiver(partition);
                if under_owner || self.readings[&receiver].position(partition.topic.as_str()) > from.0 {
                    self.torn.insert(partition.clone());
                }
                if let Some(received) = self.topics.get_mut(partition) {
                    received.truncate(from.0);
                }
            }
        }
    }

    /// Whether a task's answers can be judged.
    pub(crate) fn judges(&self, task: TaskKey) -> bool {
        !self.blind.contains(&task) && self.reading(task).is_readable()
    }

    /// A caller was told that this effect has happened, with this value of the counter.
    pub(crate) fn replied(&mut self, task: TaskKey, effect: &[u8], count: u64) {
        if !self.judges(task) {
            return;
        }
        let found = self.reading(task).row(&mesh::row(2, effect));
        let verdict = match found {
            Some(value) if value.get(1..).map(mesh::number) == Some(count) => Ok(()),
            // It was acknowledged, and lost while the answer was on its way.
            _ if self.lost.contains(&(Bytes::copy_from_slice(effect), count)) => Ok(()),
            other => {
                let effect = effect.escape_ascii();
                fail("reply-certified", format!("{task:?} answered {count} for {effect}, the log says {other:?}"))
            }
        };
        self.check(verdict);
    }

    /// A live store wrote something; `digest` is over all rows but those of the runtime's own progress.
    pub(crate) fn applied(&mut self, task: TaskKey, digest: u128) {
        // An owner under which the log was cut may apply what was acknowledged just before.
        if self.cut_at.contains_key(&task) || self.reading(task).is_prefix(digest) {
            return;
        }
        self.check(fail("store-prefix", format!("the store of {task:?} is no prefix of its changelog")));
    }
}
