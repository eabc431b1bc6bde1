//! The part of a store that is on disk: one fjall database with one keyspace per task.
//!
//! Rows only ever enter by sorted ingestion of a whole layer: fjall writes one table, then publishes it by one atomic change
//! of its manifest. Its journal and its memtable stay empty, so there is nothing to replay and nothing that a damaged journal
//! could lose.
//!
//! Key layout: `0x00 ++ key` is a row, `0xFF` alone is the state row (identity, digest, row count, checkpoint), which is part
//! of every ingestion. It sorts last, so it can be written after the digest of the rows is known.
//!
//! What always holds: the state row describes exactly the rows of the same ingestion and all before it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use serde::{Deserialize, Serialize};

use crate::directory::{Phase, TaskDirectory};
use crate::layer::Layer;
use crate::store::{Identity, Pair, check_limits};
use crate::{Error, digest};

const ROW: u8 = 0x00;
const BEHIND_ROWS: [u8; 1] = [ROW + 1];
const STATE_KEY: [u8; 1] = [0xFF];
const KEYSPACE: &str = "rows";
/// Version of the layout above; another one is rebuilt.
const LAYOUT: u32 = 1;
/// Keys up to this size are looked up without an allocation.
const SHORT_KEY_BYTES: usize = 96;

/// What the state row says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    layout: u32,
    format: u32,
    task: String,
    /// Sum of the hashes of all rows.
    pub(crate) digest: u128,
    /// Number of rows.
    pub(crate) rows: u64,
    pub(crate) checkpoint: Option<Bytes>,
}

impl State {
    fn new(identity: &Identity) -> Self {
        Self {
            layout: LAYOUT,
            format: identity.format,
            task: identity.task.clone(),
            digest: 0,
            rows: 0,
            checkpoint: None,
        }
    }

    pub(crate) fn task(&self) -> &str {
        &self.task
    }

    /// Accounts for one change of a row.
    pub(crate) fn change(&mut self, key: &[u8], old: Option<&[u8]>, new: Option<&[u8]>) {
        if let Some(old) = old {
            self.digest = self.digest.wrapping_sub(digest::row(key, old));
            self.rows = self.rows.wrapping_sub(1);
        }
        if let Some(new) = new {
            self.digest = self.digest.wrapping_add(digest::row(key, new));
            self.rows = self.rows.wrapping_add(1);
        }
    }
}

/// The tables of one task.
pub(crate) struct Tables {
    task: String,
    path: PathBuf,
    // Field order: the keyspace must go before its database.
    keyspace: Keyspace,
    _database: Database,
}

impl Tables {
    /// Opens what is there, or creates it, and verifies every row against the digest. `Ok(None)` in place of a state says
    /// that there is none yet.
    pub(crate) fn open(
        directory: &TaskDirectory,
        identity: &Identity,
        configure: impl FnOnce(fjall::Config) -> fjall::Config,
    ) -> Result<(Self, Option<State>), Error> {
        let path = directory.tables();
        let before = directory.unfinished_opens();
        directory.mark(Phase::Metadata, before)?;
        let opened = guarded(&identity.task, || {
            let config = Database::builder(&path).worker_threads(1).max_cached_files(Some(16)).into_config();
            let database = Database::open(configure(config))?;
            let keyspace = database.keyspace(KEYSPACE, KeyspaceCreateOptions::default)?;
            Ok((database, keyspace))
        })
        .map_err(|failure| failure.into_error(&identity.task, "open", &path))?;
        let (database, keyspace) = opened;
        let tables = Self { task: identity.task.clone(), path, keyspace, _database: database };
        directory.mark(Phase::Rows, before)?;
        let state = tables.verify(identity)?;
        directory.unmark()?;
        Ok((tables, state))
    }

    /// Reads the state row and every other row, and compares.
    fn verify(&self, identity: &Identity) -> Result<Option<State>, Error> {
        let stored = self.guard("read", || self.keyspace.get(STATE_KEY))?;
        let mut found = State::new(identity);
        self.guard("read", || {
            for row in self.keyspace.range([ROW]..BEHIND_ROWS) {
                let (key, value) = row.into_inner()?;
                found.change(&key[1..], None, Some(&value));
            }
            Ok(())
        })?;
        let Some(stored) = stored else {
            if found.rows > 0 {
                return Err(self.damaged(format!("{} rows without a state row", found.rows)));
            }
            return Ok(None);
        };
        let stored: State =
            postcard::from_bytes(&stored).map_err(|error| self.damaged(format!("state row: {error}")))?;
        found.checkpoint = stored.checkpoint.clone();
        if found == stored {
            return Ok(Some(stored));
        }
        let same_owner = (stored.layout, stored.format, &stored.task) == (found.layout, found.format, &found.task);
        Err(self.damaged(if same_owner {
            format!("{} rows do not have the digest of the {} rows written", found.rows, stored.rows)
        } else {
            format!("it was written for task {} format {} layout {}", stored.task, stored.format, stored.layout)
        }))
    }

    /// The state of a store that has none yet.
    pub(crate) fn fresh_state(identity: &Identity) -> State {
        State::new(identity)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let value = self.guard("read", || {
            if key.len() < SHORT_KEY_BYTES {
                let mut row_key = [ROW; SHORT_KEY_BYTES];
                row_key[1..=key.len()].copy_from_slice(key);
                self.keyspace.get(&row_key[..=key.len()])
            } else {
                self.keyspace.get(row_key(key))
            }
        })?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Rows in `[from, to)`, in either direction.
    pub(crate) fn range(&self, from: &[u8], to: Option<&[u8]>) -> TableRange<'_> {
        let to = to.map_or_else(|| BEHIND_ROWS.to_vec(), row_key);
        TableRange { tables: self, rows: self.keyspace.range(row_key(from)..to) }
    }

    /// Writes a layer as one unit. What it returns is the new state; durable when this returns.
    pub(crate) fn write(&self, layer: &Layer, state: &State) -> Result<State, Error> {
        let mut state = state.clone();
        state.checkpoint = layer.checkpoint().cloned();
        let changes = layer.iter().map(|(key, new)| Ok((key, self.get(key)?, new)));
        let mut ingestion = self.guard("write", || self.keyspace.start_ingestion())?;
        for change in changes {
            let (key, old, new) = change?;
            state.change(key, old.as_deref(), new.map(|new| &new[..]));
            self.guard("write", || match new {
                Some(new) => ingestion.write(row_key(key), &new[..]),
                // A row that came and went within the layer leaves no trace.
                None if old.is_none() => Ok(()),
                None => ingestion.write_tombstone(row_key(key)),
            })?;
        }
        let encoded = self.encode(&state)?;
        self.guard("write", || {
            ingestion.write(STATE_KEY, encoded)?;
            ingestion.finish()
        })?;
        Ok(state)
    }

    /// Writes sorted rows into empty tables as one unit.
    pub(crate) fn load(
        &self,
        sorted: &mut dyn Iterator<Item = Pair>,
        checkpoint: &[u8],
        state: &State,
    ) -> Result<State, Error> {
        let mut state = state.clone();
        state.checkpoint = Some(Bytes::copy_from_slice(checkpoint));
        let mut ingestion = self.guard("write", || self.keyspace.start_ingestion())?;
        let mut last: Option<Bytes> = None;
        for (position, (key, value)) in (0_u64..).zip(sorted) {
            check_limits(&key, Some(&value))?;
            if last.as_ref().is_some_and(|last| *last >= key) {
                return Err(Error::Unsorted { position });
            }
            state.change(&key, None, Some(&value));
            self.guard("write", || ingestion.write(row_key(&key), &value[..]))?;
            last = Some(key);
        }
        let encoded = self.encode(&state)?;
        self.guard("write", || {
            ingestion.write(STATE_KEY, encoded)?;
            ingestion.finish()
        })?;
        Ok(state)
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.keyspace.disk_space()
    }

    fn encode(&self, state: &State) -> Result<Vec<u8>, Error> {
        postcard::to_stdvec(state).map_err(|error| self.damaged(format!("state row: {error}")))
    }

    fn damaged(&self, detail: String) -> Error {
        Error::Damaged { task: self.task.clone(), detail }
    }

    fn guard<T>(&self, doing: &'static str, call: impl FnOnce() -> fjall::Result<T>) -> Result<T, Error> {
        guarded(&self.task, call).map_err(|failure| failure.into_error(&self.task, doing, &self.path))
    }
}

/// Rows of a range of the tables, in either direction.
pub(crate) struct TableRange<'a> {
    tables: &'a Tables,
    rows: fjall::Iter,
}

impl TableRange<'_> {
    fn pair(&self, row: fjall::Guard) -> Result<Pair, Error> {
        let (key, value) = self.tables.guard("read", || row.into_inner())?;
        Ok((Bytes::copy_from_slice(&key[1..]), Bytes::copy_from_slice(&value)))
    }
}

impl Iterator for TableRange<'_> {
    type Item = Result<Pair, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = match self.tables.guard("read", || Ok(self.rows.next())) {
            Ok(row) => row?,
            Err(error) => return Some(Err(error)),
        };
        Some(self.pair(row))
    }
}

impl DoubleEndedIterator for TableRange<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let row = match self.tables.guard("read", || Ok(self.rows.next_back())) {
            Ok(row) => row?,
            Err(error) => return Some(Err(error)),
        };
        Some(self.pair(row))
    }
}

fn row_key(key: &[u8]) -> Vec<u8> {
    let mut row_key = Vec::with_capacity(key.len() + 1);
    row_key.push(ROW);
    row_key.extend_from_slice(key);
    row_key
}

/// How a call into fjall failed.
enum Failure {
    Refused(fjall::Error),
    /// fjall trusts its metadata in places and panics when it makes no sense.
    Panicked(Box<dyn Any + Send>),
}

impl Failure {
    fn into_error(self, task: &str, doing: &'static str, path: &std::path::Path) -> Error {
        let detail = match self {
            Self::Refused(fjall::Error::Locked) => return Error::InUse { directory: path.to_owned() },
            Self::Refused(fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source))) => {
                if !tells_damage(&source) {
                    return Error::Io { doing, path: path.to_owned(), source };
                }
                format!("cannot {doing}: {source}")
            }
            Self::Refused(other) => format!("cannot {doing}: {other:?}"),
            Self::Panicked(payload) => {
                let text = payload.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
                format!("cannot {doing}: {}", text.unwrap_or("panic without a message"))
            }
        };
        Error::Damaged { task: task.to_owned(), detail }
    }
}

/// Whether an I/O error speaks of the content of the files, which rebuilding cures, and not of the file system.
fn tells_damage(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, NotFound, Other, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | InvalidData | InvalidInput | NotFound | Other)
}

fn guarded<T>(_task: &str, call: impl FnOnce() -> fjall::Result<T>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Failure::Refused(error)),
        Err(payload) => Err(Failure::Panicked(payload)),
    }
}
