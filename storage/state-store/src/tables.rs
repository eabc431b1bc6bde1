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

use std::collections::HashSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use fjall::compaction::Leveled;
use fjall::{AbstractTree, Database, Keyspace, KeyspaceCreateOptions};

use crate::directory::{Phase, TaskDirectory, io_error};
use crate::layer::Layer;
use crate::state::State;
use crate::store::{Identity, Pair, check_limits};
use crate::{Error, engine, files};

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
/// Layers on disk that are worth merging, and how many there may be before writing waits for merging.
const LAYERS_TO_COMPACT: usize = 4;
const LAYERS_MAX: usize = 24;
/// Steps of one compaction: from memory's layers to the first level, and on to the next ones.
const COMPACTION_STEPS_MAX: usize = 4;

/// The blocks that all databases of the process keep in memory. The type of the cache has no public name; a whole
/// configuration carries it.
#[derive(Clone)]
pub(crate) struct SharedCache(fjall::Config);

impl SharedCache {
    pub(crate) fn new(directory: &Path, bytes: u64) -> Self {
        Self(Database::builder(directory).cache_size(bytes).into_config())
    }
}

/// Writes one row, or the deletion of one.
type WriteRow<'a> = dyn FnMut(&[u8], Option<&[u8]>) -> Result<(), Error> + 'a;

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

    /// Opens the tables that are there, compares every byte of them with its checksum and, if wanted, every row with the
    /// digest. No state says that nothing was ever written.
    pub(crate) fn resume(&self, verify_rows: bool) -> Result<Option<State>, Error> {
        let unfinished = self.directory.unfinished_opens();
        self.directory.mark(Phase::Metadata, unfinished)?;
        let state = self.check_manifests().and_then(|()| {
            let engine = self.open_engine()?;
            self.directory.mark(Phase::Rows, unfinished)?;
            self.check_sequence(engine)?;
            self.check_tables(&engine.keyspace)?;
            let state = self.read_state(&engine.keyspace)?;
            if verify_rows {
                self.check_rows(&engine.keyspace, state.as_ref())?;
            }
            Ok(state)
        });
        if !matches!(state, Err(Error::Damaged { .. })) {
            self.directory.unmark()?;
        }
        state
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

    /// Creates the database if there is none. What an attempt leaves behind is deleted, so the next one starts anew.
    fn engine_for_writing(&self) -> Result<&Engine, Error> {
        if self.engine.get().is_none() {
            self.directory.create()?;
        }
        self.open_engine().inspect_err(|_| {
            if let Err(error) = self.directory.wipe() {
                tracing::warn!(
                    task = self.task(),
                    error = &error as &dyn std::error::Error,
                    "cannot delete a new store"
                );
            }
        })
    }

    fn check_manifests(&self) -> Result<(), Error> {
        let checked = files::check_manifests(&self.path).map_err(io_error("read", &self.path))?;
        checked.map_err(|detail| self.damaged(detail))
    }

    /// fjall orders the versions of a row by number, and without its journal, though that is empty, it starts to count anew:
    /// then old versions would hide new ones.
    fn check_sequence(&self, engine: &Engine) -> Result<(), Error> {
        let tree = &engine.keyspace.tree;
        if tree.get_highest_persisted_seqno().is_some_and(|used| used >= engine.database.supervisor.seqno.get()) {
            return Err(self.damaged("its journal is missing".to_owned()));
        }
        if tree.get_highest_memtable_seqno().is_some() {
            return Err(self.damaged("its journal has content that was never written".to_owned()));
        }
        Ok(())
    }

    fn check_tables(&self, keyspace: &Keyspace) -> Result<(), Error> {
        for table in keyspace.tree.current_version().iter_tables() {
            let found = self.call("read", || Ok(files::checksum(&table.path)?))?;
            if found != table.checksum().into_u128() {
                return Err(self.damaged(format!("table {} does not have its checksum", table.id())));
            }
        }
        Ok(())
    }

    fn read_state(&self, keyspace: &Keyspace) -> Result<Option<State>, Error> {
        let Some(stored) = self.call("read", || keyspace.get(STATE_KEY))? else { return Ok(None) };
        let state = State::decode(&stored).map_err(|detail| self.damaged(detail))?;
        state.check_identity(&self.identity).map_err(|detail| self.damaged(detail))?;
        Ok(Some(state))
    }

    /// Reads all rows and compares them with the state row.
    fn check_rows(&self, keyspace: &Keyspace, state: Option<&State>) -> Result<(), Error> {
        let mut found = State::new(&self.identity);
        self.call("read", || {
            for row in keyspace.range([ROW]..BEHIND_ROWS) {
                let (key, value) = row.into_inner()?;
                found.change(&key[1..], None, Some(&value));
            }
            Ok(())
        })?;
        let written = state.map_or((0, 0), |state| (state.rows, state.digest));
        if (found.rows, found.digest) == written {
            return Ok(());
        }
        Err(self.damaged(format!("{} rows were found, which do not add up to the {} written", found.rows, written.0)))
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

    /// Writes a layer as one unit, on top of what `before` describes, and returns the state after it. Durable when it returns.
    pub(crate) fn write(&self, layer: &Layer, before: &State) -> Result<State, Error> {
        self.ingest(|write| {
            let mut state = before.clone();
            state.checkpoint = layer.checkpoint().cloned();
            for (key, new) in layer.iter() {
                let old = self.get(key)?;
                state.change(key, old.as_deref(), new.map(|new| &new[..]));
                // A row that came and went within the layer, or did not change in the end, leaves no trace.
                if old.as_ref() != new {
                    write(key, new.map(|new| &new[..]))?;
                }
            }
            Ok(state)
        })
    }

    /// Writes sorted rows into empty tables as one unit.
    pub(crate) fn load(&self, sorted: &mut dyn Iterator<Item = Pair>, checkpoint: &[u8]) -> Result<State, Error> {
        self.ingest(|write| {
            let mut state = State::new(&self.identity);
            state.checkpoint = Some(Bytes::copy_from_slice(checkpoint));
            let mut last: Option<Bytes> = None;
            for (position, (key, value)) in (0_u64..).zip(sorted) {
                check_limits(&key, Some(&value))?;
                if last.as_ref().is_some_and(|last| *last >= key) {
                    return Err(Error::Unsorted { position });
                }
                state.change(&key, None, Some(&value));
                write(&key, Some(&value))?;
                last = Some(key);
            }
            Ok(state)
        })
    }

    /// Runs one ingestion: the rows that `fill` writes, in ascending order, then the state that it returns.
    fn ingest(&self, fill: impl FnOnce(&mut WriteRow<'_>) -> Result<State, Error>) -> Result<State, Error> {
        let _writing = lock(&self.writing);
        let engine = self.engine_for_writing()?;
        let first = engine.keyspace.tree.next_table_id();
        let written = self.ingest_into(&engine.keyspace, fill);
        if written.is_err() {
            self.delete_leftovers(engine, first);
        }
        written
    }

    fn ingest_into(
        &self,
        keyspace: &Keyspace,
        fill: impl FnOnce(&mut WriteRow<'_>) -> Result<State, Error>,
    ) -> Result<State, Error> {
        let mut ingestion = self.call("write", || keyspace.start_ingestion())?;
        let state = fill(&mut |key, value| {
            self.call("write", || match value {
                Some(value) => ingestion.write(row_key(key), value),
                None => ingestion.write_tombstone(row_key(key)),
            })
        })?;
        let encoded = state.encode().map_err(|detail| self.damaged(detail))?;
        self.call("write", || {
            ingestion.write(STATE_KEY, encoded)?;
            ingestion.finish()
        })?;
        Ok(state)
    }

    /// Deletes the files of an ingestion that failed: fjall would do so at the next open only, and the disk may be full.
    fn delete_leftovers(&self, engine: &Engine, first: u64) {
        // A compaction takes numbers of the same row for its files.
        let _compacting = lock(&self.compacting);
        let deleted = self.call("clean up", || {
            let tree = &engine.keyspace.tree;
            let numbers: RangeInclusive<u64> = first..=tree.next_table_id();
            let used: HashSet<u64> = tree.current_version().iter_tables().map(|table| table.id()).collect();
            for number in numbers.filter(|number| !used.contains(number)) {
                let file = engine.keyspace.path().join("tables").join(number.to_string());
                if file.try_exists()? {
                    fs::remove_file(file)?;
                }
            }
            Ok(())
        });
        if let Err(error) = deleted {
            tracing::warn!(task = self.task(), error = &error as &dyn std::error::Error, "leftover files stay");
        }
    }

    /// Whether there is something to merge.
    pub(crate) fn wants_compaction(&self) -> bool {
        self.layers_on_disk() >= LAYERS_TO_COMPACT
    }

    /// Whether merging is so far behind that writing must wait for it.
    pub(crate) fn is_overgrown(&self) -> bool {
        self.layers_on_disk() >= LAYERS_MAX
    }

    fn layers_on_disk(&self) -> usize {
        self.engine.get().map_or(0, |engine| engine.keyspace.tree.l0_run_count())
    }

    /// Merges what is worth merging.
    pub(crate) fn compact(&self) -> Result<(), Error> {
        let Some(engine) = self.engine.get() else { return Ok(()) };
        let _compacting = lock(&self.compacting);
        for _ in 0..COMPACTION_STEPS_MAX {
            let merged = self.call("compact", || {
                let tree = &engine.keyspace.tree;
                let version = tree.current_version().id();
                let collectable = engine.database.supervisor.snapshot_tracker.get_seqno_safe_to_gc();
                tree.compact(Arc::clone(&engine.keyspace.config.compaction_strategy) as _, collectable)?;
                Ok(tree.current_version().id() != version)
            })?;
            if !merged {
                break;
            }
        }
        Ok(())
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

impl TableRange<'_> {
    fn step(&mut self, step: impl FnOnce(&mut fjall::Iter) -> Option<fjall::Guard>) -> Option<Result<Pair, Error>> {
        let rows = self.rows.as_mut()?;
        let row = self.tables.call("read", || step(rows).map(fjall::Guard::into_inner).transpose());
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
        self.step(fjall::Iter::next)
    }
}

impl DoubleEndedIterator for TableRange<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(fjall::Iter::next_back)
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
