//! Writing rows to the tables, and merging tables.
//!
//! What always holds: an ingestion is published whole or not at all, and what a failed one left on disk is deleted.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use fjall::{AbstractTree, Keyspace};

use super::{Engine, STATE_KEY, Tables, lock, row_key};
use crate::Error;
use crate::layer::Layer;
use crate::state::State;
use crate::store::{Pair, check_limits};

/// Layers on disk that are worth merging, and how many there may be before writing waits for merging.
const LAYERS_TO_COMPACT: usize = 4;
const LAYERS_MAX: usize = 24;
/// Steps of one compaction: from memory's layers to the first level, and on to the next ones.
const COMPACTION_STEPS_MAX: usize = 4;

/// Writes one row, or the deletion of one.
type WriteRow<'a> = dyn FnMut(&[u8], Option<&[u8]>) -> Result<(), Error> + 'a;

impl Tables {
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
    pub(crate) fn load(
        &self,
        sorted: &mut dyn Iterator<Item = Result<Pair, Error>>,
        checkpoint: &[u8],
    ) -> Result<State, Error> {
        self.ingest(|write| {
            let mut state = State::new(&self.identity);
            state.checkpoint = Some(Bytes::copy_from_slice(checkpoint));
            let mut last: Option<Bytes> = None;
            for (position, pair) in (0_u64..).zip(sorted) {
                let (key, value) = pair?;
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
            let numbers = first..=tree.next_table_id();
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
}
