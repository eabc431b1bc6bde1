//! What 40 stores in one process take, idle and under load: `cargo bench -p state-store --bench footprint`.
//!
//! Prints memory, threads, rates and the longest waits; Linux only, for it reads `/proc/self`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use state_store::{Change, Config, Identity, Opened, Store, Stores};

/// The one that the mesh uses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TASKS: u32 = 40;

fn identity(task: u32) -> Identity {
    Identity { task: format!("orders/{task}"), format: 1 }
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("order/{number:018}"))
}

fn put(random: &mut StdRng, span: u64) -> Change {
    let mut value = [0; 100];
    random.fill_bytes(&mut value);
    (key(random.random_range(0..span)), Some(Bytes::copy_from_slice(&value)))
}

/// A line of `/proc/self/status`, such as `VmRSS`.
fn status(name: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find(|line| line.starts_with(name)).expect("every process has it");
    line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

/// CPU time of all threads since the start.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    let fields: Vec<&str> = stat[stat.rfind(')').expect("the name ends")..].split_whitespace().collect();
    let ticks: u64 = fields[12].parse::<u64>().expect("a number") + fields[13].parse::<u64>().expect("a number");
    Duration::from_millis(ticks * 10)
}

fn report(what: &str) {
    println!("{what}: RSS {}, peak {}, threads {}", status("VmRSS"), status("VmHWM"), status("Threads"));
}

fn rate(what: &str, count: u64, run: impl FnOnce()) {
    let (start, cpu_before) = (Instant::now(), cpu());
    run();
    let seconds = start.elapsed().as_secs_f64();
    let cpu_us = (cpu() - cpu_before).as_secs_f64() * 1e6;
    println!("{what}: {:.0}/s, {:.2} us CPU each, {seconds:.2} s", count as f64 / seconds, cpu_us / count as f64);
}

fn percentiles(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let longest = times.last().expect("there were some");
    println!("{what}: p50 {:?}, p99 {:?}, p99.9 {:?}, max {longest:?}", at(0.5), at(0.99), at(0.999));
}

fn open_all(stores: &Stores) -> Vec<Box<dyn Store>> {
    let open = |task| stores.open_store(&identity(task)).expect("it is closed").0;
    (0..TASKS).map(open).collect()
}

fn main() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    report("process");
    let stores = Stores::open(Config::new(directory.path())).expect("it is new");
    let start = Instant::now();
    let mut open = open_all(&stores);
    println!("{TASKS} new stores opened in {:?}", start.elapsed());
    report("40 new stores");

    let mut random = StdRng::seed_from_u64(1);
    let start = Instant::now();
    for store in &mut open {
        store.apply(&[put(&mut random, 1)], b"one").and_then(|()| store.flush()).expect("the disk has room");
    }
    println!("first flush of each: {:?}", start.elapsed());
    report("40 stores with a row");

    let (mut applies, mut gets) = (Vec::new(), Vec::new());
    let count = 1_000_000;
    rate("applies of 3 keys to 40 stores, each after 3 gets", count, || {
        for number in 0..count {
            let store = &mut open[random.random_range(0..TASKS as usize)];
            let changes = [put(&mut random, 50_000), put(&mut random, 50_000), put(&mut random, 50_000)];
            let start = Instant::now();
            for (key, _) in &changes {
                store.get(key).expect("it is sound");
            }
            let got = start.elapsed();
            let start = Instant::now();
            store.apply(&changes, b"later").expect("the disk has room");
            // A sample, for the sake of the memory that is to be measured.
            if number % 16 == 0 {
                gets.push(got);
                applies.push(start.elapsed());
            }
        }
    });
    percentiles("three gets", gets);
    percentiles("an apply", applies);
    report("40 stores under load");
    let mut digests = Vec::new();
    rate("flush of all", u64::from(TASKS), || open.iter_mut().for_each(|store| store.flush().expect("it has room")));
    for store in open.drain(..) {
        digests.push(store.digest().expect("it is sound"));
        store.close().expect("the disk has room");
    }
    report("all closed");
    rate("verified opens of 50,000 rows", u64::from(TASKS) * 50_000, || open = open_all(&stores));
    report("40 stores of 50,000 rows, idle");
    for (store, digest) in open.iter().zip(&digests) {
        assert_eq!(store.digest().expect("it is sound"), *digest);
    }
    drop(open);
    two_threads(&stores, "the same by two threads");
    one_big_store(&stores);
    drop(stores);
    let stores = Stores::open(Config { verify_rows: false, ..Config::new(directory.path()) }).expect("it is closed");
    two_threads(&stores, "the same by two threads, files only");
    rate("open of the million rows, files only", 1_000_000, || {
        stores.open_store(&identity(100)).expect("it is closed");
    });
}

fn two_threads(stores: &Stores, what: &str) {
    rate(what, u64::from(TASKS) * 50_000, || {
        std::thread::scope(|scope| {
            for first in 0..2 {
                let open = move || {
                    for task in (first..TASKS).step_by(2) {
                        stores.open_store(&identity(task)).expect("it is closed");
                    }
                };
                scope.spawn(open);
            }
        });
    });
}

fn one_big_store(stores: &Stores) {
    let count = 1_000_000;
    let mut random = StdRng::seed_from_u64(2);
    let (mut store, _) = stores.open_store(&identity(100)).expect("it is new");
    rate("replay of random rows, 50 in an apply", count, || {
        for _ in 0..count / 50 {
            let changes: Vec<Change> = (0..50).map(|_| put(&mut random, 10 * count)).collect();
            store.apply(&changes, b"later").expect("the disk has room");
        }
        store.flush().expect("the disk has room");
    });
    report("one store of a million rows");
    store.close().expect("the disk has room");
    rate("verified open of them", count, || {
        let (_, opened) = stores.open_store(&identity(100)).expect("it is closed");
        assert_eq!(opened, Opened::Resumed);
    });
    let (mut store, _) = stores.open_store(&identity(101)).expect("it is new");
    rate("bulk load", count, || {
        let rows = (0..count).map(|number| (key(number), put(&mut random, 1).1.unwrap_or_default()));
        store.bulk_load(Box::new(rows.map(Ok)), b"loaded").expect("the disk has room");
    });
}
