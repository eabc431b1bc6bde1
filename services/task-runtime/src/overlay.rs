//! Changes that are computed but not committed, over the applied state.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use state_store::{Change, Error, KEY_BYTES_MAX, Store, VALUE_BYTES_MAX};

use crate::ProcessError;

/// Uncommitted changes on top of a store, and an undo log, so that one poisoned input takes back just its own.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    changes: BTreeMap<Bytes, Option<Bytes>>,
    undo: Vec<(Bytes, Option<Option<Bytes>>)>,
}

impl Overlay {
    pub(crate) fn get(&self, store: &dyn Store, key: &[u8]) -> Result<Option<Bytes>, Error> {
        match self.changes.get(key) {
            Some(change) => Ok(change.clone()),
            None => store.get(key),
        }
    }

    pub(crate) fn set(&mut self, key: Vec<u8>, value: Option<Bytes>) {
        let key = Bytes::from(key);
        let before = self.changes.insert(key.clone(), value);
        self.undo.push((key, before));
    }

    /// Pairs of `[from, to)` as they would be after the commit; none where the range ends before it begins.
    pub(crate) fn scan(
        &self,
        store: &dyn Store,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        if to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        let upper = to.map_or(Bound::Unbounded, Bound::Excluded);
        let changed: Vec<_> = self.changes.range::<[u8], _>((Bound::Included(from), upper)).collect();
        // Removed rows may use up the store's part of the page, so ask for as many more.
        let removed = changed.iter().filter(|(_, change)| change.is_none()).count();
        let mut rows: BTreeMap<Bytes, Bytes> =
            store.scan(from, to, limit.saturating_add(removed))?.into_iter().collect();
        for (key, change) in changed {
            match change {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        Ok(rows.into_iter().take(limit).collect())
    }

    /// Everything before this call stays when later work is undone.
    pub(crate) fn savepoint(&mut self) {
        self.undo.clear();
    }

    /// Takes back everything since the last savepoint.
    pub(crate) fn rollback(&mut self) {
        for (key, before) in self.undo.drain(..).rev() {
            match before {
                Some(change) => self.changes.insert(key, change),
                None => self.changes.remove(&key),
            };
        }
    }

    /// Bytes that the work since the last savepoint has set.
    ///
    /// # Errors
    /// Poison if the store takes no such key or value: once it were in a commit, nobody could apply that any more.
    pub(crate) fn weigh(&self) -> Result<usize, ProcessError> {
        let mut bytes = 0;
        for (key, _) in &self.undo {
            let value = self.changes.get(key).and_then(Option::as_ref).map_or(0, Bytes::len);
            for (what, size, limit) in [("key", key.len(), KEY_BYTES_MAX), ("value", value, VALUE_BYTES_MAX)] {
                if size > limit {
                    return Err(ProcessError::poison(format!("a row with a {what} of {size} bytes exceeds {limit}")));
                }
            }
            bytes += key.len() + value;
        }
        Ok(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(crate) fn changes(&self, key: &[u8]) -> bool {
        self.changes.contains_key(key)
    }

    pub(crate) fn changed_keys(&self) -> impl Iterator<Item = &Bytes> {
        self.changes.keys()
    }

    pub(crate) fn into_changes(self) -> Vec<Change> {
        self.changes.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use state_store::MemoryStore;

    use super::*;

    fn stored(pairs: &[(&'static str, &'static str)]) -> MemoryStore {
        let mut store = MemoryStore::default();
        let changes: Vec<Change> = pairs.iter().map(|(k, v)| (Bytes::from(*k), Some(Bytes::from(*v)))).collect();
        store.apply(&changes, b"").unwrap();
        store
    }

    #[test]
    fn a_scan_sees_changes_and_fills_its_page_past_removed_rows() {
        let store = stored(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]);
        let mut overlay = Overlay::default();
        overlay.set(b"a".to_vec(), None);
        overlay.set(b"bb".to_vec(), Some(Bytes::from("x")));
        let rows = overlay.scan(&store, b"a", None, 3).unwrap();
        let keys: Vec<_> = rows.iter().map(|(k, _)| k.as_ref()).collect();
        assert_eq!(keys, [&b"b"[..], b"bb", b"c"]);
    }

    #[test]
    fn a_range_that_ends_before_it_begins_holds_nothing() {
        let store = stored(&[("a", "1"), ("b", "2")]);
        let mut overlay = Overlay::default();
        overlay.set(b"a".to_vec(), Some(Bytes::from("3")));
        for (from, to) in [("b", "a"), ("a", "a")] {
            assert_eq!(overlay.scan(&store, from.as_bytes(), Some(to.as_bytes()), 9).unwrap(), []);
        }
    }

    #[test]
    fn a_rollback_takes_back_only_what_came_after_the_savepoint() {
        let store = stored(&[("a", "1")]);
        let mut overlay = Overlay::default();
        overlay.set(b"a".to_vec(), Some(Bytes::from("2")));
        overlay.savepoint();
        overlay.set(b"a".to_vec(), None);
        overlay.set(b"a".to_vec(), Some(Bytes::from("3")));
        overlay.set(b"b".to_vec(), Some(Bytes::from("4")));
        overlay.rollback();
        assert_eq!(overlay.get(&store, b"a").unwrap(), Some(Bytes::from("2")));
        assert_eq!(overlay.into_changes().len(), 1);
    }
}
