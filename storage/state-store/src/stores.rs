//! All stores of a process: one directory, one cache.

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::Error;
use crate::directory::{self, TaskDirectory};
use crate::durable::FjallStore;
use crate::store::{Identity, Opened, Store};
use crate::tables::Tables;

/// How the stores of a process are kept.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of all stores; created if needed, used by one process at a time.
    pub directory: PathBuf,
    /// Bytes of table blocks kept in memory, all stores together.
    pub cache_bytes: u64,
    /// Bytes of recent changes that one store gathers in memory before it writes them to disk. Twice as much may be in use
    /// while a write is under way.
    pub memtable_bytes: usize,
}

impl Config {
    /// The defaults, in `directory`: 32 MiB of cache, 1 MiB of recent changes per store.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), cache_bytes: 32 * 1024 * 1024, memtable_bytes: 1024 * 1024 }
    }
}

/// The stores of a process. Clones share everything.
#[derive(Clone)]
pub struct Stores {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    /// Blocks of all databases; the type has no public name, so a whole configuration carries it.
    cache: fjall::Config,
    open: Mutex<HashSet<String>>,
    _lock: File,
}

/// One task's entry among the open stores; the task is free again when it is dropped.
pub(crate) struct Registration {
    shared: Arc<Shared>,
    task: String,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.task);
    }
}

impl Stores {
    /// Takes the directory.
    ///
    /// # Errors
    /// [`Error::InUse`] if another process or another handle has it, [`Error::Config`], [`Error::Io`].
    pub fn open(config: Config) -> Result<Self, Error> {
        if config.memtable_bytes < 1024 {
            return Err(Error::Config(format!("memtable_bytes is {}, 1024 is the least", config.memtable_bytes)));
        }
        let lock = directory::lock(&config.directory)?;
        let cache = fjall::Database::builder(&config.directory).cache_size(config.cache_bytes).into_config();
        Ok(Self { shared: Arc::new(Shared { config, cache, open: Mutex::default(), _lock: lock }) })
    }

    /// Opens the store of a task, reading and verifying every row of it. Stores of different tasks may be opened on several
    /// threads at a time. Anything that cannot be trusted is emptied: see [`Opened`].
    ///
    /// # Errors
    /// [`Error::InUse`] if the store is open already, [`Error::Io`] if the file system refuses, [`Error::Config`].
    pub fn open_store(&self, identity: &Identity) -> Result<(Box<dyn Store>, Opened), Error> {
        let directory = TaskDirectory::new(&self.shared.config.directory, &identity.task)?;
        let registration = self.register(&identity.task, &directory)?;
        let mut opened = Opened::Fresh;
        if directory.exists()? {
            let reason = if directory.gives_up() {
                "the last open did not finish".to_owned()
            } else {
                match self.open_tables(&directory, identity) {
                    Ok((tables, Some(state))) => {
                        let limit = self.shared.config.memtable_bytes;
                        let store = FjallStore::new(tables, state, limit, registration);
                        return Ok((Box::new(store), Opened::Resumed));
                    }
                    Ok((_, None)) => "nothing was flushed".to_owned(),
                    Err(Error::Damaged { detail, .. }) => detail,
                    Err(other) => return Err(other),
                }
            };
            tracing::warn!(task = %identity.task, reason, "store emptied");
            directory.wipe()?;
            opened = Opened::Rebuilt { reason };
        }
        directory.create()?;
        let (tables, _) = self.open_tables(&directory, identity)?;
        let state = Tables::fresh_state(identity);
        let store = FjallStore::new(tables, state, self.shared.config.memtable_bytes, registration);
        Ok((Box::new(store), opened))
    }

    /// Deletes all that a task has on disk.
    ///
    /// # Errors
    /// [`Error::InUse`] while its store is open, [`Error::Io`].
    pub fn wipe(&self, task: &str) -> Result<(), Error> {
        let directory = TaskDirectory::new(&self.shared.config.directory, task)?;
        let _registration = self.register(task, &directory)?;
        directory.wipe()
    }

    fn open_tables(
        &self,
        directory: &TaskDirectory,
        identity: &Identity,
    ) -> Result<(Tables, Option<crate::tables::State>), Error> {
        Tables::open(directory, identity, |mut config| {
            config.cache = Arc::clone(&self.shared.cache.cache);
            config
        })
    }

    fn register(&self, task: &str, directory: &TaskDirectory) -> Result<Registration, Error> {
        let fresh = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).insert(task.to_owned());
        if !fresh {
            return Err(Error::InUse { directory: directory.path().to_owned() });
        }
        Ok(Registration { shared: Arc::clone(&self.shared), task: task.to_owned() })
    }
}
