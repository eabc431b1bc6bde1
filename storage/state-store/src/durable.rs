//! The store on disk: recent changes in a layer in memory, everything older in the tables.

use std::sync::Arc;

use bytes::Bytes;

use crate::Error;
use crate::layer::Layer;
use crate::store::{Change, Pair, Store, check_checkpoint, check_limits};
use crate::stores::Registration;
use crate::tables::{State, Tables};

/// A store on disk. Made by [`crate::Stores::open_store`].
pub(crate) struct FjallStore {
    tables: Arc<Tables>,
    state: State,
    layer: Layer,
    layer_bytes_max: usize,
    /// Frees the task's name when the store goes.
    _registration: Registration,
}

impl FjallStore {
    pub(crate) fn new(tables: Tables, state: State, layer_bytes_max: usize, registration: Registration) -> Self {
        Self { tables: Arc::new(tables), state, layer: Layer::default(), layer_bytes_max, _registration: registration }
    }

    fn merged<'a>(
        &'a self,
        tables: impl Iterator<Item = Result<Pair, Error>>,
        layer: impl Iterator<Item = (&'a Bytes, &'a Option<Bytes>)>,
        limit: usize,
        before: fn(&[u8], &[u8]) -> bool,
    ) -> Result<Vec<Pair>, Error> {
        let mut tables = tables.peekable();
        let mut layer = layer.peekable();
        let mut rows = Vec::new();
        while rows.len() < limit {
            let take_layer = match (tables.peek(), layer.peek()) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(Err(_)), Some(_)) => false,
                (Some(Ok((key, _))), Some((newer, _))) => !before(key, newer),
            };
            if !take_layer {
                match tables.next() {
                    Some(pair) => rows.push(pair?),
                    None => break,
                }
                continue;
            }
            if let Some((key, value)) = layer.next() {
                tables.next_if(|row| row.as_ref().is_ok_and(|(older, _)| older == key));
                if let Some(value) = value {
                    rows.push((key.clone(), value.clone()));
                }
            }
        }
        Ok(rows)
    }
}

impl Store for FjallStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        match self.layer.get(key) {
            Some(value) => Ok(value.cloned()),
            None => self.tables.get(key),
        }
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, Error> {
        if to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        self.merged(self.tables.range(from, to), self.layer.range(from, to), limit, |a, b| a < b)
    }

    fn scan_reverse(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, Error> {
        if to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        self.merged(self.tables.range(from, to).rev(), self.layer.range(from, to).rev(), limit, |a, b| a > b)
    }

    fn apply(&mut self, changes: &[Change], checkpoint: &[u8]) -> Result<(), Error> {
        check_checkpoint(checkpoint)?;
        for (key, value) in changes {
            check_limits(key, value.as_deref())?;
        }
        if self.layer.bytes() >= self.layer_bytes_max {
            self.flush()?;
        }
        for (key, value) in changes {
            self.layer.record(key, value.as_deref());
        }
        self.layer.set_checkpoint(checkpoint);
        Ok(())
    }

    fn bulk_load(&mut self, mut sorted: Box<dyn Iterator<Item = Pair> + '_>, checkpoint: &[u8]) -> Result<(), Error> {
        check_checkpoint(checkpoint)?;
        if self.checkpoint().is_some() {
            return Err(Error::NotEmpty { task: self.state.task().to_owned() });
        }
        self.state = self.tables.load(&mut sorted, checkpoint, &self.state)?;
        Ok(())
    }

    fn checkpoint(&self) -> Option<&[u8]> {
        self.layer.checkpoint().or(self.state.checkpoint.as_ref()).map(|checkpoint| &checkpoint[..])
    }

    fn digest(&self) -> Result<u128, Error> {
        let mut state = self.state.clone();
        for (key, new) in self.layer.iter() {
            let old = self.tables.get(key)?;
            state.change(key, old.as_deref(), new.map(|new| &new[..]));
        }
        Ok(state.digest)
    }

    fn approximate_len(&self) -> u64 {
        self.state.rows + self.layer.len() as u64
    }

    fn disk_bytes(&self) -> u64 {
        self.tables.disk_bytes()
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.layer.is_empty() {
            return Ok(());
        }
        self.state = self.tables.write(&self.layer, &self.state)?;
        self.layer = Layer::default();
        Ok(())
    }

    fn close(mut self: Box<Self>) -> Result<(), Error> {
        self.flush()
    }
}
