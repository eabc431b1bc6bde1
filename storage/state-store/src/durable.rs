//! The store on disk: recent changes in memory, everything older in the tables.
//!
//! ```text
//! apply ─► active layer ─(full)─► frozen layer ─(background thread)─► tables
//! read  ─► active layer  ─(miss)─► frozen layer  ─(miss)─────────────► tables
//! ```
//!
//! An apply costs a few insertions into a tree in memory. Rows that are written several times within a short time, or come
//! and go, reach the disk once or never. The old value of a row, which the digest needs, is looked up when its layer is
//! written, not when it is applied.
//!
//! What always holds: there is at most one frozen layer; it leaves memory only after its state came back, that is, when the
//! tables hold it; and `state` describes the tables without it.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;

use crate::Error;
use crate::background::{Background, Frozen};
use crate::layer::{Layer, Memory};
use crate::merge::merge;
use crate::snapshot::Revocable;
use crate::state::State;
use crate::store::{Change, Pair, Rows, Store, check_checkpoint, check_limits};
use crate::stores::Registration;
use crate::tables::Tables;

/// A store on disk. Made by [`crate::Stores::open_store`].
pub(crate) struct DurableStore {
    tables: Arc<Tables>,
    state: State,
    frozen: Option<Arc<Frozen>>,
    active: Layer,
    /// Size of the active layer at which it is frozen.
    layer_bytes: usize,
    /// Size of the active layer at which to look after the frozen one: the same, or more after a failed write.
    attend_bytes: usize,
    memory: Arc<Memory>,
    /// This store's share of it.
    memory_bytes: usize,
    background: Arc<Background>,
    /// Rows that somebody may be reading.
    read: RefCell<Vec<Revocable>>,
    /// Frees the task's name; the last field, so that the files are closed by then.
    _registration: Registration,
}

impl DurableStore {
    pub(crate) fn new(
        tables: Tables,
        state: State,
        layer_bytes: usize,
        memory: &Arc<Memory>,
        background: &Arc<Background>,
        registration: Registration,
    ) -> Self {
        let store = Self {
            tables: Arc::new(tables),
            state,
            frozen: None,
            active: Layer::default(),
            layer_bytes,
            attend_bytes: layer_bytes,
            memory: Arc::clone(memory),
            memory_bytes: 0,
            background: Arc::clone(background),
            read: RefCell::default(),
            _registration: registration,
        };
        store.background.compact(&store.tables);
        store
    }

    /// Hands a full layer over. While an earlier one is still on its way the active one grows on, for then a larger one costs
    /// less per row; when the memory of all stores is used up, the apply waits.
    fn make_room(&mut self) -> Result<(), Error> {
        if self.active.bytes() < self.attend_bytes {
            return Ok(());
        }
        let is_last_chance = self.memory.is_full();
        if let Some(frozen) = &self.frozen {
            let outcome = if is_last_chance { Some(frozen.wait()) } else { frozen.outcome() };
            match outcome {
                None => return Ok(()),
                Some(Ok(state)) => self.thaw(state),
                Some(Err(error)) => return self.retry(&error, is_last_chance),
            }
        }
        self.freeze();
        Ok(())
    }

    /// Brings this store's share of the memory up to date.
    fn account(&mut self) {
        let now = self.active.bytes() + self.frozen.as_ref().map_or(0, |frozen| frozen.layer.bytes());
        self.memory.change(self.memory_bytes, now);
        self.memory_bytes = now;
    }

    fn freeze(&mut self) {
        let frozen = Arc::new(Frozen::new(std::mem::take(&mut self.active), self.state.clone()));
        self.background.write(&self.tables, &frozen);
        self.frozen = Some(frozen);
        self.attend_bytes = self.layer_bytes;
    }

    /// The frozen layer is in the tables.
    fn thaw(&mut self, state: State) {
        self.state = state;
        self.frozen = None;
        self.attend_bytes = self.layer_bytes;
        self.account();
    }

    /// A write in the background failed: try again after some more changes, and, when there is no room left for any, on this
    /// thread with the caller watching.
    fn retry(&mut self, error: &Error, is_last_chance: bool) -> Result<(), Error> {
        if error.is_damage() {
            return Err(error.duplicate());
        }
        if is_last_chance {
            self.flush_frozen()?;
            self.freeze();
            return Ok(());
        }
        tracing::warn!(
            task = self.tables.task(),
            error = error as &dyn std::error::Error,
            "cannot write changes to disk yet"
        );
        if let Some(frozen) = &self.frozen {
            self.background.write(&self.tables, frozen);
        }
        self.attend_bytes = self.active.bytes() + self.layer_bytes / 8;
        Ok(())
    }

    /// Sees to it that the frozen layer is in the tables, on this thread if need be.
    fn flush_frozen(&mut self) -> Result<(), Error> {
        let Some(frozen) = self.frozen.clone() else { return Ok(()) };
        let outcome = frozen.wait().or_else(|error| {
            if error.is_damage() {
                return Err(error);
            }
            frozen.write(&self.tables);
            frozen.wait()
        });
        self.thaw(outcome.map_err(|error| error.duplicate())?);
        Ok(())
    }

    fn scan_layers(&self, from: &[u8], to: Option<&[u8]>, limit: usize, reverse: bool) -> Result<Vec<Pair>, Error> {
        if limit == 0 || to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        let newest = self.active.range(from, to);
        let newer = self.frozen.iter().flat_map(|frozen| frozen.layer.range(from, to));
        let tables = self.tables.range(from, to)?;
        if reverse {
            merge(newest.rev(), newer.rev(), tables.rev(), limit, |a, b| a > b)
        } else {
            merge(newest, newer, tables, limit, |a, b| a < b)
        }
    }
}

impl Store for DurableStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        if let Some(value) = self.active.get(key) {
            return Ok(value.cloned());
        }
        if let Some(value) = self.frozen.as_ref().and_then(|frozen| frozen.layer.get(key)) {
            return Ok(value.cloned());
        }
        self.tables.get(key)
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, Error> {
        self.scan_layers(from, to, limit, false)
    }

    fn scan_reverse(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, Error> {
        self.scan_layers(from, to, limit, true)
    }

    fn apply(&mut self, changes: &[Change], checkpoint: &[u8]) -> Result<(), Error> {
        check_checkpoint(checkpoint)?;
        for (key, value) in changes {
            check_limits(key, value.as_deref())?;
        }
        self.make_room()?;
        for (key, value) in changes {
            self.active.record(key, value.as_deref());
        }
        self.active.set_checkpoint(checkpoint);
        self.account();
        Ok(())
    }

    fn bulk_load(
        &mut self,
        mut sorted: Box<dyn Iterator<Item = Result<Pair, Error>> + '_>,
        checkpoint: &[u8],
    ) -> Result<(), Error> {
        check_checkpoint(checkpoint)?;
        if self.checkpoint().is_some() {
            return Err(Error::NotEmpty { task: self.tables.task().to_owned() });
        }
        self.state = self.tables.load(&mut sorted, checkpoint)?;
        self.background.compact(&self.tables);
        Ok(())
    }

    fn rows(&self) -> Result<Box<dyn Rows>, Error> {
        let frozen = self.frozen.as_ref().map(|frozen| &frozen.layer);
        // Whether the tables have the frozen layer already makes no difference: it says the same once more.
        let rows = Revocable::new(&self.tables, frozen, &self.active)?;
        let reader = rows.reader(self.tables.task());
        let mut read = self.read.borrow_mut();
        read.retain(Revocable::is_in_use);
        read.push(rows);
        Ok(reader)
    }

    fn checkpoint(&self) -> Option<&[u8]> {
        let frozen = self.frozen.as_ref().and_then(|frozen| frozen.layer.checkpoint());
        self.active.checkpoint().or(frozen).or(self.state.checkpoint.as_ref()).map(|checkpoint| &checkpoint[..])
    }

    fn digest(&self) -> Result<u128, Error> {
        // While the frozen layer is being written the tables hold neither its old values nor its new ones for certain.
        let frozen = self.frozen.as_ref().map(|frozen| (frozen, frozen.wait()));
        let mut state = self.state.clone();
        let unwritten = match frozen {
            Some((_, Ok(written))) => {
                state = written;
                None
            }
            Some((frozen, Err(_))) => Some(&frozen.layer),
            None => None,
        };
        for (key, new) in unwritten.into_iter().flat_map(Layer::iter) {
            let old = self.tables.get(key)?;
            state.change(key, old.as_deref(), new.map(|new| &new[..]));
        }
        for (key, new) in self.active.iter() {
            let old = match unwritten.and_then(|layer| layer.get(key)) {
                Some(value) => value.cloned(),
                None => self.tables.get(key)?,
            };
            state.change(key, old.as_deref(), new.map(|new| &new[..]));
        }
        Ok(state.digest)
    }

    fn approximate_len(&self) -> u64 {
        let frozen = self.frozen.as_ref().map_or(0, |frozen| frozen.layer.len());
        self.state.rows + (frozen + self.active.len()) as u64
    }

    fn disk_bytes(&self) -> u64 {
        self.tables.disk_bytes()
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.flush_frozen()?;
        if self.active.is_empty() {
            return Ok(());
        }
        let frozen = Arc::new(Frozen::new(std::mem::take(&mut self.active), self.state.clone()));
        frozen.write(&self.tables);
        self.frozen = Some(frozen);
        self.flush_frozen()?;
        self.background.compact(&self.tables);
        Ok(())
    }

    fn begin_flush(&mut self) {
        if let Some(Ok(state)) = self.frozen.as_ref().and_then(|frozen| frozen.outcome()) {
            self.thaw(state);
        }
        // A layer that is on its way, or could not be written, comes first; the next apply or flush sees to it.
        if self.frozen.is_none() && !self.active.is_empty() {
            self.freeze();
        }
    }

    fn close(mut self: Box<Self>) -> Result<(), Error> {
        self.flush()
    }
}

impl Drop for DurableStore {
    fn drop(&mut self) {
        for rows in self.read.get_mut() {
            rows.revoke();
        }
        // The next open may follow at once, so nobody else may hold the tables when this one lets go of them.
        self.background.retire(&self.tables);
        self.memory.change(self.memory_bytes, 0);
    }
}
