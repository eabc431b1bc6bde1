//! A process that dies, and a disk that is full: the store is always a prefix of its applies.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use state_store::{Error, Identity, MemoryStore, Opened, Store};

use crate::child;
use crate::rows::{
    assert_same, changes_of, checkpoint_of, identity, number_of, quick_directory, store_after, stores_with_tiny_layers,
};

const KILLS: u32 = 25;

/// What the child does until it is killed: applies on and on, and says how far it is.
pub(crate) fn apply_for_ever(directory: &Path) {
    let stores = stores_with_tiny_layers(directory);
    let (mut store, opened) = stores.open_store(&identity()).unwrap();
    let before = number_of(store.checkpoint());
    println!("\nopened {opened:?} at {before}");
    for number in before + 1.. {
        store.apply(&changes_of(number), &checkpoint_of(number)).unwrap();
        if number % 97 == 0 {
            store.flush().unwrap();
            println!("\nflushed {number}");
        }
        println!("\napplied {number}");
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn a_killed_process_leaves_a_prefix_with_all_that_was_flushed() {
    let directory = quick_directory();
    let mut random = StdRng::seed_from_u64(1);
    let mut model = MemoryStore::new();
    for kill in 0..KILLS {
        let mut running = child::command("apply", directory.path(), "").spawn().unwrap();
        let mut output = BufReader::new(running.stdout.take().unwrap());
        let (mut applied, mut flushed, mut line) = (0, 0, String::new());
        let last_words = random.random_range(2..600);
        for _ in 0..last_words {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "the child ended: {:?}", running.wait_with_output());
            let number = line.split(' ').next_back().and_then(|word| word.trim().parse().ok());
            match (line.split(' ').next(), number) {
                (Some("applied"), Some(number)) => applied = number,
                (Some("flushed"), Some(number)) => flushed = number,
                (Some("opened"), Some(number)) => (applied, flushed) = (number, number),
                _ => {}
            }
        }
        running.kill().unwrap();
        running.wait().unwrap();
        // It may have gone on between its last words that were read and its end.
        let stores = stores_with_tiny_layers(directory.path());
        let (store, _) = stores.open_store(&identity()).unwrap();
        let survived = number_of(store.checkpoint());
        assert!(survived >= flushed, "kill {kill}: {survived} survived, {flushed} were flushed, {applied} applied");
        for number in number_of(model.checkpoint()) + 1..=survived {
            model.apply(&changes_of(number), &checkpoint_of(number)).unwrap();
        }
        if number_of(model.checkpoint()) > survived {
            model = store_after(survived);
        }
        assert_same(store.as_ref(), &model);
        // No close: the drop leaves the files as they are.
    }
    assert!(number_of(model.checkpoint()) > 0, "nothing was ever flushed");
}

/// What the child does with files that may not grow: applies until it is refused, frees the disk, goes on.
pub(crate) fn fill_the_disk(directory: &Path) {
    let stores = stores_with_tiny_layers(directory);
    let (mut store, opened) = stores.open_store(&identity()).unwrap();
    assert_eq!(opened, Opened::Resumed);
    let mut number = number_of(store.checkpoint());
    let refused = loop {
        match store.apply(&changes_of(number + 1), &checkpoint_of(number + 1)) {
            Ok(()) => number += 1,
            Err(refused) => break refused,
        }
        assert!(number < 10_000, "the disk takes everything");
    };
    assert!(matches!(refused, Error::Io { .. }), "{refused:?}");
    assert_same(store.as_ref(), &store_after(number));
    for _ in 0..3 {
        assert!(matches!(store.flush().unwrap_err(), Error::Io { .. }));
        assert!(matches!(store.apply(&changes_of(number + 1), &checkpoint_of(number + 1)), Err(Error::Io { .. })));
    }
    assert_same(store.as_ref(), &store_after(number));
    assert!(files_of_tables(directory) < 20, "failed writes leave files behind");
    let (mut fresh, _) = stores.open_store(&Identity { task: "new".to_owned(), format: 1 }).unwrap();
    fresh.apply(&changes_of(1), &checkpoint_of(1)).unwrap();
    assert!(matches!(fresh.flush().unwrap_err(), Error::Io { .. }));
    assert_same(fresh.as_ref(), &store_after(1));

    let hard = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: hard, maximum: hard }).unwrap();
    store.apply(&changes_of(number + 1), &checkpoint_of(number + 1)).unwrap();
    store.close().unwrap();
    let (store, opened) = stores.open_store(&identity()).unwrap();
    assert_eq!(opened, Opened::Resumed);
    assert_same(store.as_ref(), &store_after(number + 1));
    fresh.close().unwrap();
    let (fresh, opened) = stores.open_store(&Identity { task: "new".to_owned(), format: 1 }).unwrap();
    assert_eq!(opened, Opened::Resumed);
    assert_same(fresh.as_ref(), &store_after(1));
    println!("\nwent on after {number}");
}

fn files_of_tables(directory: &Path) -> usize {
    std::fs::read_dir(directory.join("orders%2F3/tables/keyspaces/1/tables")).unwrap().count()
}

#[test]
fn a_full_disk_refuses_applies_and_the_store_goes_on_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let stores = stores_with_tiny_layers(directory.path());
    let (mut store, _) = stores.open_store(&identity()).unwrap();
    store.apply(&changes_of(1), &checkpoint_of(1)).unwrap();
    store.close().unwrap();
    drop(stores);
    let output = child::command_with_short_files(2, "full-disk", directory.path(), "").output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("went on after"), "{said}\n{complained}");
}
