//! The services of a simulation: who is called what, who writes which changelog, who reads which topic.

use std::collections::{BTreeMap, BTreeSet};

use event_log::{TopicName, TopicPartition};
use task_runtime::Definition;

/// A service, by its index, and a partition.
pub type TaskKey = (usize, u32);

/// The services and what leads from one to another.
#[derive(Debug)]
pub struct Topology {
    /// The services, in the order of their indices.
    pub definitions: Vec<Definition>,
    /// Partitions of every topic.
    pub partitions: u32,
    /// Index of the service that callers ask most: what hits it is seen by somebody.
    pub asked: usize,
    changelogs: BTreeMap<TopicName, usize>,
    snapshots: BTreeSet<TopicName>,
    readers: BTreeMap<TopicName, Vec<usize>>,
}

impl Topology {
    /// What follows from the definitions.
    #[must_use]
    pub fn new(definitions: Vec<Definition>, partitions: u32, asked: usize) -> Self {
        let changelogs = definitions.iter().zip(0..).map(|(definition, service)| (definition.changelog(), service));
        let mut readers: BTreeMap<TopicName, Vec<usize>> = BTreeMap::new();
        for (definition, service) in definitions.iter().zip(0..) {
            for topic in definition.input_topics() {
                readers.entry(topic.clone()).or_default().push(service);
            }
        }
        let snapshots = definitions.iter().map(Definition::snapshots).collect();
        Self { changelogs: changelogs.collect(), snapshots, readers, definitions, partitions, asked }
    }

    /// All tasks, by service and partition.
    pub fn tasks(&self) -> impl Iterator<Item = TaskKey> + use<> {
        let (services, partitions) = (self.definitions.len(), self.partitions);
        (0..services).flat_map(move |service| (0..partitions).map(move |partition| (service, partition)))
    }

    /// Name of a task, as in the source of what it sends.
    #[must_use]
    pub fn name(&self, task: TaskKey) -> String {
        format!("{}/{}", self.definitions[task.0].service(), task.1)
    }

    /// The task of this name.
    #[must_use]
    pub fn task(&self, name: &str) -> Option<TaskKey> {
        let (service, partition) = name.split_once('/')?;
        Some((self.service(service)?, partition.parse().ok()?))
    }

    /// Index of the service of this name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<usize> {
        self.definitions.iter().position(|definition| definition.service() == name)
    }

    /// The service whose changelog this is.
    pub(super) fn service_of_changelog(&self, topic: &TopicName) -> Option<usize> {
        self.changelogs.get(topic).copied()
    }

    pub(super) fn is_of_snapshots(&self, topic: &TopicName) -> bool {
        self.snapshots.contains(topic)
    }

    /// The tasks that read a partition of a topic.
    #[must_use]
    pub fn receivers(&self, partition: &TopicPartition) -> Vec<TaskKey> {
        let readers = self.readers.get(&partition.topic).map_or(&[][..], Vec::as_slice);
        readers.iter().map(|service| (*service, partition.partition)).collect()
    }

    /// Topics that one service writes and another reads.
    pub(super) fn internal_topics(&self) -> Vec<TopicName> {
        let written = self.definitions.iter().flat_map(Definition::output_topics);
        written.filter(|topic| self.readers.contains_key(*topic)).cloned().collect()
    }
}
