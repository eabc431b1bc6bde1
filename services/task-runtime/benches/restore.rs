//! How long a task takes to begin when its store is lost: from the whole changelog, and from a snapshot. On the embedded log
//! and stores on disk, as `ordermesh` has them.
//!
//! ```text
//! cargo bench -p task-runtime --bench restore                     1,000,000 keys with values of 100 bytes
//! cargo bench -p task-runtime --bench restore -- 100000 in /data  as many keys as wanted, in another directory
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use embedded_broker::EmbeddedLog;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use state_store::Stores;
use task_runtime::{Command, Config, Definition, Reply, Runtime, Start, Storage, StoreId, Tasks};

const ROWS: StoreId = StoreId::new(1, "rows");
const CALLS: u64 = 2_000;

fn rows() -> Definition {
    Definition::new("rows").store(ROWS).command("Put", |context, command| {
        context.put(ROWS, &command.key, command.payload.clone());
        Ok(Reply(Bytes::new()))
    })
}

async fn put(tasks: &Tasks, number: u64) {
    // Spread over the whole key space, as ids are, with values that do not compress.
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let value: Vec<u8> = (0..100_u64).map(|n| (spread.rotate_left((n % 61) as u32) ^ n) as u8).collect();
    let command = Command {
        name: "Put",
        key: Bytes::from(format!("{spread:020x}")),
        request_id: None,
        payload: value.into(),
        attachment: Bytes::new(),
        time_ms: 1,
        traceparent: None,
    };
    tasks.for_partition(0).expect("it is here").execute(command).await.expect("the task runs");
}

async fn start(log: &EmbeddedLog, directory: &Path, snapshots: bool) -> (Runtime, Duration) {
    let stores = Stores::open(state_store::Config::new(directory.join("state"))).expect("the directory is free");
    let after = if snapshots { 100_000 } else { u64::MAX };
    let config = Config {
        snapshot_after_records: after,
        snapshot_after_bytes: if snapshots { 1 << 20 } else { u64::MAX },
        ..Config::default()
    };
    let begin = Instant::now();
    let start = Start { config, ..Start::new(Arc::new(log.clone()), Storage::Disk(stores), 1) };
    let mesh = Runtime::start(start, vec![rows()]).await.expect("the log is empty or ours");
    mesh.running().await.expect("the task starts");
    (mesh, begin.elapsed())
}

async fn stop(mesh: Runtime, directory: &Path) {
    assert!(mesh.stop(Duration::from_secs(60)).await, "it stops");
    std::fs::remove_dir_all(directory.join("state")).expect("the store is closed");
}

async fn run(count: u64, directory: &Path) {
    let log = EmbeddedLog::open(embedded_broker::Config {
        sync: embedded_broker::SyncPolicy::Os,
        ..embedded_broker::Config::new(directory.join("log"))
    });
    let log = log.expect("the directory is free");
    let (mesh, _) = start(&log, directory, false).await;
    let tasks = mesh.tasks("rows").expect("it was started");
    let begin = Instant::now();
    let mut calls: FuturesUnordered<_> = (0..CALLS.min(count)).map(|n| put(&tasks, n)).collect();
    for number in CALLS.min(count)..count {
        calls.next().await;
        calls.push(put(&tasks, number));
    }
    while calls.next().await.is_some() {}
    drop(calls);
    let entries = mesh.status()[0].applied_offset;
    println!("{count} keys written in {:.1?}, {entries} entries", begin.elapsed());
    stop(mesh, directory).await;

    let (mesh, took) = start(&log, directory, false).await;
    println!("restored from the changelog alone in {took:.2?}");
    // With its store, for comparison; then have a snapshot made.
    assert!(mesh.stop(Duration::from_secs(60)).await, "it stops");
    let (mesh, took) = start(&log, directory, true).await;
    println!("begun with the store that it had in {took:.2?}");
    let tasks = mesh.tasks("rows").expect("it was started");
    let (begin, mut slowest) = (Instant::now(), Duration::ZERO);
    while mesh.status()[0].snapshot_offset.is_none() {
        let call = Instant::now();
        put(&tasks, 1).await;
        slowest = slowest.max(call.elapsed());
    }
    let took = begin.elapsed();
    println!("snapshot made in {took:.2?}; the slowest of the commits meanwhile took {slowest:.2?}");
    stop(mesh, directory).await;
    let (mesh, took) = start(&log, directory, true).await;
    println!("restored from the snapshot in {took:.2?}");
    stop(mesh, directory).await;
    log.close().await;
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let place = arguments.iter().position(|argument| argument == "in").and_then(|at| arguments.get(at + 1));
    let directory = match place {
        Some(place) => tempfile::tempdir_in(place),
        None => tempfile::tempdir(),
    };
    let directory = directory.expect("a directory can be made");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(run(count, directory.path()));
}
