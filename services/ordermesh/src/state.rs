//! Whether the stores in a data directory hold what the log says.

use std::sync::Arc;

use event_log::EventLog;
use service_host::{Chain, Clock};
use state_store::MemoryStore;
use task_runtime::{Definition, Rebuilt, Start, StateDigest, Storage, rebuild, stored};

use crate::data::DataDirectory;
use crate::{Config, StartError, definitions, instance};

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

/// Makes the state of every task anew, in memory, and compares it with the store. Nothing is changed; the process that owns
/// the directory must be stopped.
///
/// # Errors
/// [`StartError`] if the directory cannot be opened.
pub async fn verify_state(config: &Config) -> Result<Vec<Verified>, StartError> {
    let data = DataDirectory::open(&config.mesh.data, config.mesh.partitions)?;
    let (log, stores) = instance::open(config, &data, &Clock::system()).await?;
    let start = Start::new(Arc::new(log.clone()), Storage::Disk(stores), config.mesh.partitions);
    let topics = log.topics().await?;
    let mut found = Vec::new();
    for definition in definitions(config) {
        // A service that is new to this directory has nothing yet.
        let is_here = topics.iter().any(|topic| topic.name == definition.changelog());
        for partition in (0..config.mesh.partitions).filter(|_| is_here) {
            found.push(verify_task(&start, &definition, partition).await);
        }
    }
    log.close().await;
    Ok(found)
}

async fn verify_task(start: &Start, definition: &Definition, partition: u32) -> Verified {
    let task = format!("{}/{partition}", definition.service());
    let stored = match stored(start, definition, partition).await {
        Ok(Some(stored)) => stored,
        Ok(None) => return Verified { task, stored: None, rebuilt: Ok(None) },
        Err(error) => return Verified { task, stored: None, rebuilt: Err(Chain(&error).to_string()) },
    };
    let scratch = Start { storage: Storage::Memory(Arc::new(|_| MemoryStore::new())), ..start.clone() };
    let rebuilt = rebuild(scratch, definition.clone(), partition, vec![stored.offset]).await;
    let rebuilt = rebuilt.map(|rebuilt| rebuilt.into_iter().next()).map_err(|error| Chain(&error).to_string());
    Verified { task, stored: Some(stored), rebuilt }
}
