//! Random calls on a store on disk and on one in memory: both must always answer alike, through flushes, closes and losses.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::Union;
use state_store::{Change, MemoryStore, Opened, Store};

use crate::rows::{all_rows, checkpoint_of, identity, number_of, quick_directory, stores_with_tiny_layers};

#[derive(Debug, Clone)]
enum Step {
    Apply(Vec<Change>),
    Get(Bytes),
    Scan { from: Bytes, to: Option<Bytes>, limit: usize, reverse: bool },
    Flush,
    BeginFlush,
    Digest,
    CloseAndOpen,
    DropAndOpen,
}

/// Keys of few letters, so that they meet and are prefixes of each other.
fn key() -> impl Strategy<Value = Bytes> {
    vec(prop_oneof![Just(0_u8), Just(b'a'), Just(b'b'), Just(0xff)], 0..5).prop_map(Bytes::from)
}

fn value() -> impl Strategy<Value = Bytes> {
    (any::<u8>(), 0..300_usize).prop_map(|(byte, length)| Bytes::from(vec![byte; length]))
}

fn step() -> Union<BoxedStrategy<Step>> {
    let scan = (key(), option::of(key()), 0..20_usize, any::<bool>());
    Union::new_weighted(vec![
        (12, vec((key(), option::weighted(0.7, value())), 0..8).prop_map(Step::Apply).boxed()),
        (6, key().prop_map(Step::Get).boxed()),
        (6, scan.prop_map(|(from, to, limit, reverse)| Step::Scan { from, to, limit, reverse }).boxed()),
        (1, Just(Step::Flush).boxed()),
        (2, Just(Step::BeginFlush).boxed()),
        (1, Just(Step::Digest).boxed()),
        (1, Just(Step::CloseAndOpen).boxed()),
        (1, Just(Step::DropAndOpen).boxed()),
    ])
}

fn scan(store: &dyn Store, from: &[u8], to: Option<&[u8]>, limit: usize, reverse: bool) -> Vec<(Bytes, Bytes)> {
    if reverse { store.scan_reverse(from, to, limit).unwrap() } else { store.scan(from, to, limit).unwrap() }
}

fn run(steps: Vec<Step>) {
    let directory = quick_directory();
    let stores = stores_with_tiny_layers(directory.path());
    let (mut store, _) = stores.open_store(&identity()).unwrap();
    let mut model = MemoryStore::new();
    // What the store was after each apply: after a loss it must be one of them.
    let mut history = BTreeMap::from([(0, model.clone())]);
    let mut applies = 0;
    for step in steps {
        match step {
            Step::Apply(changes) => {
                applies += 1;
                store.apply(&changes, &checkpoint_of(applies)).unwrap();
                model.apply(&changes, &checkpoint_of(applies)).unwrap();
                history.insert(applies, model.clone());
            }
            Step::Get(key) => assert_eq!(store.get(&key).unwrap(), model.get(&key).unwrap()),
            Step::Scan { from, to, limit, reverse } => {
                let found = scan(store.as_ref(), &from, to.as_deref(), limit, reverse);
                assert_eq!(found, scan(&model, &from, to.as_deref(), limit, reverse));
            }
            Step::Flush => store.flush().unwrap(),
            Step::BeginFlush => store.begin_flush(),
            Step::Digest => assert_eq!(store.digest().unwrap(), model.digest().unwrap()),
            Step::CloseAndOpen => {
                store.close().unwrap();
                let (reopened, opened) = stores.open_store(&identity()).unwrap();
                assert_eq!(opened, if applies == 0 { Opened::Fresh } else { Opened::Resumed });
                store = reopened;
                assert_eq!(store.checkpoint(), model.checkpoint());
            }
            Step::DropAndOpen => {
                drop(store);
                store = stores.open_store(&identity()).unwrap().0;
                applies = number_of(store.checkpoint());
                model = history[&applies].clone();
                assert_eq!(store.digest().unwrap(), model.digest().unwrap());
            }
        }
    }
    assert_eq!(all_rows(store.as_ref()), all_rows(&model));
    assert_eq!(store.digest().unwrap(), model.digest().unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_store_on_disk_answers_like_one_in_memory(steps in vec(step(), 1..120)) {
        run(steps);
    }
}
