//! The judge of a run. It sees every record at the moment it lands in the log, reads changelogs by the reader rule, and
//! demands of the protocol, at every step and not only in the end:
//!
//! - `I8 output-certified`: what stands in an output topic is the output of a counted commit, under its number, so that who
//!   was deposed has no effect;
//! - `I9 store-prefix`: a live store is at every write the state of a prefix of its changelog; `I9 standby` and `I9 rebuild`:
//!   in the end a standby and a rebuilt store hold what the owner holds;
//! - `I10 damage`: a store that was damaged is the state of a prefix at every write, too, so that it was found and rebuilt;
//!   in the end whatever was damaged and not looked at since is opened, and holds what the owner holds;
//! - `I15 watermark`, `positions`, `sequence`, `published`: no record is skipped or taken twice, nothing runs backwards.
//!
//! What a scenario demands besides, it says itself ([`Scenario::committed`]). Where the log itself loses what it has
//! acknowledged, less can be demanded: see [`Oracle::truncated`].

mod reading;
mod received;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use event_log::{Offset, Record, TopicPartition};
use task_runtime::Source;
use task_runtime::changelog::Body;

use super::{Scenario, TaskKey, Topology};

pub use reading::Reading;
pub use received::Received;

/// What was violated, and how.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The law.
    pub oracle: &'static str,
    /// How it was violated.
    pub detail: String,
}

/// What a check says.
pub type Verdict = Result<(), Failure>;

/// A violation.
///
/// # Errors
/// Always.
pub fn fail(oracle: &'static str, detail: impl Into<String>) -> Verdict {
    Err(Failure { oracle, detail: detail.into() })
}

/// What the log has lost that it had acknowledged: less can be demanded then.
#[derive(Debug, Clone, Copy)]
pub struct Losses {
    /// Anything.
    pub any: bool,
    /// Entries of a changelog.
    pub changelog: bool,
}

/// How often things happened, so that a run can show that its faults are not tame.
pub type Stats = BTreeMap<&'static str, u64>;

/// What the judge knows of a run.
pub struct Oracle<S> {
    topology: Arc<Topology>,
    /// What the scenario demands.
    pub scenario: S,
    readings: BTreeMap<TaskKey, Reading>,
    topics: BTreeMap<TopicPartition, Received>,
    pub(super) stats: Stats,
    pub(super) failure: Option<Failure>,
    /// The log has lost something that it had acknowledged.
    pub has_lost: bool,
    has_lost_changelog: bool,
    /// How often each changelog lost something.
    losses: BTreeMap<TaskKey, u32>,
    /// Inputs that lost what their receiver had taken, or may have.
    torn: BTreeSet<TopicPartition>,
    /// Tasks whose owner can no longer notice: see [`Oracle::truncated`].
    blind: BTreeSet<TaskKey>,
    /// Where the owner of a changelog that was cut under it expects its next entry, at the earliest.
    cut_at: BTreeMap<TaskKey, u64>,
}

impl<S: Scenario> Oracle<S> {
    pub(super) fn new(topology: Arc<Topology>, scenario: S) -> Self {
        Self {
            readings: topology.tasks().map(|task| (task, Reading::default())).collect(),
            topology,
            scenario,
            topics: BTreeMap::new(),
            stats: Stats::new(),
            failure: None,
            has_lost: false,
            has_lost_changelog: false,
            losses: BTreeMap::new(),
            torn: BTreeSet::new(),
            blind: BTreeSet::new(),
            cut_at: BTreeMap::new(),
        }
    }

    /// Notes that something happened.
    pub fn count(&mut self, what: &'static str) {
        *self.stats.entry(what).or_default() += 1;
    }

    /// Keeps the first failure.
    pub fn check(&mut self, verdict: Verdict) {
        if let Err(failure) = verdict
            && self.failure.is_none()
        {
            self.failure = Some(failure);
        }
    }

    /// A task's changelog as it stands.
    pub fn reading(&self, task: TaskKey) -> &Reading {
        &self.readings[&task]
    }

    /// How often the task's changelog lost something that it had acknowledged.
    pub fn losses(&self, task: TaskKey) -> u32 {
        self.losses.get(&task).copied().unwrap_or_default()
    }

    /// All tasks' changelogs.
    pub fn readings(&self) -> impl Iterator<Item = (TaskKey, &Reading)> {
        self.readings.iter().map(|(task, reading)| (*task, reading))
    }

    /// The tasks that read a partition of a topic.
    pub fn receivers(&self, partition: &TopicPartition) -> Vec<TaskKey> {
        self.topology.receivers(partition)
    }

    /// All topics that something was sent to, but changelogs.
    pub fn topics(&self) -> impl Iterator<Item = (&TopicPartition, &Received)> {
        self.topics.iter()
    }

    /// Records have landed in the log.
    pub(super) fn landed(&mut self, partition: &TopicPartition, base: u64, records: &[Record]) {
        for (record, offset) in records.iter().zip(base..) {
            let verdict = match self.topology.service_of_changelog(&partition.topic) {
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
        let losses = Losses { any: self.has_lost, changelog: self.has_lost_changelog };
        self.scenario.committed(task, &self.readings[&task], body, losses)?;
        for upto in body.published.iter().filter(|_| !self.has_lost) {
            let output = TopicPartition::new(upto.topic.clone(), upto.partition);
            let name = self.topology.name(task);
            let there = self.topics.get(&output).map_or(0, |received| received.dense(&name));
            if there < upto.sequence {
                return fail(
                    "I15 published",
                    format!("{name} says {} are in {output}, but {there} are", upto.sequence),
                );
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
        let Some(sender) = self.topology.task(source.task) else {
            return fail("I8 output-certified", format!("unknown sender {}", source.task));
        };
        let output = self.readings[&sender].output(partition, source.sequence);
        match output {
            Some(output) if output.key == record.key && output.value == record.value => Ok(()),
            Some(_) => fail("I8 output-certified", format!("{} {} has other content", source.task, source.sequence)),
            None => {
                let detail = format!("{} {} in {partition} is of no counted commit", source.task, source.sequence);
                fail("I8 output-certified", detail)
            }
        }
    }

    /// The log lost everything from `from` on although it had acknowledged it.
    ///
    /// What was acknowledged to clients before is gone and cannot be demanded. What is demanded still: a task stops loudly or
    /// agrees with a pure reading of what is left. There is one case in which an owner cannot notice: its changelog was cut
    /// while it lived, and by its next append the log has grown again to exactly where it was. It sees its entry land where
    /// it expected it. From that point on the task is not judged.
    pub(super) fn truncated(&mut self, partition: &TopicPartition, from: Offset, under_owner: bool) {
        self.has_lost = true;
        match self.topology.service_of_changelog(&partition.topic) {
            Some(service) => {
                self.has_lost_changelog = true;
                let task = (service, partition.partition);
                *self.losses.entry(task).or_default() += 1;
                let reading = self.readings.get_mut(&task).expect("all tasks have a reading");
                if under_owner {
                    self.cut_at.insert(task, reading.last_commit());
                }
                self.scenario.losing(reading);
                reading.truncate(from.0);
            }
            None => {
                let receivers = self.topology.receivers(partition);
                let has_read = |task: &TaskKey| self.readings[task].position(partition.topic.as_str()) > from.0;
                if under_owner || receivers.iter().any(has_read) {
                    self.torn.insert(partition.clone());
                }
                if let Some(received) = self.topics.get_mut(partition) {
                    received.truncate(from.0);
                }
            }
        }
    }

    /// An output of a counted commit that is not in its topic yet.
    pub(super) fn unpublished(&self) -> Option<String> {
        for (task, reading) in self.readings() {
            let name = self.topology.name(task);
            for (to, sent) in reading.outputs() {
                let there = self.topics.get(&to).map_or(0, |topic| topic.dense(&name));
                if there < sent.len() as u64 {
                    return Some(format!("{there} of {} outputs of {name} are in {to}", sent.len()));
                }
            }
        }
        None
    }

    /// A topic that is not read to its end yet by one who reads it.
    pub(super) fn unread(&self) -> Option<String> {
        for (at, topic) in self.topics() {
            for reader in self.topology.receivers(at) {
                let position = self.reading(reader).position(at.topic.as_str());
                if position < topic.end_of_taken() {
                    let name = self.topology.name(reader);
                    return Some(format!("{at} is read to {position} of {} by {name}", topic.end_of_taken()));
                }
            }
        }
        None
    }

    /// Whether a task's answers can be judged.
    pub fn judges(&self, task: TaskKey) -> bool {
        !self.blind.contains(&task) && self.reading(task).is_readable()
    }

    /// A live store wrote something; `digest` is over all rows but those of the runtime's own progress. One that lies on a
    /// disk that `was_damaged` must have been emptied before (I10).
    pub(super) fn applied(&mut self, task: TaskKey, digest: u128, was_damaged: bool) {
        // An owner under which the log was cut may apply what was acknowledged just before.
        if self.cut_at.contains_key(&task) || self.reading(task).is_prefix(digest) {
            return;
        }
        let law = if was_damaged { "I10 damage" } else { "I9 store-prefix" };
        self.check(fail(law, format!("the store of {task:?} is no prefix of its changelog")));
    }
}
