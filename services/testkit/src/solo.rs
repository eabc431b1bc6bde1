//! One service's tasks in this process, on a log in memory, with production's threads and commits. The other services are
//! played by the test, which produces what they would.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event_log::{MemoryLog, Record, SharedLog, TopicPartition, partition_for_key};
use state_store::MemoryStore;
use task_runtime::{Clock, Definition, Runtime, Start, Storage, SystemClock, Tasks};

/// Longest time that tasks in memory need to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A service by itself. Stop it at the end of the test.
#[derive(Debug)]
pub struct Solo {
    runtime: Runtime,
    tasks: Tasks,
    log: SharedLog,
}

impl Solo {
    /// Starts all partitions of a service and returns when they run.
    ///
    /// # Panics
    /// The tasks do not start: the test is over.
    pub async fn start(definition: Definition, partitions: u32) -> Self {
        let log: SharedLog = Arc::new(MemoryLog::new());
        let storage = Storage::Memory(Arc::new(|_| MemoryStore::default()));
        let service = definition.service();
        let start = Start::new(log.clone(), storage, partitions);
        let runtime = Runtime::start(start, vec![definition]).await.expect("a log in memory takes the topics");
        runtime.running().await.expect("tasks start");
        let tasks = runtime.tasks(service).expect("the service was started");
        Self { runtime, tasks, log }
    }

    /// The service's tasks.
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Appends a record to the key's partition, with the present time, as the service that owns the topic would.
    ///
    /// # Panics
    /// The service does not read the topic: the test is over.
    pub async fn produce(&self, topic: &str, key: &[u8], value: impl Into<Bytes>) {
        let partition = TopicPartition::new(topic, partition_for_key(key, self.tasks.partitions()));
        let (key, value) = (Some(Bytes::copy_from_slice(key)), Some(value.into()));
        let record = Record { key, value, headers: Vec::new(), timestamp_ms: SystemClock.now_ms() };
        self.log.append(&partition, vec![record]).await.expect("a log in memory takes records of its topics");
    }

    /// Ends the tasks.
    ///
    /// # Panics
    /// They do not end in time: the test is over.
    pub async fn stop(self) {
        assert!(self.runtime.stop(STOP_TIMEOUT).await, "tasks end in time");
    }
}
