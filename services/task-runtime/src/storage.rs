//! Where the stores of tasks live: on a disk, or in memory for tests and simulations.

use std::path::PathBuf;
use std::sync::Arc;

use state_store::{Identity, MemoryStore, Opened, Store, Stores};

use crate::TaskError;

/// Layout of the keys and values that the runtime writes; another one means that the store is rebuilt.
const STORE_FORMAT: u32 = 2;

/// Where stores live.
#[derive(Clone)]
pub enum Storage {
    /// On disk.
    Disk(Stores),
    /// In memory: every start is a rebuild from the changelog. For tests and simulation, which hand out the stores.
    Memory(Arc<dyn Fn(&str) -> MemoryStore + Send + Sync>),
    /// Of a simulation, which watches what is written and loses it.
    #[cfg(feature = "simulation")]
    Simulated(Arc<dyn Disks>),
}

/// Stores of a simulated process.
#[cfg(feature = "simulation")]
pub trait Disks: Send + Sync {
    /// The store of a task as it is on the disk now. One that is found to be damaged is emptied.
    fn open(&self, task: &str) -> (Box<dyn Store>, Opened);

    /// Removes the store of a task.
    fn wipe(&self, task: &str);
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Disk(_) => "Disk",
            Self::Memory(_) => "Memory",
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => "Simulated",
        })
    }
}

impl Storage {
    pub(crate) async fn open(&self, task: &str) -> Result<Box<dyn Store>, TaskError> {
        let (store, how) = match self {
            Self::Memory(make) => return Ok(Box::new(make(task))),
            #[cfg(feature = "simulation")]
            Self::Simulated(disks) => disks.open(task),
            Self::Disk(stores) => {
                let (stores, identity) = (stores.clone(), Identity { task: task.to_owned(), format: STORE_FORMAT });
                // Verifying a large store takes seconds; the other tasks of this thread go on meanwhile.
                let opened = tokio::task::spawn_blocking(move || stores.open_store(&identity)).await;
                opened.expect("opening a store does not panic").map_err(TaskError::from_store)?
            }
        };
        if let Opened::Rebuilt { reason } = how {
            tracing::warn!(task, reason, "the local store is rebuilt from the changelog");
        }
        Ok(store)
    }

    /// Whether stores read from a disk.
    pub(crate) fn blocks(&self) -> bool {
        matches!(self, Self::Disk(_))
    }

    /// Where a task notes what it is at.
    pub(crate) fn attempts_path(&self, task: &str) -> Option<PathBuf> {
        match self {
            Self::Disk(stores) => Some(stores.path_beside(task, "attempts")),
            _ => None,
        }
    }

    pub(crate) fn wipe(&self, task: &str) -> Result<(), TaskError> {
        match self {
            Self::Memory(_) => Ok(()),
            #[cfg(feature = "simulation")]
            Self::Simulated(disks) => {
                disks.wipe(task);
                Ok(())
            }
            Self::Disk(stores) => stores.wipe(task).map_err(TaskError::from_store),
        }
    }
}
