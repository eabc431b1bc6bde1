//! One suite for every implementation of [`Store`]. The store on disk runs it three times: as it is, with tiny layers, so
//! that every read meets memory and disk, and flushed, closed and opened between all steps.

use bytes::Bytes;
use state_store::{Change, Config, Error, Identity, MemoryStore, Opened, Pair, Store, Stores};
use tempfile::TempDir;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, value: &str) -> Change {
    (bytes(key), Some(bytes(value)))
}

fn delete(key: &str) -> Change {
    (bytes(key), None)
}

fn pairs(rows: &[(&str, &str)]) -> Vec<Pair> {
    rows.iter().map(|(key, value)| (bytes(key), bytes(value))).collect()
}

fn identity() -> Identity {
    Identity { task: "orders/3".into(), format: 1 }
}

/// A store and what happens to it between two steps of a test.
struct Subject {
    store: Option<Box<dyn Store>>,
    disk: Option<(Stores, TempDir)>,
    reopens: bool,
}

impl Subject {
    fn all() -> Vec<Self> {
        let on_disk = |memtable_bytes, reopens| {
            let directory = tempfile::tempdir().unwrap();
            let stores = Stores::open(Config { memtable_bytes, ..Config::new(directory.path()) }).unwrap();
            let (store, opened) = stores.open_store(&identity()).unwrap();
            assert_eq!(opened, Opened::Fresh);
            Self { store: Some(store), disk: Some((stores, directory)), reopens }
        };
        let memory = Self { store: Some(Box::new(MemoryStore::new())), disk: None, reopens: false };
        vec![memory, on_disk(1 << 20, false), on_disk(1024, false), on_disk(1024, true)]
    }

    fn store(&mut self) -> &mut dyn Store {
        if self.reopens
            && let Some((stores, _)) = &self.disk
        {
            self.store.take().unwrap().close().unwrap();
            let (store, opened) = stores.open_store(&identity()).unwrap();
            assert!(!matches!(opened, Opened::Fresh), "{opened:?}");
            self.store = Some(store);
        }
        self.store.as_mut().unwrap().as_mut()
    }
}

#[test]
fn an_apply_is_seen_by_every_read() {
    for mut subject in Subject::all() {
        assert_eq!(subject.store().checkpoint(), None);
        subject.store().apply(&[put("b", "2"), put("a", "1"), put("c", "3"), delete("z")], b"one").unwrap();
        assert_eq!(subject.store().get(b"a").unwrap(), Some(bytes("1")));
        assert_eq!(subject.store().get(b"z").unwrap(), None);
        subject.store().apply(&[delete("a"), put("b", "22"), put("d", ""), put("", "empty key")], b"two").unwrap();
        assert_eq!(subject.store().checkpoint(), Some(&b"two"[..]));
        assert_eq!(subject.store().get(b"a").unwrap(), None);
        assert_eq!(subject.store().get(b"").unwrap(), Some(bytes("empty key")));
        let all = pairs(&[("", "empty key"), ("b", "22"), ("c", "3"), ("d", "")]);
        assert_eq!(subject.store().scan(b"", None, 99).unwrap(), all);
        let reversed: Vec<Pair> = all.into_iter().rev().collect();
        assert_eq!(subject.store().scan_reverse(b"", None, 99).unwrap(), reversed);
    }
}

#[test]
fn pairs_that_do_not_ascend_are_refused_and_leave_the_store_empty() {
    for mut subject in Subject::all() {
        let unsorted = pairs(&[("a", "1"), ("c", "2"), ("b", "3")]);
        let refused = subject.store().bulk_load(Box::new(unsorted.into_iter()), b"one").unwrap_err();
        assert!(matches!(refused, Error::Unsorted { position: 2 }), "{refused:?}");
        assert_eq!(subject.store().scan(b"", None, 9).unwrap(), Vec::new());
        assert_eq!(subject.store().checkpoint(), None);
    }
}
