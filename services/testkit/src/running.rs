//! One service with real tasks on a log in memory: for tests of what stands in front of the tasks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event_log::{MemoryLog, Record, TopicName, TopicPartition, partition_for_key};
use state_store::MemoryStore;
use task_runtime::{Assignment, Clock, Definition, Runtime, SharedLog, Start, Storage, SystemClock, Tasks};

/// The running tasks of one service.
#[derive(Debug)]
pub struct Running {
    log: SharedLog,
    runtime: Runtime,
    service: &'static str,
    partitions: u32,
}

impl Running {
    /// Starts all partitions of a service and returns when they run.
    ///
    /// # Panics
    /// A task cannot start.
    pub async fn start(definition: Definition, partitions: u32) -> Self {
        Self::start_all(vec![definition], partitions).await
    }

    /// Starts all partitions of several services on one log. It is the first of them whose tasks [`Running::tasks`] gives.
    ///
    /// # Panics
    /// There is no service, or a task cannot start.
    pub async fn start_all(definitions: Vec<Definition>, partitions: u32) -> Self {
        let log = Arc::new(MemoryLog::new());
        let starting = Self::starting_on(log, definitions, partitions, Assignment::Alone).await;
        starting.is_ready().await;
        starting
    }

    /// Starts all partitions on a log of the test's, which may not let them run yet.
    ///
    /// # Panics
    /// There is no service, or the log refuses its topics.
    pub async fn starting_on(
        log: SharedLog,
        definitions: Vec<Definition>,
        partitions: u32,
        assignment: Assignment,
    ) -> Self {
        let service = definitions.first().expect("a test has a service").service();
        let storage = Storage::Memory(Arc::new(|_| MemoryStore::default()));
        let mut start = Start::new(log.clone(), storage, partitions);
        start.assignment = assignment;
        let runtime = Runtime::start(start, definitions).await.expect("the log takes every topic");
        Self { log, runtime, service, partitions }
    }

    /// Returns when all tasks run.
    ///
    /// # Panics
    /// A task cannot start.
    pub async fn is_ready(&self) {
        self.runtime.running().await.expect("a task on an empty log can start");
    }

    /// The way into the tasks.
    ///
    /// # Panics
    /// Never: the runtime was started with this service.
    #[must_use]
    pub fn tasks(&self) -> Tasks {
        self.runtime.tasks(self.service).expect("the runtime was started with this service")
    }

    /// The log, for what reads topics beside the tasks.
    #[must_use]
    pub fn log(&self) -> SharedLog {
        self.log.clone()
    }

    /// Appends a record to an input topic, as a producer from outside the mesh does. It is processed some time later.
    ///
    /// # Panics
    /// The topic is not an input or output of the service.
    pub async fn record(&self, topic: &str, key: &[u8], value: impl Into<Bytes>) {
        let partition = partition_for_key(key, self.partitions);
        let at = TopicPartition { topic: TopicName::new(topic), partition };
        let record = Record {
            key: Some(Bytes::copy_from_slice(key)),
            value: Some(value.into()),
            headers: Vec::new(),
            timestamp_ms: SystemClock.now_ms(),
        };
        self.log.append(&at, vec![record]).await.expect("a log in memory takes what its topics take");
    }

    /// Stops the tasks.
    ///
    /// # Panics
    /// They do not stop in time.
    pub async fn stop(self) {
        assert!(self.runtime.stop(Duration::from_secs(10)).await, "the tasks of {} do not stop", self.service);
    }
}
