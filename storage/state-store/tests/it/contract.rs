//! One suite for every implementation of [`Store`]. The store on disk runs it four times: with all changes in memory, with
//! layers so small that every read meets memory and disk, flushed between all steps, and closed and opened between them.

use bytes::Bytes;
use state_store::{Config, Error, KEY_BYTES_MAX, MemoryStore, Opened, Pair, Rows, Store, Stores, row_digest};
use tempfile::TempDir;

use crate::rows::{all_rows, bytes, changes_of, checkpoint_of, delete, identity, pairs, put};

#[derive(Clone, Copy, PartialEq)]
enum Between {
    Nothing,
    Flush,
    Reopen,
}

/// A store and what happens to it between two steps of a test.
struct Subject {
    store: Option<Box<dyn Store>>,
    disk: Option<(Stores, TempDir)>,
    between: Between,
}

impl Subject {
    fn all() -> Vec<Self> {
        let memory = Self { store: Some(Box::new(MemoryStore::new())), disk: None, between: Between::Nothing };
        vec![
            memory,
            Self::on_disk(1 << 20, Between::Nothing),
            Self::on_disk(1024, Between::Nothing),
            Self::on_disk(1 << 20, Between::Flush),
            Self::on_disk(1024, Between::Reopen),
        ]
    }

    fn on_disk(memtable_bytes: usize, between: Between) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let stores = Stores::open(Config { memtable_bytes, ..Config::new(directory.path()) }).unwrap();
        let (store, opened) = stores.open_store(&identity()).unwrap();
        assert_eq!(opened, Opened::Fresh);
        Self { store: Some(store), disk: Some((stores, directory)), between }
    }

    /// The store, after what happens between two steps.
    fn store(&mut self) -> &mut dyn Store {
        match (self.between, &self.disk) {
            (Between::Flush, _) => self.store.as_mut().unwrap().flush().unwrap(),
            (Between::Reopen, Some((stores, _))) => {
                let closing = self.store.take().unwrap();
                let has_content = closing.checkpoint().is_some();
                closing.close().unwrap();
                let (store, opened) = stores.open_store(&identity()).unwrap();
                assert!(!has_content || opened == Opened::Resumed, "{opened:?}");
                self.store = Some(store);
            }
            _ => {}
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
        assert_eq!(all_rows(subject.store()), all);
        let reversed: Vec<Pair> = all.into_iter().rev().collect();
        assert_eq!(subject.store().scan_reverse(b"", None, 99).unwrap(), reversed);
    }
}

#[test]
fn scans_keep_to_their_bounds_and_limits_in_both_directions() {
    for mut subject in Subject::all() {
        let even: Vec<_> = (0..40).map(|n| put(&format!("k{:02}", n * 2), &n.to_string())).collect();
        subject.store().apply(&even, b"one").unwrap();
        let some: Vec<_> = (0..40).step_by(5).map(|n| delete(&format!("k{n:02}"))).collect();
        subject.store().apply(&some, b"two").unwrap();
        subject.store().apply(&[put("k11", "new"), put("k30", "back"), put("\u{7f}high", "last")], b"three").unwrap();
        let store = subject.store();
        let all = all_rows(store);
        assert!(all.is_sorted() && all.len() == 40 - 4 + 3, "{all:?}");
        for (from, to) in
            [("", None), ("k10", Some("k31")), ("k11", Some("k30")), ("k12", Some("zz")), ("k", Some("k"))]
        {
            let (from, to) = (from.as_bytes(), to.map(str::as_bytes));
            let inside = |key: &Bytes| **key >= *from && to.is_none_or(|to| **key < *to);
            let wanted: Vec<Pair> = all.iter().filter(|(key, _)| inside(key)).cloned().collect();
            for limit in [0, 1, 3, 7, usize::MAX] {
                let first: Vec<Pair> = wanted.iter().take(limit).cloned().collect();
                assert_eq!(store.scan(from, to, limit).unwrap(), first);
                let last: Vec<Pair> = wanted.iter().rev().take(limit).cloned().collect();
                assert_eq!(store.scan_reverse(from, to, limit).unwrap(), last);
            }
        }
        assert_eq!(store.scan(b"b", Some(b"a"), 9).unwrap(), Vec::new());
        assert_eq!(store.scan_reverse(b"b", Some(b"a"), 9).unwrap(), Vec::new());
    }
}

#[test]
fn of_several_changes_of_one_key_the_last_one_stays() {
    for mut subject in Subject::all() {
        let changes = [put("a", "1"), delete("a"), put("b", "1"), put("b", "2"), delete("c"), put("c", "3")];
        subject.store().apply(&changes, b"one").unwrap();
        assert_eq!(all_rows(subject.store()), pairs(&[("b", "2"), ("c", "3")]));
    }
}

#[test]
fn an_apply_without_changes_moves_the_checkpoint() {
    for mut subject in Subject::all() {
        subject.store().apply(&[], b"").unwrap();
        assert_eq!(subject.store().checkpoint(), Some(&b""[..]));
        subject.store().apply(&[], b"two").unwrap();
        assert_eq!(subject.store().checkpoint(), Some(&b"two"[..]));
    }
}

#[test]
fn an_apply_with_a_key_that_is_too_long_changes_nothing() {
    for mut subject in Subject::all() {
        let longest = (Bytes::from(vec![b'k'; KEY_BYTES_MAX]), Some(bytes("fits")));
        subject.store().apply(std::slice::from_ref(&longest), b"one").unwrap();
        let too_long = (Bytes::from(vec![b'k'; KEY_BYTES_MAX + 1]), Some(bytes("does not fit")));
        let refused = subject.store().apply(&[put("a", "1"), too_long], b"two").unwrap_err();
        assert!(matches!(refused, Error::TooLarge { what: "key", .. }), "{refused:?}");
        assert_eq!(subject.store().checkpoint(), Some(&b"one"[..]));
        assert_eq!(all_rows(subject.store()), vec![(longest.0, bytes("fits"))]);
    }
}

#[test]
fn a_large_value_comes_back_as_it_was() {
    for mut subject in Subject::all() {
        let large: Bytes = (0..3_000_000_u32).map(|n| (n >> 5) as u8).collect();
        subject.store().apply(&[(bytes("large"), Some(large.clone())), put("small", "1")], b"one").unwrap();
        assert_eq!(subject.store().get(b"large").unwrap(), Some(large));
        assert_eq!(subject.store().get(b"small").unwrap(), Some(bytes("1")));
    }
}

#[test]
fn the_digest_depends_on_the_content_alone() {
    let mut digests = Vec::new();
    for mut subject in Subject::all() {
        assert_eq!(subject.store().digest().unwrap(), 0);
        subject.store().apply(&[put("a", "1"), put("b", "2")], b"one").unwrap();
        let first = subject.store().digest().unwrap();
        subject.store().apply(&[put("a", "x"), put("c", "3"), delete("b"), delete("none")], b"two").unwrap();
        assert_ne!(subject.store().digest().unwrap(), first);
        subject.store().apply(&[put("b", "2"), put("a", "1"), delete("c")], b"three").unwrap();
        assert_eq!(subject.store().digest().unwrap(), first);
        // Bytes must not be able to move between key and value, nor values between keys.
        subject.store().apply(&[delete("a"), delete("b"), put("a1", ""), put("", "b2")], b"four").unwrap();
        assert_ne!(subject.store().digest().unwrap(), first);
        subject.store().apply(&[delete("a1"), delete(""), put("a", "2"), put("b", "1")], b"five").unwrap();
        assert_ne!(subject.store().digest().unwrap(), first);
        digests.push(first);
    }
    digests.dedup();
    assert_eq!(digests.len(), 1);
}

#[test]
fn a_bulk_load_is_the_same_as_applying_its_pairs() {
    for mut subject in Subject::all() {
        let rows: Vec<Pair> =
            (0..5000).map(|n| (Bytes::from(format!("k{n:05}")), Bytes::from(vec![7; n % 50]))).collect();
        subject.store().bulk_load(Box::new(rows.clone().into_iter().map(Ok)), b"one").unwrap();
        assert_eq!(subject.store().checkpoint(), Some(&b"one"[..]));
        assert_eq!(all_rows(subject.store()), rows);
        let mut applied = MemoryStore::new();
        let changes: Vec<_> = rows.into_iter().map(|(key, value)| (key, Some(value))).collect();
        applied.apply(&changes, b"one").unwrap();
        assert_eq!(subject.store().digest().unwrap(), applied.digest().unwrap());
        subject.store().apply(&[delete("k00000"), put("k00001", "new")], b"two").unwrap();
        assert_eq!(subject.store().scan(b"", None, 1).unwrap(), pairs(&[("k00001", "new")]));
        let refused = subject.store().bulk_load(Box::new(std::iter::empty()), b"three").unwrap_err();
        assert!(matches!(refused, Error::NotEmpty { .. }), "{refused:?}");
        assert_eq!(subject.store().checkpoint(), Some(&b"two"[..]));
    }
}

#[test]
fn pairs_that_do_not_ascend_are_refused_and_leave_the_store_empty() {
    for mut subject in Subject::all() {
        for unsorted in [["a", "c", "b"], ["a", "b", "b"]] {
            let pairs = unsorted.map(|key| (bytes(key), bytes("1")));
            let refused = subject.store().bulk_load(Box::new(pairs.into_iter().map(Ok)), b"one").unwrap_err();
            assert!(matches!(refused, Error::Unsorted { position: 2 }), "{refused:?}");
            assert_eq!(all_rows(subject.store()), Vec::new());
            assert_eq!(subject.store().checkpoint(), None);
        }
        let sorted = pairs(&[("a", "1"), ("b", "2")]);
        subject.store().bulk_load(Box::new(sorted.clone().into_iter().map(Ok)), b"one").unwrap();
        assert_eq!(all_rows(subject.store()), sorted);
    }
}

#[test]
fn metrics_follow_the_content() {
    for mut subject in Subject::all() {
        let rows: Vec<_> = (0..100).map(|n| put(&format!("k{n}"), "some value")).collect();
        subject.store().apply(&rows, b"one").unwrap();
        assert_eq!(subject.store().approximate_len(), 100);
        subject.store().flush().unwrap();
        assert_eq!(subject.store().approximate_len(), 100);
        assert_eq!(subject.store().disk_bytes() > 0, subject.disk.is_some());
    }
}

/// All rows of a reader, in slices.
fn read_all(mut rows: Box<dyn Rows>, bytes: usize) -> Vec<Pair> {
    let mut all = Vec::new();
    loop {
        let slice = rows.next_rows(bytes).unwrap();
        if slice.is_empty() {
            return all;
        }
        all.extend(slice);
    }
}

#[test]
fn rows_are_those_of_the_moment_they_were_asked_for() {
    for mut subject in Subject::all() {
        for number in 0..200 {
            subject.store().apply(&changes_of(number), &checkpoint_of(number)).unwrap();
        }
        let (expected, digest) = (all_rows(subject.store()), subject.store().digest().unwrap());
        let store = subject.store.as_mut().unwrap();
        let rows = store.rows().unwrap();
        let slices = std::thread::spawn(move || read_all(rows, 700));
        for number in 200..300 {
            store.apply(&changes_of(number), &checkpoint_of(number)).unwrap();
            store.begin_flush();
        }
        let found = slices.join().unwrap();
        assert_eq!(found, expected);
        let sum = found.iter().fold(0, |sum: u128, (key, value)| sum.wrapping_add(row_digest(key, value)));
        assert_eq!(sum, digest);
    }
}

#[test]
fn a_store_that_is_closed_ends_the_reading_of_its_rows() {
    let directory = tempfile::tempdir().unwrap();
    let stores = Stores::open(Config::new(directory.path())).unwrap();
    let (mut store, _) = stores.open_store(&identity()).unwrap();
    store.apply(&changes_of(1), &checkpoint_of(1)).unwrap();
    store.flush().unwrap();
    let mut rows = store.rows().unwrap();
    assert!(!rows.next_rows(1).unwrap().is_empty());
    drop(store);
    assert!(matches!(rows.next_rows(1), Err(Error::Closed { .. })));
    let (_store, opened) = stores.open_store(&identity()).unwrap();
    assert_eq!(opened, Opened::Resumed);
}

#[test]
fn a_bulk_load_that_ends_with_an_error_leaves_the_store_empty() {
    for mut subject in Subject::all() {
        let rows = (0..5_000_u32).map(|n| Ok((Bytes::from(n.to_be_bytes().to_vec()), bytes("value"))));
        let broken = rows.chain([Err(Error::Source("it breaks".to_owned()))]);
        let refused = subject.store().bulk_load(Box::new(broken), b"one").unwrap_err();
        assert!(matches!(refused, Error::Source(_)));
        assert_eq!(subject.store().checkpoint(), None);
        assert_eq!(all_rows(subject.store()), Vec::new());
        subject.store().bulk_load(Box::new(pairs(&[("a", "1")]).into_iter().map(Ok)), b"two").unwrap();
        assert_eq!(subject.store().checkpoint(), Some(&b"two"[..]));
    }
}
