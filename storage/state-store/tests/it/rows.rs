//! Rows, identities and directories that the tests share.

use std::path::Path;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use state_store::{Change, Config, Identity, MemoryStore, Pair, Store, Stores};
use tempfile::TempDir;

pub(crate) fn identity() -> Identity {
    Identity { task: "orders/3".into(), format: 1 }
}

/// A directory for tests that wait for the disk thousands of times: in memory where the system has that.
pub(crate) fn quick_directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Stores with layers so small that every few applies reach the disk.
pub(crate) fn stores_with_tiny_layers(directory: &Path) -> Stores {
    Stores::open(Config { memtable_bytes: 4096, memtable_total_bytes: 16_384, ..Config::new(directory) }).unwrap()
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(crate) fn put(key: &str, value: &str) -> Change {
    (bytes(key), Some(bytes(value)))
}

pub(crate) fn delete(key: &str) -> Change {
    (bytes(key), None)
}

pub(crate) fn pairs(rows: &[(&str, &str)]) -> Vec<Pair> {
    rows.iter().map(|(key, value)| (bytes(key), bytes(value))).collect()
}

pub(crate) fn all_rows(store: &dyn Store) -> Vec<Pair> {
    store.scan(b"", None, usize::MAX).unwrap()
}

/// The changes of the apply with this number: always the same, some of them deletions and repetitions.
pub(crate) fn changes_of(number: u64) -> Vec<Change> {
    let mut random = StdRng::seed_from_u64(number);
    let mut changes = vec![put("last", &number.to_string())];
    for _ in 0..random.random_range(1..10) {
        let key = Bytes::from(format!("row/{:04}", random.random_range(0..400)));
        let value = Bytes::from(vec![random.random(); random.random_range(0..200)]);
        changes.push((key, random.random_bool(0.8).then_some(value)));
    }
    changes
}

pub(crate) fn checkpoint_of(number: u64) -> [u8; 8] {
    number.to_le_bytes()
}

pub(crate) fn number_of(checkpoint: Option<&[u8]>) -> u64 {
    checkpoint.map_or(0, |checkpoint| u64::from_le_bytes(checkpoint.try_into().unwrap()))
}

/// What a store holds after the applies from the first to this one.
pub(crate) fn store_after(number: u64) -> MemoryStore {
    let mut store = MemoryStore::new();
    for number in 1..=number {
        store.apply(&changes_of(number), &checkpoint_of(number)).unwrap();
    }
    store
}

/// Whether every way of reading gives the same as the model.
pub(crate) fn assert_same(store: &dyn Store, model: &dyn Store) {
    assert_eq!(store.checkpoint(), model.checkpoint());
    let rows = all_rows(model);
    assert_eq!(all_rows(store), rows);
    let mut reversed = store.scan_reverse(b"", None, usize::MAX).unwrap();
    reversed.reverse();
    assert_eq!(reversed, rows);
    for number in 0..400 {
        let key = format!("row/{number:04}");
        assert_eq!(store.get(key.as_bytes()).unwrap(), model.get(key.as_bytes()).unwrap(), "{key}");
    }
    assert_eq!(store.digest().unwrap(), model.digest().unwrap());
}
