//! What a service does, as data: inputs, commands, timers, stores and outputs with their handlers.
//!
//! Handlers are pure of I/O: they see one record, command or timer and a [`Context`], and what they do becomes part of the
//! task's next commit, all or nothing. They may run again with the same input after a crash; only the committed run counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use event_log::{Offset, Record, TopicName};

use crate::dead_letters::REPLAY_HEADER;
use crate::{Command, Context, ProcessError, Reply, Schema};

/// One kind of keys in a task's store. The id is part of the stored keys: it never changes and is never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId {
    pub(crate) id: u8,
    name: &'static str,
}

impl StoreId {
    /// Declares a store; `id` is below 128 and unique within its service.
    #[must_use]
    pub const fn new(id: u8, name: &'static str) -> Self {
        assert!(id < 128, "store ids are below 128");
        Self { id, name }
    }

    /// Its name, for people.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// A record from an input topic.
#[derive(Debug)]
pub struct Input<'a> {
    /// Topic that it came from.
    pub topic: &'a TopicName,
    /// Its offset there.
    pub offset: Offset,
    /// The record; its timestamp is the event time.
    pub record: &'a Record,
}

impl Input<'_> {
    /// The record's value.
    ///
    /// # Errors
    /// A record without a value is poison for topics that are not compacted.
    pub fn value(&self) -> Result<&Bytes, ProcessError> {
        self.record.value.as_ref().ok_or_else(|| ProcessError::poison("the record has no value"))
    }

    /// Whether the record comes back from the dead letters, with the event time that it had at first.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.record.header(REPLAY_HEADER).is_some()
    }
}

/// A timer that is due.
#[derive(Debug)]
pub struct Timer<'a> {
    /// The key that it was set for.
    pub key: &'a [u8],
    /// Event time that it was set for, in milliseconds since the Unix epoch.
    pub due_ms: i64,
    /// How long after that it fires, in milliseconds: much, if nobody owned the task at the time, or the owner could not keep up, or
    /// it was set for a time that had passed.
    pub late_ms: i64,
}

pub(crate) type RecordHandler = Arc<dyn Fn(&mut Context<'_>, &Input<'_>) -> Result<(), ProcessError> + Send + Sync>;
pub(crate) type CommandHandler = Arc<dyn Fn(&mut Context<'_>, &Command) -> Result<Reply, ProcessError> + Send + Sync>;
pub(crate) type TimerHandler = Arc<dyn Fn(&mut Context<'_>, &Timer<'_>) -> Result<(), ProcessError> + Send + Sync>;

/// A service as the runtime sees it.
#[derive(Clone)]
pub struct Definition {
    pub(crate) service: &'static str,
    pub(crate) inputs: Vec<(TopicName, RecordHandler)>,
    pub(crate) patient: BTreeSet<TopicName>,
    pub(crate) commands: BTreeMap<&'static str, CommandHandler>,
    pub(crate) timers: BTreeMap<&'static str, TimerHandler>,
    pub(crate) stores: Vec<StoreId>,
    pub(crate) outputs: Vec<TopicName>,
    pub(crate) messages: BTreeMap<TopicName, &'static str>,
    pub(crate) schemas: Arc<BTreeMap<TopicName, Schema>>,
    pub(crate) letters: Vec<(TopicName, RecordHandler)>,
}

impl std::fmt::Debug for Definition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Definition")
            .field("service", &self.service)
            .field("inputs", &self.inputs.iter().map(|(topic, _)| topic).collect::<Vec<_>>())
            .field("commands", &self.commands.keys().collect::<Vec<_>>())
            .field("timers", &self.timers.keys().collect::<Vec<_>>())
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

impl Definition {
    /// An empty definition of the service; its tasks are `<service>/<partition>`.
    #[must_use]
    pub fn new(service: &'static str) -> Self {
        Self {
            service,
            inputs: Vec::new(),
            patient: BTreeSet::new(),
            commands: BTreeMap::new(),
            timers: BTreeMap::new(),
            stores: Vec::new(),
            outputs: Vec::new(),
            messages: BTreeMap::new(),
            schemas: Arc::default(),
            letters: Vec::new(),
        }
    }

    /// Reads a topic; each topic has one handler.
    #[must_use]
    pub fn input<F>(mut self, topic: &str, handler: F) -> Self
    where
        F: Fn(&mut Context<'_>, &Input<'_>) -> Result<(), ProcessError> + Send + Sync + 'static,
    {
        let topic = TopicName::new(topic);
        assert!(self.inputs.iter().all(|(t, _)| *t != topic), "topic {topic} is read twice by {}", self.service);
        self.inputs.push((topic, Arc::new(handler)));
        self
    }

    /// Reads a topic without hurry: its records may wait for more of them, so that one commit takes many. It is meant for views
    /// and for effects that nobody waits for. The first record after a quiet time is still taken at once; under load they wait
    /// for up to [`crate::Config::patience`]. What they change is then committed like any change that nobody waits for.
    #[must_use]
    pub fn patient<F>(mut self, topic: &str, handler: F) -> Self
    where
        F: Fn(&mut Context<'_>, &Input<'_>) -> Result<(), ProcessError> + Send + Sync + 'static,
    {
        self.patient.insert(TopicName::new(topic));
        self.input(topic, handler)
    }

    /// Answers a command.
    #[must_use]
    pub fn command<F>(mut self, name: &'static str, handler: F) -> Self
    where
        F: Fn(&mut Context<'_>, &Command) -> Result<Reply, ProcessError> + Send + Sync + 'static,
    {
        assert!(self.commands.insert(name, Arc::new(handler)).is_none(), "command {name} is declared twice");
        self
    }

    /// Handles timers of this name.
    #[must_use]
    pub fn timer<F>(mut self, name: &'static str, handler: F) -> Self
    where
        F: Fn(&mut Context<'_>, &Timer<'_>) -> Result<(), ProcessError> + Send + Sync + 'static,
    {
        assert!(self.timers.insert(name, Arc::new(handler)).is_none(), "timer {name} is declared twice");
        self
    }

    /// Keeps a kind of keys.
    #[must_use]
    pub fn store(mut self, store: StoreId) -> Self {
        assert!(self.stores.iter().all(|s| s.id != store.id), "store id {} is declared twice", store.id);
        self.stores.push(store);
        self
    }

    /// Writes a topic whose values are no messages of this service.
    #[must_use]
    pub fn output(mut self, topic: &str) -> Self {
        self.outputs.push(TopicName::new(topic));
        self
    }

    /// Writes a topic whose values are messages of this (full) name.
    #[must_use]
    pub fn output_of(mut self, topic: &str, message: &'static str) -> Self {
        self.messages.insert(TopicName::new(topic), message);
        self.output(topic)
    }

    /// Name of the service.
    #[must_use]
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// Topics that it reads.
    pub fn input_topics(&self) -> impl Iterator<Item = &TopicName> {
        self.inputs.iter().map(|(topic, _)| topic)
    }

    /// Topics that it writes, without its changelog and dead letters.
    pub fn output_topics(&self) -> impl Iterator<Item = &TopicName> {
        self.outputs.iter()
    }

    /// What the values of the topics are that it writes, as far as they are messages.
    pub fn messages(&self) -> impl Iterator<Item = (&TopicName, &'static str)> {
        self.messages.iter().map(|(topic, message)| (topic, *message))
    }

    /// Its changelog topic: one partition for each task.
    #[must_use]
    pub fn changelog(&self) -> TopicName {
        crate::topics::changelog(self.service)
    }

    /// Its snapshot topic: one partition for each task.
    #[must_use]
    pub fn snapshots(&self) -> TopicName {
        TopicName::new(&format!("{}-snapshots", self.service))
    }

    /// Its dead-letter topic.
    #[must_use]
    pub fn dead_letters(&self) -> TopicName {
        TopicName::new(&format!("{}-dead-letters", self.service))
    }
}
