//! A store in memory: for simulations, where every run must be the same, and for tests. Nothing survives a drop.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::store::{Change, Pair, Rows, Store, check_checkpoint, check_limits};
use crate::{Error, digest};

/// A store in memory. Deterministic: the same calls give the same answers.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    rows: BTreeMap<Bytes, Bytes>,
    checkpoint: Option<Bytes>,
    digest: u128,
}

impl MemoryStore {
    /// An empty store without a checkpoint.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn put(&mut self, key: Bytes, value: Bytes) {
        self.digest = self.digest.wrapping_add(digest::row(&key, &value));
        if let Some(old) = self.rows.insert(key.clone(), value) {
            self.digest = self.digest.wrapping_sub(digest::row(&key, &old));
        }
    }

    fn delete(&mut self, key: &[u8]) {
        if let Some(old) = self.rows.remove(key) {
            self.digest = self.digest.wrapping_sub(digest::row(key, &old));
        }
    }

    fn range(&self, from: &[u8], to: Option<&[u8]>) -> impl DoubleEndedIterator<Item = Pair> + '_ {
        // An inverted range would panic in BTreeMap; it is empty here.
        let to = to.map(|to| to.max(from));
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        let empty = to == Some(from);
        let rows = (!empty).then(|| self.rows.range::<[u8], _>(bounds));
        rows.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone()))
    }
}

/// A copy of all rows; keys and values are shared.
struct Copied(std::collections::btree_map::IntoIter<Bytes, Bytes>);

impl Rows for Copied {
    fn next_rows(&mut self, bytes: usize) -> Result<Vec<Pair>, Error> {
        let (mut rows, mut size) = (Vec::new(), 0);
        while size < bytes || rows.is_empty() {
            let Some((key, value)) = self.0.next() else { break };
            size += key.len() + value.len();
            rows.push((key, value));
        }
        Ok(rows)
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.rows.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, Error> {
        Ok(self.range(from, to).take(limit).collect())
    }

    fn scan_reverse(&self, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, Error> {
        Ok(self.range(from, to).rev().take(limit).collect())
    }

    fn apply(&mut self, changes: &[Change], checkpoint: &[u8]) -> Result<(), Error> {
        check_checkpoint(checkpoint)?;
        for (key, value) in changes {
            check_limits(key, value.as_deref())?;
        }
        for (key, value) in changes {
            match value {
                Some(value) => self.put(key.clone(), value.clone()),
                None => self.delete(key),
            }
        }
        self.checkpoint = Some(Bytes::copy_from_slice(checkpoint));
        Ok(())
    }

    fn bulk_load(
        &mut self,
        sorted: Box<dyn Iterator<Item = Result<Pair, Error>> + '_>,
        checkpoint: &[u8],
    ) -> Result<(), Error> {
        if !self.rows.is_empty() || self.checkpoint.is_some() {
            return Err(Error::NotEmpty { task: "(in memory)".into() });
        }
        check_checkpoint(checkpoint)?;
        let mut loaded = Self::new();
        for (position, pair) in (0_u64..).zip(sorted) {
            let (key, value) = pair?;
            check_limits(&key, Some(&value))?;
            if loaded.rows.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(Error::Unsorted { position });
            }
            loaded.put(key, value);
        }
        loaded.checkpoint = Some(Bytes::copy_from_slice(checkpoint));
        *self = loaded;
        Ok(())
    }

    fn rows(&self) -> Result<Box<dyn Rows>, Error> {
        Ok(Box::new(Copied(self.rows.clone().into_iter())))
    }

    fn checkpoint(&self) -> Option<&[u8]> {
        self.checkpoint.as_deref()
    }

    fn digest(&self) -> Result<u128, Error> {
        Ok(self.digest)
    }

    fn approximate_len(&self) -> u64 {
        self.rows.len() as u64
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn begin_flush(&mut self) {}

    fn close(self: Box<Self>) -> Result<(), Error> {
        Ok(())
    }
}
