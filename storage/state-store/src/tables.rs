//! The part of a store that is on disk: one fjall database per task, with one keyspace.
//!
//! Rows enter only by sorted ingestion of a whole layer: fjall writes one table, then publishes it by one atomic change of
//! its manifest. Its journal and its memtable stay empty, so there is nothing to replay, nothing that a damaged journal could
//! lose, and a change is in memory once. The database is created by the first ingestion: an idle task costs no files.
//!
//! Key layout: `0x00 ++ key` is a row, `0xFF` alone is the state row, which is part of every ingestion. It sorts last, so it
//! can be written after the digest of the rows is known.
//!
//! What always holds: the state row describes exactly the rows of its own ingestion and all before it. One thread at a time
//! writes; reads and a compaction may go on beside it.

mod verify;
mod write;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use fjall::compaction::Leveled;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};

use crate::directory::{Phase, TaskDirectory};
use crate::state::State;
use crate::store::{Identity, Pair};
use crate::{Error, engine};

const ROW: u8 = 0x00;
const BEHIND_ROWS: [u8; 1] = [ROW + 1];
const STATE_KEY: [u8; 1] = [0xFF];
const KEYSPACE: &str = "rows";
/// Keys up to this size are looked up without an allocation.
const SHORT_KEY_BYTES: usize = 96;
/// Open files per database. A process has some 40 databases, and often a limit of 1,024 files.
const OPEN_FILES_MAX: usize = 16;
/// Size of one table. fjall's own 64 MiB would rewrite up to 256 MiB for every few layers.
const TABLE_BYTES: u64 = 8 * 1024 * 1024;

/// The blocks that all databases of the process keep in memory. The type of the cache has no public name; a whole
/// configuration carries it.
#[derive(Clone)]
pub(crate) struct SharedCache(fjall::Config);

impl SharedCache {
    pub(crate) fn new(directory: &Path, bytes: u64) -> Self {
        Self(Database::builder(directory).cache_size(bytes).into_config())
    }
}

/// The tables of one task.
pub(crate) struct Tables {
    identity: Identity,
    directory: TaskDirectory,
    path: PathBuf,
    cache: SharedCache,
    engine: OnceLock<Engine>,
    /// Damage was noted on disk.
    condemned: AtomicBool,
    writing: Mutex<()>,
    compacting: Mutex<()>,
}

struct Engine {
    // The order matters: the keyspace goes before its database.
    keyspace: Keyspace,
    database: Database,
}

impl Tables {
    /// Tables that do not exist yet.
    pub(crate) fn new(directory: TaskDirectory, identity: &Identity, cache: &SharedCache) -> Self {
        Self {
            identity: identity.clone(),
            path: directory.tables(),
            directory,
            cache: cache.clone(),
            engine: OnceLock::new(),
            condemned: AtomicBool::new(false),
            writing: Mutex::new(()),
            compacting: Mutex::new(()),
        }
    }

    fn open_engine(&self) -> Result<&Engine, Error> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let engine = self.call("open", || {
            // No threads of its own: nothing uses the journal and the memtable, and compaction has one thread per process.
            let builder = Database::builder(&self.path).worker_threads_unchecked(0);
            let mut config = builder.max_cached_files(Some(OPEN_FILES_MAX)).into_config();
            config.cache = Arc::clone(&self.cache.0.cache);
            let database = Database::open(config)?;
            let keyspace = database.keyspace(KEYSPACE, || {
                let leveled = Leveled::default().with_table_target_size(TABLE_BYTES);
                KeyspaceCreateOptions::default().compaction_strategy(Arc::new(leveled))
            })?;
            Ok(Engine { keyspace, database })
        })?;
        Ok(self.engine.get_or_init(|| engine))
    }

    pub(crate) fn task(&self) -> &str {
        &self.identity.task
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let Some(engine) = self.engine.get() else { return Ok(None) };
        let value = self.call("read", || {
            if key.len() < SHORT_KEY_BYTES {
                let mut row_key = [ROW; SHORT_KEY_BYTES];
                row_key[1..=key.len()].copy_from_slice(key);
                engine.keyspace.get(&row_key[..=key.len()])
            } else {
                engine.keyspace.get(row_key(key))
            }
        })?;
        // A copy: fjall's value keeps the whole block in memory that it is a part of.
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Rows in `[from, to)`, in either direction.
    pub(crate) fn range(&self, from: &[u8], to: Option<&[u8]>) -> Result<TableRange<'_>, Error> {
        let Some(engine) = self.engine.get() else { return Ok(TableRange { tables: self, rows: None }) };
        let to = to.map_or_else(|| BEHIND_ROWS.to_vec(), row_key);
        let rows = self.call("read", || Ok(engine.keyspace.range(row_key(from)..to)))?;
        Ok(TableRange { tables: self, rows: Some(rows) })
    }

    /// All rows as they are now, whatever is written and merged afterwards.
    pub(crate) fn snapshot(self: &Arc<Self>) -> Result<TablesSnapshot, Error> {
        let rows = match self.engine.get() {
            // One iterator reads one version of the tables, up to the state row that belongs to it.
            Some(engine) => Some(self.call("read", || Ok(engine.keyspace.range([ROW]..=STATE_KEY)))?),
            None => None,
        };
        Ok(TablesSnapshot { rows, found: State::new(&self.identity), tables: Arc::clone(self) })
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.engine.get().map_or(0, |engine| engine.keyspace.disk_space())
    }

    pub(crate) fn damaged(&self, detail: String) -> Error {
        self.condemn();
        engine::damaged(self.task(), detail)
    }

    fn call<T>(&self, doing: &'static str, call: impl FnOnce() -> fjall::Result<T>) -> Result<T, Error> {
        engine::call(self.task(), &self.path, doing, call).inspect_err(|error| {
            if error.is_damage() {
                self.condemn();
            }
        })
    }

    /// Notes on disk that the tables are damaged, so that the next open empties them even if it does not meet the damage:
    /// reading all rows does not read every filter and index.
    fn condemn(&self) {
        if !self.condemned.swap(true, Ordering::Relaxed)
            && let Err(error) = self.directory.mark(Phase::Metadata, 0)
        {
            tracing::warn!(task = self.task(), error = &error as &dyn std::error::Error, "cannot note damage");
        }
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            // fjall may panic here once it has panicked before; there is nothing left to lose.
            let _ = self.call("close", || {
                drop(engine);
                Ok(())
            });
        }
    }
}

/// Rows of a range of the tables, in either direction.
pub(crate) struct TableRange<'a> {
    tables: &'a Tables,
    rows: Option<fjall::Iter>,
}

/// All rows of the tables at one moment.
pub(crate) struct TablesSnapshot {
    // The order matters: the rows go before the tables.
    rows: Option<fjall::Iter>,
    /// What the rows so far add up to.
    found: State,
    tables: Arc<Tables>,
}

impl Iterator for TablesSnapshot {
    type Item = Result<Pair, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.rows.as_mut()?;
        let row = self.tables.call("read", || rows.next().map(fjall::Guard::into_inner).transpose());
        match row {
            Ok(Some((key, value))) if key[..] == STATE_KEY => self.end(Some(&value)),
            Ok(Some((key, value))) => {
                self.found.change(&key[1..], None, Some(&value));
                Some(Ok((Bytes::copy_from_slice(&key[1..]), Bytes::copy_from_slice(&value))))
            }
            Ok(None) => self.end(None),
            Err(error) => Some(Err(error)),
        }
    }
}

impl TablesSnapshot {
    /// Compares the rows with what was written with them: whoever reads them makes a copy, which must not be of other rows.
    fn end(&mut self, state: Option<&[u8]>) -> Option<Result<Pair, Error>> {
        self.rows.take()?;
        let written = match state.map(State::decode).transpose() {
            Ok(state) => state.map_or((0, 0), |state| (state.rows, state.digest)),
            Err(detail) => return Some(Err(self.tables.damaged(detail))),
        };
        let found = (self.found.rows, self.found.digest);
        (found != written).then(|| {
            Err(self.tables.damaged(format!("{} rows were read of the {} written, or others", found.0, written.0)))
        })
    }
}

impl Tables {
    fn step(
        &self,
        rows: &mut fjall::Iter,
        step: impl FnOnce(&mut fjall::Iter) -> Option<fjall::Guard>,
    ) -> Option<Result<Pair, Error>> {
        let row = self.call("read", || step(rows).map(fjall::Guard::into_inner).transpose());
        match row {
            Ok(None) => None,
            Ok(Some((key, value))) => Some(Ok((Bytes::copy_from_slice(&key[1..]), Bytes::copy_from_slice(&value)))),
            Err(error) => Some(Err(error)),
        }
    }
}

impl Iterator for TableRange<'_> {
    type Item = Result<Pair, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.tables.step(self.rows.as_mut()?, fjall::Iter::next)
    }
}

impl DoubleEndedIterator for TableRange<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.tables.step(self.rows.as_mut()?, fjall::Iter::next_back)
    }
}

fn row_key(key: &[u8]) -> Vec<u8> {
    let mut row_key = Vec::with_capacity(key.len() + 1);
    row_key.push(ROW);
    row_key.extend_from_slice(key);
    row_key
}

/// None of the locks here guards anything that a panic could leave half done.
fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
