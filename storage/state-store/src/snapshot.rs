//! All rows of a store on disk as they were at one moment, for somebody who reads them on another thread while the store goes
//! on.
//!
//! What always holds: closing the store revokes what is being read, so that its files are nobody's afterwards. Whoever reads
//! is told so by an error, never by missing rows.

use std::collections::btree_map::IntoIter;
use std::iter::Peekable;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::Error;
use crate::layer::Layer;
use crate::store::{Pair, Rows};
use crate::tables::{Tables, TablesSnapshot};

/// Changes of a layer, in the order of their keys.
type Changes = Peekable<IntoIter<Bytes, Option<Bytes>>>;

struct Open {
    newest: Changes,
    newer: Changes,
    tables: Peekable<TablesSnapshot>,
}

/// The store's side: it can end the reading.
#[derive(Clone)]
pub(crate) struct Revocable(Arc<Mutex<Option<Open>>>);

/// The reader's side.
struct SnapshotRows {
    task: String,
    open: Revocable,
}

impl Revocable {
    /// The rows of tables with two layers of changes above them. The layers are copied: their keys and values are shared.
    pub(crate) fn new(tables: &Arc<Tables>, newer: Option<&Layer>, newest: &Layer) -> Result<Self, Error> {
        let newer = newer.map(Layer::changes).unwrap_or_default();
        let open = Open {
            newest: newest.changes().into_iter().peekable(),
            newer: newer.into_iter().peekable(),
            tables: tables.snapshot()?.peekable(),
        };
        Ok(Self(Arc::new(Mutex::new(Some(open)))))
    }

    pub(crate) fn reader(&self, task: &str) -> Box<dyn Rows> {
        Box::new(SnapshotRows { task: task.to_owned(), open: self.clone() })
    }

    /// Ends the reading; waits for the slice that is being read.
    pub(crate) fn revoke(&self) {
        self.lock().take();
    }

    /// Whether somebody still reads.
    pub(crate) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        // A panic in the middle of a slice leaves rows out: nothing may be read any more.
        self.0.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
            let mut guard = poisoned.into_inner();
            guard.take();
            guard
        })
    }
}

impl Rows for SnapshotRows {
    fn next_rows(&mut self, bytes: usize) -> Result<Vec<Pair>, Error> {
        let mut guard = self.open.lock();
        let Some(open) = guard.as_mut() else { return Err(Error::Closed { task: self.task.clone() }) };
        let (mut rows, mut size) = (Vec::new(), 0);
        while size < bytes || rows.is_empty() {
            let Some((key, value)) = open.next()? else { break };
            size += key.len() + value.len();
            rows.push((key, value));
        }
        Ok(rows)
    }
}

impl Open {
    /// The next row: of the changes of one key the newest counts.
    fn next(&mut self) -> Result<Option<Pair>, Error> {
        loop {
            let table_key = match self.tables.peek() {
                Some(Ok((key, _))) => Some(key),
                Some(Err(_)) => return self.tables.next().transpose(),
                None => None,
            };
            let keys = [self.newest.peek().map(|(key, _)| key), self.newer.peek().map(|(key, _)| key), table_key];
            let Some(first) = keys.into_iter().flatten().min().cloned() else { return Ok(None) };
            // All three step over the key; the newest that has it decides.
            let newest = self.newest.next_if(|(key, _)| *key == first);
            let newer = self.newer.next_if(|(key, _)| *key == first);
            let row = self.tables.next_if(|row| row.as_ref().is_ok_and(|(key, _)| *key == first)).transpose()?;
            match (newest.or(newer), row) {
                (Some((key, Some(value))), _) | (None, Some((key, value))) => return Ok(Some((key, value))),
                (Some((_, None)), _) | (None, None) => {}
            }
        }
    }
}
