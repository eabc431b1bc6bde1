//! What single calls on a store cost: `cargo bench -p state-store --bench store`.
//!
//! Keys of 24 bytes, values of 100 bytes that do not compress, in random order over a million rows.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use state_store::{Config, Identity, Opened, Store, Stores};

const ROWS: u64 = 1_000_000;

fn key(number: u64) -> Bytes {
    Bytes::from(format!("order/{number:018}"))
}

fn value(random: &mut StdRng) -> Bytes {
    let mut value = [0; 100];
    random.fill_bytes(&mut value);
    Bytes::copy_from_slice(&value)
}

fn identity() -> Identity {
    Identity { task: "orders/0".to_owned(), format: 1 }
}

/// Even numbers are there, odd ones are not.
fn million_rows(stores: &Stores) -> Box<dyn Store> {
    let (mut store, _) = stores.open_store(&identity()).expect("a new directory");
    let mut random = StdRng::seed_from_u64(1);
    let rows = (0..ROWS).map(|number| (key(number * 2), value(&mut random)));
    store.bulk_load(Box::new(rows.map(Ok)), b"checkpoint").expect("the disk has room");
    store
}

fn reads(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let stores = Stores::open(Config { cache_bytes: 256 << 20, ..Config::new(directory.path()) }).expect("it is new");
    let store = million_rows(&stores);
    let mut random = StdRng::seed_from_u64(2);
    criterion.bench_function("get hit, 1M rows on disk", |bencher| {
        let hit = || key(random.random_range(0..ROWS) * 2);
        bencher.iter_batched(hit, |key| black_box(store.get(&key)), BatchSize::SmallInput);
    });
    criterion.bench_function("get hit, same 1,000 rows on disk", |bencher| {
        let hit = || key(random.random_range(0..1000) * 2);
        bencher.iter_batched(hit, |key| black_box(store.get(&key)), BatchSize::SmallInput);
    });
    criterion.bench_function("get miss, 1M rows on disk", |bencher| {
        let miss = || key(random.random_range(0..ROWS) * 2 + 1);
        bencher.iter_batched(miss, |key| black_box(store.get(&key)), BatchSize::SmallInput);
    });
    criterion.bench_function("scan 20 rows of 1M on disk", |bencher| {
        let start = || key(random.random_range(0..ROWS) * 2);
        bencher.iter_batched(start, |key| black_box(store.scan(&key, None, 20)), BatchSize::SmallInput);
    });
    store.close().expect("the disk has room");

    let mut group = criterion.benchmark_group("open");
    group.sample_size(10);
    group.bench_function("verified open, 1M rows", |bencher| {
        bencher.iter(|| {
            let (store, opened) = stores.open_store(&identity()).expect("it is closed");
            assert_eq!(opened, Opened::Resumed);
            store
        });
    });
    group.finish();
}

fn applies(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let stores = Stores::open(Config::new(directory.path())).expect("it is new");
    let mut store = million_rows(&stores);
    let mut random = StdRng::seed_from_u64(3);
    let mut changes = |span: u64| {
        let mut changes = Vec::new();
        for _ in 0..3 {
            changes.push((key(random.random_range(0..span)), Some(value(&mut random))));
        }
        changes
    };
    criterion.bench_function("apply 3 of 1,000 keys", |bencher| {
        bencher.iter_batched(|| changes(1000), |changes| store.apply(&changes, &[7; 64]), BatchSize::SmallInput);
    });
    criterion.bench_function("get hit, in memory", |bencher| {
        bencher.iter(|| black_box(store.get(&key(500))));
    });
    criterion.bench_function("apply 3 of 2M keys, with the flushes", |bencher| {
        bencher.iter_batched(|| changes(ROWS * 2), |changes| store.apply(&changes, &[7; 64]), BatchSize::SmallInput);
    });
}

criterion_group!(benches, reads, applies);
criterion_main!(benches);
