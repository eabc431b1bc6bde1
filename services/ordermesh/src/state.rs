//! Whether stores hold what the log says: what is in them beside what their changelogs make anew, in memory.
//!
//! Nothing is changed. The stores of a directory are looked at while its process is stopped; those of a mesh that runs are asked
//! for elsewhere, and compared with the same changelogs.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use embedded_broker::EmbeddedLog;
use event_log::{SharedLog, TopicName};
use kafka_log::KafkaLog;
use service_host::{Chain, Clock};
use state_store::MemoryStore;
use task_runtime::{Definition, Rebuilt, Start, StateDigest, Storage, rebuild, stored};

use crate::data::{DataDirectory, DataError};
use crate::{Config, StartError, definitions, instance};

/// Why nothing can be compared. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The data directory is not one, or of another partition count.
    #[error(transparent)]
    Data(#[from] DataError),
    /// No process of the mesh has kept state there.
    #[error("data directory {} has no stores: name the directory of a process that ran tasks with --data", directory.display())]
    NoStores {
        /// The directory.
        directory: PathBuf,
    },
    /// The log of the mesh is elsewhere.
    #[error(
        "data directory {} has no log of its own, so that its mesh keeps it on brokers: name them with --brokers host:port,...",
        directory.display()
    )]
    NoLog {
        /// The directory.
        directory: PathBuf,
    },
    /// Log or stores cannot be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The brokers cannot be reached.
    #[error(transparent)]
    Brokers(#[from] kafka_log::ConnectError),
    /// The log does not tell its topics.
    #[error("the log cannot be read")]
    Log(#[from] event_log::Error),
}

/// What was found of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The task, as in `orders/3`.
    pub task: String,
    /// What its store holds; none if it holds nothing.
    pub stored: Option<StateDigest>,
    /// What its changelog says at the same offset, or why that cannot be told.
    pub rebuilt: Result<Option<Rebuilt>, String>,
}

impl Verified {
    /// Whether the store is what it must be. An empty one is.
    #[must_use]
    pub fn agrees(&self) -> bool {
        match (&self.stored, &self.rebuilt) {
            (Some(stored), Ok(Some(rebuilt))) => stored.digest == rebuilt.digest,
            (None, Ok(None)) => true,
            _ => false,
        }
    }
}

/// The changelogs of a mesh, to make states of.
#[derive(Debug)]
pub struct Changelogs {
    start: Start,
    definitions: Vec<Definition>,
    topics: BTreeSet<TopicName>,
    partitions: u32,
    /// The log, if it is one of a directory.
    own: Option<EmbeddedLog>,
}

impl Changelogs {
    /// Those on the brokers that the configuration names.
    ///
    /// # Errors
    /// [`VerifyError::Brokers`], [`VerifyError::Log`].
    pub async fn of_brokers(config: &Config) -> Result<Self, VerifyError> {
        let log = KafkaLog::connect(config.kafka.clone()).await?;
        Self::of(config, Arc::new(log), None).await
    }

    async fn of(config: &Config, log: SharedLog, own: Option<EmbeddedLog>) -> Result<Self, VerifyError> {
        let topics = log.topics().await?.into_iter().map(|topic| topic.name).collect();
        let memory = Storage::Memory(Arc::new(|_| MemoryStore::new()));
        let partitions = config.mesh.partitions;
        let start = Start::new(log, memory, partitions);
        Ok(Self { start, definitions: definitions(config), topics, partitions, own })
    }

    /// The services that have a changelog there. One that is new to the mesh has none yet.
    fn services(&self) -> impl Iterator<Item = &Definition> {
        self.definitions.iter().filter(|definition| self.topics.contains(&definition.changelog()))
    }

    /// What the state of a task is at these offsets.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub async fn rebuild(&self, service: &str, partition: u32, offsets: Vec<u64>) -> Result<Vec<Rebuilt>, String> {
        if partition >= self.partitions {
            return Err(format!("the configuration has {} partitions: say --partitions", self.partitions));
        }
        let definition = self.services().find(|definition| definition.service() == service);
        let definition = definition.ok_or_else(|| format!("there is no changelog of {service}"))?;
        let rebuilt = rebuild(self.start.clone(), definition.clone(), partition, offsets).await;
        rebuilt.map_err(|error| Chain(&error).to_string())
    }

    /// Compares the stores of this storage with what the changelogs say.
    async fn verify(&self, storage: Storage) -> Vec<Verified> {
        let here = Start { storage, ..self.start.clone() };
        let mut found = Vec::new();
        for definition in self.services() {
            for partition in 0..self.partitions {
                found.push(self.verify_task(&here, definition, partition).await);
            }
        }
        found
    }

    async fn verify_task(&self, here: &Start, definition: &Definition, partition: u32) -> Verified {
        let task = format!("{}/{partition}", definition.service());
        let stored = match stored(here, definition, partition).await {
            Ok(Some(stored)) => stored,
            Ok(None) => return Verified { task, stored: None, rebuilt: Ok(None) },
            Err(error) => return Verified { task, stored: None, rebuilt: Err(Chain(&error).to_string()) },
        };
        let rebuilt = self.rebuild(definition.service(), partition, vec![stored.offset]).await;
        Verified { task, stored: Some(stored), rebuilt: rebuilt.map(|rebuilt| rebuilt.into_iter().next()) }
    }

    /// Lets go of a log that was opened for it.
    async fn close(self) {
        if let Some(log) = self.own {
            log.close().await;
        }
    }
}

/// Makes the state of every task anew, in memory, and compares it with the store in the data directory. The changelogs are read
/// from the brokers, if the configuration names some, or else from the log in the directory. Nothing is made there that is missing;
/// the process that owns the directory must be stopped.
///
/// # Errors
/// [`VerifyError`] if there is nothing to compare, or it cannot be opened.
pub async fn verify_state(config: &Config) -> Result<Vec<Verified>, VerifyError> {
    let data = DataDirectory::existing(&config.mesh.data, config.mesh.partitions)?;
    let is_on_brokers = !config.kafka.brokers.is_empty();
    if !is_on_brokers && !data.log().is_dir() {
        return Err(VerifyError::NoLog { directory: config.mesh.data.clone() });
    }
    if !data.state().is_dir() {
        return Err(VerifyError::NoStores { directory: config.mesh.data.clone() });
    }
    let (changelogs, stores) = if is_on_brokers {
        // The stores first: that a process still has them is said at once.
        let stores = instance::open_stores(config, &data).await?;
        (Changelogs::of_brokers(config).await?, stores)
    } else {
        let (log, stores) = instance::open(config, &data, &Clock::system()).await?;
        (Changelogs::of(config, Arc::new(log.clone()), Some(log)).await?, stores)
    };
    let found = changelogs.verify(Storage::Disk(stores)).await;
    changelogs.close().await;
    Ok(found)
}
