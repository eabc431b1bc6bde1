//! All stores of a process: one directory, one cache.

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::Error;
use crate::background::Background;
use crate::directory::{self, TaskDirectory};
use crate::durable::DurableStore;
use crate::layer::Memory;
use crate::state::State;
use crate::store::{Identity, Opened, Store};
use crate::tables::{SharedCache, Tables};

/// How the stores of a process are kept.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of all stores; created if needed, used by one process at a time.
    pub directory: PathBuf,
    /// Bytes of table blocks kept in memory, all stores together.
    pub cache_bytes: u64,
    /// Bytes of recent changes that one store gathers in memory before it begins to write them to disk.
    pub memtable_bytes: usize,
    /// Bytes of recent changes in all stores together at which an apply waits for the disk, instead of gathering on while a
    /// write is under way. Each store may go over it by `memtable_bytes`.
    pub memtable_total_bytes: usize,
    /// Whether an open reads all rows and compares them with the digest that was written with them. It compares every byte
    /// of the files with its checksum in any case; this finds, in addition, faults of the storage engine itself.
    pub verify_rows: bool,
}

impl Config {
    /// The defaults, in `directory`: 32 MiB of cache, 1 MiB of recent changes per store and 64 MiB in all, rows are verified.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            cache_bytes: 32 * 1024 * 1024,
            memtable_bytes: 1024 * 1024,
            memtable_total_bytes: 64 * 1024 * 1024,
            verify_rows: true,
        }
    }
}

/// The stores of a process. Clones share everything.
#[derive(Clone)]
pub struct Stores {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    cache: SharedCache,
    memory: Arc<Memory>,
    background: Arc<Background>,
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
        let cache = SharedCache::new(&config.directory, config.cache_bytes);
        let background = Arc::new(Background::start(&config.directory)?);
        let memory = Arc::new(Memory::new(config.memtable_total_bytes));
        let shared = Shared { config, cache, memory, background, open: Mutex::default(), _lock: lock };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Opens the store of a task and verifies it (see [`Config::verify_rows`]). Stores of different tasks may be opened on several
    /// threads at a time. Anything that cannot be trusted is emptied: see [`Opened`].
    ///
    /// # Errors
    /// [`Error::InUse`] if the store is open already, [`Error::Io`] if the file system refuses, [`Error::Config`].
    pub fn open_store(&self, identity: &Identity) -> Result<(Box<dyn Store>, Opened), Error> {
        let directory = TaskDirectory::new(&self.shared.config.directory, &identity.task)?;
        let registration = self.register(&identity.task, &directory)?;
        if !directory.exists()? {
            let tables = Tables::new(directory, identity, &self.shared.cache);
            return Ok((self.store(tables, State::new(identity), registration), Opened::Fresh));
        }
        let tables = Tables::new(directory.clone(), identity, &self.shared.cache);
        let resumed = if directory.gives_up() {
            Err(tables.damaged("it was damaged when last used, or its last open did not finish".to_owned()))
        } else {
            tables.resume(self.shared.config.verify_rows)
        };
        let reason = match resumed {
            Ok(Some(state)) => return Ok((self.store(tables, state, registration), Opened::Resumed)),
            Ok(None) => "nothing was flushed".to_owned(),
            Err(Error::Damaged { detail, .. }) => detail,
            Err(other) => return Err(other),
        };
        tracing::warn!(task = %identity.task, reason, "store emptied");
        drop(tables);
        directory.wipe()?;
        let tables = Tables::new(directory, identity, &self.shared.cache);
        Ok((self.store(tables, State::new(identity), registration), Opened::Rebuilt { reason }))
    }

    fn store(&self, tables: Tables, state: State, registration: Registration) -> Box<dyn Store> {
        let Shared { config, memory, background, .. } = &*self.shared;
        Box::new(DurableStore::new(tables, state, config.memtable_bytes, memory, background, registration))
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

    /// A file of a task beside its store, for what is to outlive a store that is emptied. It is the caller's.
    #[must_use]
    pub fn path_beside(&self, task: &str, kind: &str) -> PathBuf {
        self.shared.config.directory.join(format!("{}.{kind}", directory::file_name(task)))
    }

    fn register(&self, task: &str, directory: &TaskDirectory) -> Result<Registration, Error> {
        let fresh = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).insert(task.to_owned());
        if !fresh {
            return Err(Error::InUse { directory: directory.path().to_owned() });
        }
        Ok(Registration { shared: Arc::clone(&self.shared), task: task.to_owned() })
    }
}
