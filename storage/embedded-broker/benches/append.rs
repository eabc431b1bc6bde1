//! What a record costs: to append it, to wake a reader with it, and to read it at the head and from the disk; and what it
//! takes to open a log.
//!
//! `cargo bench -p embedded-broker` measures in the system's directory for temporary files; fsync figures say something
//! only about the disk under it.

use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use embedded_broker::{Config, EmbeddedLog, SyncPolicy};
use event_log::{Cleanup, EventLog, FetchFrom, FetchLimits, Header, Offset, Record, TopicPartition, TopicSpec};
use tokio::runtime::Runtime;

const PARTITIONS: u32 = 200;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts")
}

struct Bench {
    log: EmbeddedLog,
    first: TopicPartition,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn new(runtime: &Runtime, adjust: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let mut config = Config { sync: SyncPolicy::Os, ..Config::new(directory.path()) };
        adjust(&mut config);
        let log = EmbeddedLog::open(config).expect("a new log opens");
        let spec = TopicSpec { name: "events".into(), partitions: PARTITIONS, cleanup: Cleanup::Never };
        runtime.block_on(log.ensure_topic(&spec)).expect("a new topic is created");
        Self { log, first: TopicPartition::new("events", 0), _directory: directory }
    }

    async fn append(&self, records: Vec<Record>) -> Offset {
        self.log.append(&self.first, records).await.expect("the records are appended")
    }

    async fn fetch(&self, from: &[FetchFrom], max_wait: Duration) -> usize {
        let limits = FetchLimits { max_bytes_per_partition: 64 << 10, max_wait };
        let answer = self.log.fetch(from, limits).await.expect("the fetch is answered");
        answer.into_iter().map(|fetched| fetched.result.expect("the records can be read").records.len()).sum()
    }
}

/// Measures appends of `count` records each, without the making of the records.
fn append_each(bencher: &mut Bencher<'_>, runtime: &Runtime, bench: &Bench, count: usize) {
    bencher.iter_custom(|rounds| {
        runtime.block_on(async {
            let mut elapsed = Duration::ZERO;
            for _ in 0..rounds {
                let records = (0..count).map(|_| record()).collect();
                let begun = Instant::now();
                bench.append(records).await;
                elapsed += begun.elapsed();
            }
            elapsed
        })
    });
}

/// Measures fetches that do not wait.
fn fetch_each(bencher: &mut Bencher<'_>, runtime: &Runtime, bench: &Bench, from: &[FetchFrom]) {
    bencher.iter_custom(|rounds| {
        runtime.block_on(async {
            let begun = Instant::now();
            for _ in 0..rounds {
                bench.fetch(from, Duration::ZERO).await;
            }
            begun.elapsed()
        })
    });
}

/// A record of 500 bytes with the headers that records of the mesh have.
fn record() -> Record {
    let headers = vec![Header::new("traceparent", vec![b'0'; 55]), Header::new("pseq", vec![1; 16])];
    Record {
        key: Some(vec![b'k'; 16].into()),
        value: Some(vec![b'v'; 380].into()),
        headers,
        timestamp_ms: 1_763_700_000_000,
    }
}

fn append(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("append");
    for (name, sync) in [("os", SyncPolicy::Os), ("group", SyncPolicy::Group)] {
        let bench = Bench::new(&runtime, |config| config.sync = sync);
        group.bench_function(format!("one record of 500 B, {name}"), |bencher| {
            append_each(bencher, &runtime, &bench, 1)
        });
    }
    let bench = Bench::new(&runtime, |_| {});
    group.bench_function("1,000 records of 500 B, os", |bencher| append_each(bencher, &runtime, &bench, 1_000));
    group.finish();
}

fn wake(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("append to fetch");
    for partitions in [1, PARTITIONS] {
        group.bench_function(format!("a reader of {partitions} partitions, os"), |bencher| {
            let bench = std::sync::Arc::new(Bench::new(&runtime, |_| {}));
            bencher.iter_custom(|rounds| {
                let bench = bench.clone();
                runtime.block_on(async move {
                    let mut next = bench.log.latest(&bench.first).await.expect("the partition is there");
                    let mut elapsed = Duration::ZERO;
                    for _ in 0..rounds {
                        let from: Vec<_> = (0..partitions)
                            .map(|partition| FetchFrom {
                                partition: TopicPartition { partition, ..bench.first.clone() },
                                offset: if partition == 0 { next } else { Offset::ZERO },
                            })
                            .collect();
                        let reader = {
                            let bench = bench.clone();
                            tokio::spawn(async move {
                                bench.fetch(&from, Duration::from_secs(60)).await;
                                Instant::now()
                            })
                        };
                        // Until the reader has surely come to wait.
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        let begun = Instant::now();
                        next = bench.append(vec![record()]).await.next();
                        elapsed += reader.await.expect("the reader does not panic") - begun;
                    }
                    elapsed
                })
            });
        });
    }
    group.finish();
}

fn fetch(criterion: &mut Criterion) {
    const RECORDS: u64 = 1_000;
    let runtime = runtime();
    let mut group = criterion.benchmark_group("fetch");
    for (name, tail_cache_bytes) in [("the head", 16 << 20), ("the disk", 0)] {
        let bench = Bench::new(&runtime, |config| config.tail_cache_bytes = tail_cache_bytes);
        runtime.block_on(async {
            for _ in 0..RECORDS {
                bench.append(vec![record()]).await;
            }
        });
        for (count, offset) in [("one record", RECORDS - 1), ("100 records", RECORDS - 100)] {
            let from = [FetchFrom { partition: bench.first.clone(), offset: Offset(offset) }];
            group
                .bench_function(format!("{count} from {name}"), |bencher| fetch_each(bencher, &runtime, &bench, &from));
        }
    }
    let bench = Bench::new(&runtime, |_| {});
    let from: Vec<_> = (0..PARTITIONS)
        .map(|partition| FetchFrom {
            partition: TopicPartition { partition, ..bench.first.clone() },
            offset: Offset::ZERO,
        })
        .collect();
    group.bench_function("nothing from 200 partitions", |bencher| fetch_each(bencher, &runtime, &bench, &from));
    group.finish();
}

/// Opening 200 partitions with a segment each: closed before, or left behind by a process that died.
fn open(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("open");
    for closed in [true, false] {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let config = Config { sync: SyncPolicy::Os, ..Config::new(directory.path()) };
        runtime.block_on(async {
            let log = EmbeddedLog::open(config.clone()).expect("a new log opens");
            let spec = TopicSpec { name: "events".into(), partitions: PARTITIONS, cleanup: Cleanup::Never };
            log.ensure_topic(&spec).await.expect("a new topic is created");
            for partition in 0..PARTITIONS {
                let records = (0..1_000).map(|_| record()).collect();
                log.append(&TopicPartition::new("events", partition), records).await.expect("the records are appended");
            }
            if closed {
                log.close().await;
            }
        });
        let name = format!("200 partitions of 0.5 MB, {}", if closed { "closed" } else { "not closed" });
        group
            .bench_function(name, |bencher| bencher.iter(|| EmbeddedLog::open(config.clone()).expect("the log opens")));
    }
    group.finish();
}

criterion_group!(benches, append, wake, fetch, open);
criterion_main!(benches);
