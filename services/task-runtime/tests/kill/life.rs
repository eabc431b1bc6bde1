//! One life of the mesh as a process: everything real, from threads to files.

use std::io::{BufRead, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use embedded_broker::{EmbeddedLog, SyncPolicy};
use state_store::Stores;
use task_runtime::{CallError, Command, Config, Runtime, Start, Storage, Tasks};
use tokio::sync::mpsc;

use crate::mesh;

pub(crate) const PARTITIONS: u32 = 3;
/// Longest time for anything that must come to an end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Opens the log of a directory.
pub(crate) fn log(directory: &Path, policy: SyncPolicy) -> EmbeddedLog {
    let config = embedded_broker::Config {
        sync: policy,
        // Several segments within one run.
        segment_bytes: 256 * 1024,
        ..embedded_broker::Config::new(directory.join("log"))
    };
    EmbeddedLog::open(config).expect("the directory is ours")
}

/// Starts all tasks on the log, with stores on disk.
pub(crate) async fn start(directory: &Path, log: &EmbeddedLog) -> Runtime {
    let stores = state_store::Config {
        // Small enough that stores flush while they are killed.
        memtable_bytes: 16 * 1024,
        ..state_store::Config::new(directory.join("stores"))
    };
    let storage = Storage::Disk(Stores::open(stores).expect("the directory is ours"));
    start_on(storage, log).await
}

pub(crate) async fn start_on(storage: Storage, log: &EmbeddedLog) -> Runtime {
    // Commits of a few dozen items are split.
    let config = Config { record_bytes_max: 2_000, ..Config::default() };
    let start = Start { config, threads: 2, ..Start::new(Arc::new(log.clone()), storage, PARTITIONS) };
    Runtime::start(start, mesh::definitions()).await.expect("the topics are as this test makes them")
}

/// Adds to a counter under a request id that is the effect's name. Stopped means: the next life is asked.
pub(crate) async fn add(tasks: &Tasks, key: &str, effect: &str) -> Result<u64, CallError> {
    let command = Command {
        name: mesh::ADD,
        key: Bytes::copy_from_slice(key.as_bytes()),
        request_id: Some(format!("request-{effect}")),
        payload: Bytes::copy_from_slice(effect.as_bytes()),
        attachment: Bytes::new(),
        time_ms: tasks.now_ms(),
        traceparent: None,
    };
    let committed = tasks.for_key(key.as_bytes())?.execute(command).await?;
    Ok(mesh::number(&committed.reply))
}

/// Serves until it is killed. Lines in: `<key> <effect>`. Lines out: `<effect> <count>`, or `failed <why>`.
pub(crate) fn run(directory: &Path, policy: SyncPolicy) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("an event loop").block_on(async {
        let mesh = start(directory, &log(directory, policy)).await;
        let tasks = mesh.tasks(mesh::SERVICES[0]).expect("it was started");
        let (lines, mut requests) = mpsc::channel::<String>(1_024);
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if lines.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        loop {
            tokio::select! {
                problem = mesh.failed() => {
                    tell(&format!("failed {problem}"));
                    return ExitCode::FAILURE;
                }
                line = requests.recv() => {
                    // The end of the input is the end of the supervisor.
                    let Some(line) = line else { return ExitCode::SUCCESS };
                    let tasks = tasks.clone();
                    tokio::spawn(async move {
                        let Some((key, effect)) = line.split_once(' ') else { return };
                        if let Ok(count) = add(&tasks, key, effect).await {
                            tell(&format!("{effect} {count}"));
                        }
                    });
                }
            }
        }
    })
}

fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    // A supervisor that is gone needs no answer.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
