//! Opening: whose a directory is, who has it, and what an open that did not finish means.

use std::fs;
use std::path::{Path, PathBuf};

use state_store::{Config, Error, Identity, Opened, Stores};
use tempfile::TempDir;

use crate::rows::{all_rows, assert_same, changes_of, checkpoint_of, identity, pairs, put, store_after};

/// A directory with the store of `orders/3` after ten applies, closed.
fn ten_applies() -> (TempDir, Stores) {
    let directory = tempfile::tempdir().unwrap();
    let stores = Stores::open(Config::new(directory.path())).unwrap();
    let (mut store, _) = stores.open_store(&identity()).unwrap();
    for number in 1..=10 {
        store.apply(&changes_of(number), &checkpoint_of(number)).unwrap();
    }
    store.close().unwrap();
    (directory, stores)
}

fn task_directory(directory: &TempDir) -> PathBuf {
    directory.path().join("orders%2F3")
}

fn assert_rebuilt(stores: &Stores, identity: &Identity, because: &str) {
    let (mut store, opened) = stores.open_store(identity).unwrap();
    let Opened::Rebuilt { reason } = opened else { panic!("{opened:?}") };
    assert!(reason.contains(because), "{reason}");
    assert_eq!(all_rows(store.as_ref()), Vec::new());
    assert_eq!(store.checkpoint(), None);
    store.apply(&[put("a", "1")], b"one").unwrap();
    store.close().unwrap();
    let (store, opened) = stores.open_store(identity).unwrap();
    assert_eq!(opened, Opened::Resumed);
    assert_eq!(all_rows(store.as_ref()), pairs(&[("a", "1")]));
}

fn assert_resumed(stores: &Stores) {
    let (store, opened) = stores.open_store(&identity()).unwrap();
    assert_eq!(opened, Opened::Resumed);
    assert_same(store.as_ref(), &store_after(10));
}

#[test]
fn a_closed_store_resumes_with_all_it_had() {
    let (_directory, stores) = ten_applies();
    assert_resumed(&stores);
    assert_resumed(&stores);
}

#[test]
fn a_dropped_store_resumes_with_what_was_flushed() {
    let (_directory, stores) = ten_applies();
    let (mut store, _) = stores.open_store(&identity()).unwrap();
    store.apply(&[put("never", "flushed")], b"eleven").unwrap();
    drop(store);
    assert_resumed(&stores);
}

#[test]
fn a_store_of_another_format_is_rebuilt() {
    let (_directory, stores) = ten_applies();
    assert_rebuilt(&stores, &Identity { format: 2, ..identity() }, "format 1");
}

#[test]
fn a_store_that_was_copied_from_another_task_is_rebuilt() {
    let (directory, stores) = ten_applies();
    let other = Identity { task: "orders/4".into(), ..identity() };
    copy(&task_directory(&directory), &directory.path().join("orders%2F4"));
    assert_rebuilt(&stores, &other, "orders/3");
    assert_resumed(&stores);
}

#[test]
fn an_open_that_died_in_the_metadata_is_rebuilt() {
    let (directory, stores) = ten_applies();
    fs::write(task_directory(&directory).join("opening"), b"m\0").unwrap();
    assert_rebuilt(&stores, &identity(), "did not finish");
}

#[test]
fn an_open_that_was_killed_once_while_it_read_the_rows_may_try_again() {
    let (directory, stores) = ten_applies();
    fs::write(task_directory(&directory).join("opening"), b"r\0").unwrap();
    assert_resumed(&stores);
    fs::write(task_directory(&directory).join("opening"), b"r\x01").unwrap();
    assert_rebuilt(&stores, &identity(), "did not finish");
}

#[test]
fn a_directory_full_of_something_else_is_rebuilt() {
    let (directory, stores) = ten_applies();
    fs::remove_dir_all(task_directory(&directory)).unwrap();
    fs::create_dir_all(task_directory(&directory).join("tables/keyspaces")).unwrap();
    fs::write(task_directory(&directory).join("tables/version"), "not a version").unwrap();
    fs::write(task_directory(&directory).join("tables/x.jnl"), "not a journal").unwrap();
    assert_rebuilt(&stores, &identity(), "");
}

#[test]
fn tables_of_a_newer_version_are_rebuilt() {
    let (directory, stores) = ten_applies();
    let version = task_directory(&directory).join("tables/version");
    let mut content = fs::read(&version).unwrap();
    *content.last_mut().unwrap() += 1;
    fs::write(&version, content).unwrap();
    assert_rebuilt(&stores, &identity(), "");
}

#[test]
fn a_second_open_is_refused_with_the_directory_in_the_message() {
    let (directory, stores) = ten_applies();
    let Err(refused) = Stores::open(Config::new(directory.path())) else { panic!("opened twice") };
    assert!(matches!(refused, Error::InUse { .. }), "{refused:?}");
    let text = refused.to_string();
    assert!(text.contains(directory.path().to_str().unwrap()) && text.contains("in use"), "{text}");
    let (store, _) = stores.open_store(&identity()).unwrap();
    let Err(refused) = stores.open_store(&identity()) else { panic!("opened twice") };
    assert!(matches!(refused, Error::InUse { .. }), "{refused:?}");
    assert!(matches!(stores.wipe(&identity().task), Err(Error::InUse { .. })));
    drop(store);
    assert_resumed(&stores);
    drop(stores);
    assert_resumed(&Stores::open(Config::new(directory.path())).unwrap());
}

#[test]
fn a_store_outlives_the_handle_that_opened_it() {
    let (directory, stores) = ten_applies();
    let (store, _) = stores.open_store(&identity()).unwrap();
    drop(stores);
    assert_same(store.as_ref(), &store_after(10));
    assert!(matches!(Stores::open(Config::new(directory.path())), Err(Error::InUse { .. })));
    drop(store);
    Stores::open(Config::new(directory.path())).unwrap();
}

#[test]
fn a_wiped_store_starts_fresh_and_others_stay() {
    let (_directory, stores) = ten_applies();
    let other = Identity { task: "orders/30".into(), ..identity() };
    let (mut store, _) = stores.open_store(&other).unwrap();
    store.apply(&[put("a", "1")], b"one").unwrap();
    store.close().unwrap();
    stores.wipe(&other.task).unwrap();
    stores.wipe(&other.task).unwrap();
    assert_eq!(stores.open_store(&other).unwrap().1, Opened::Fresh);
    assert_resumed(&stores);
}

#[test]
fn names_that_look_alike_have_stores_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let stores = Stores::open(Config::new(directory.path())).unwrap();
    let names = ["a/1", "a%2F1", "a_1", "A/1", "..", ".", "ä", "lock"];
    for name in names {
        let (mut store, opened) = stores.open_store(&Identity { task: name.into(), format: 1 }).unwrap();
        assert_eq!(opened, Opened::Fresh, "{name}");
        store.apply(&[put("name", name)], b"one").unwrap();
        store.close().unwrap();
    }
    for name in names {
        let (store, opened) = stores.open_store(&Identity { task: name.into(), format: 1 }).unwrap();
        assert_eq!(opened, Opened::Resumed, "{name}");
        assert_eq!(all_rows(store.as_ref()), pairs(&[("name", name)]));
    }
    for name in ["".to_owned(), "x".repeat(81)] {
        assert!(matches!(stores.open_store(&Identity { task: name, format: 1 }), Err(Error::Config(_))));
    }
}

#[test]
fn different_tasks_may_be_opened_by_several_threads() {
    let directory = tempfile::tempdir().unwrap();
    let stores = Stores::open(Config { memtable_bytes: 1024, ..Config::new(directory.path()) }).unwrap();
    std::thread::scope(|scope| {
        for task in 0..8 {
            let stores = &stores;
            scope.spawn(move || {
                let identity = Identity { task: format!("orders/{task}"), format: 1 };
                for round in 0..3 {
                    let (mut store, _) = stores.open_store(&identity).unwrap();
                    let first = round * 50 + 1;
                    assert_same(store.as_ref(), &store_after(first - 1));
                    for number in first..first + 50 {
                        store.apply(&changes_of(number), &checkpoint_of(number)).unwrap();
                    }
                    store.close().unwrap();
                }
            });
        }
    });
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
