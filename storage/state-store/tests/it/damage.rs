//! Damaged files: whatever is flipped, cut, zeroed or deleted, the store comes back equal or empty, and never wrong.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use state_store::{Config, Error, MemoryStore, Opened, Store, Stores};

use crate::child;
use crate::opening::copy;
use crate::rows::{
    assert_same, changes_of, checkpoint_of, identity, quick_directory, store_after, stores_with_tiny_layers,
};

const CASES: u64 = 320;
const APPLIES: u64 = 300;
const ORIGINAL: &str = "original";

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Damages one file of the copy with this number; says what it did.
fn damage(copy: &Path, number: u64) -> String {
    let mut random = StdRng::seed_from_u64(number);
    let mut found = Vec::new();
    files(copy, &mut found);
    let path = found.choose(&mut random).unwrap();
    let mut content = fs::read(path).unwrap();
    let at = random.random_range(0..content.len().max(1));
    let what = match random.random_range(0..10) {
        0 => {
            fs::remove_file(path).unwrap();
            return format!("deleted {}", path.display());
        }
        1 => {
            content.truncate(at);
            format!("cut at {at}")
        }
        2 => {
            let end = content.len().min(at + random.random_range(1..5000));
            content[at.min(end)..end].fill(0);
            format!("zeroed from {at} to {end}")
        }
        3 => {
            content.extend(std::iter::repeat_n(random.random::<u8>(), random.random_range(1..100)));
            "lengthened".to_owned()
        }
        _ if content.is_empty() => "left as it was".to_owned(),
        _ => {
            content[at] ^= 1 << random.random_range(0..8);
            format!("flipped a bit of byte {at}")
        }
    };
    fs::write(path, &content).unwrap();
    format!("{what}: {}", path.display())
}

/// What the child does: opens damaged copies, one after the other, and reports each. An abort ends it.
pub(crate) fn open_damaged(directory: &Path, argument: &str) {
    let (first, is_second_open) = argument.split_once(' ').unwrap();
    let is_second_open = is_second_open == "again";
    let expected = store_after(APPLIES);
    for number in first.parse::<u64>().unwrap()..CASES {
        let case = directory.join(number.to_string());
        if !is_second_open {
            copy(&directory.join(ORIGINAL), &case);
            println!("\ndamaged {number} {}", damage(&case, number));
        }
        let verify_rows = number % 2 == 0;
        let outcome = open_and_compare(&case, &expected, verify_rows, is_second_open);
        println!("\nopened {number} {outcome}");
        fs::remove_dir_all(&case).unwrap();
        if is_second_open {
            return;
        }
    }
}

/// Opens a store that should be `expected` or empty, and works on with it.
fn open_and_compare(
    directory: &Path,
    expected: &MemoryStore,
    verify_rows: bool,
    must_be_rebuilt: bool,
) -> &'static str {
    let stores = Stores::open(Config { verify_rows, ..Config::new(directory) }).unwrap();
    let (store, opened) = stores.open_store(&identity()).unwrap();
    if opened == Opened::Resumed {
        assert!(!must_be_rebuilt, "an open that aborted was tried again");
        match compare(store, expected, &stores) {
            Ok(()) => return "equal",
            Err(Error::Damaged { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        let (store, opened) = stores.open_store(&identity()).unwrap();
        assert!(matches!(opened, Opened::Rebuilt { .. }), "{opened:?} after it was found damaged");
        compare(store, &MemoryStore::new(), &stores).unwrap();
        return "found damaged when it was read";
    }
    compare(store, &MemoryStore::new(), &stores).unwrap();
    if opened == Opened::Fresh { "fresh" } else { "rebuilt" }
}

/// Reads everything, then applies, flushes, opens again and reads again. An error must be of damage; content must be right.
fn compare(mut store: Box<dyn Store>, expected: &MemoryStore, stores: &Stores) -> Result<(), Error> {
    for number in 0..420 {
        store.get(format!("row/{number:04}").as_bytes())?;
    }
    store.scan(b"", None, usize::MAX)?;
    assert_same(store.as_ref(), expected);
    let mut expected = expected.clone();
    for number in 1001..1030 {
        store.apply(&changes_of(number), &checkpoint_of(number))?;
        expected.apply(&changes_of(number), &checkpoint_of(number))?;
        if number % 10 == 0 {
            store.flush()?;
            store.scan(b"", None, usize::MAX)?;
            assert_same(store.as_ref(), &expected);
        }
    }
    store.close()?;
    let (store, opened) = stores.open_store(&identity())?;
    assert_eq!(opened, Opened::Resumed, "what was written after the damage does not open");
    assert_same(store.as_ref(), &expected);
    Ok(())
}

#[test]
fn a_damaged_store_is_equal_or_empty_and_never_wrong() {
    let directory = quick_directory();
    make_original(&directory.path().join(ORIGINAL));
    let (mut next, mut again) = (0, false);
    let mut outcomes: std::collections::BTreeMap<String, u32> = std::collections::BTreeMap::new();
    while next < CASES {
        let argument = format!("{next} {}", if again { "again" } else { "first" });
        let mut child = child::command("open-damaged", directory.path(), &argument);
        let mut running = child.stderr(fs::File::create(directory.path().join("stderr")).unwrap()).spawn().unwrap();
        let mut last = String::new();
        for line in BufReader::new(running.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let words: Vec<&str> = line.splitn(3, ' ').collect();
            if let ["opened", number, outcome] = words[..] {
                next = number.parse::<u64>().unwrap() + 1;
                *outcomes.entry(outcome.to_owned()).or_default() += 1;
            } else if line.starts_with("damaged ") {
                last = line;
            }
        }
        let status = running.wait().unwrap();
        // Only a death by signal is an abort; a failed assertion exits with a code.
        again = !status.success() && status.code().is_none() && !again;
        if again {
            *outcomes.entry("aborted".to_owned()).or_default() += 1;
        } else {
            let complaints = fs::read_to_string(directory.path().join("stderr")).unwrap();
            let complaints = &complaints[complaints.len().saturating_sub(3000)..];
            assert!(status.success(), "{last}: {status}\n{complaints}");
        }
    }
    println!("{outcomes:?}");
    assert!(outcomes.contains_key("equal") && outcomes.contains_key("rebuilt"), "{outcomes:?}");
}

/// Several tables, on several levels, with overwritten and deleted rows.
fn make_original(directory: &Path) {
    let stores = stores_with_tiny_layers(directory);
    for first in [1, APPLIES / 2 + 1] {
        let (mut store, _) = stores.open_store(&identity()).unwrap();
        for number in first..first + APPLIES / 2 {
            store.apply(&changes_of(number), &checkpoint_of(number)).unwrap();
        }
        store.close().unwrap();
    }
    let (store, opened) = stores.open_store(&identity()).unwrap();
    assert_eq!(opened, Opened::Resumed);
    assert_same(store.as_ref(), &store_after(APPLIES));
}
