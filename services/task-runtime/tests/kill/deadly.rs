//! A record whose handler takes the process along comes to the dead letters, and what stands behind it is processed.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::Arc;

use bytes::Bytes;
use embedded_broker::{EmbeddedLog, SyncPolicy};
use event_log::{EventLog, Record, TopicPartition};
use state_store::Stores;
use task_runtime::{
    Consistency, Context, DeadLetter, Definition, Input, ProcessError, Runtime, Start, Storage, StoreId,
};

use crate::{life, reading};

const INBOX: &str = "inbox";
const SEEN: StoreId = StoreId::new(1, "seen");
const DEADLY: &str = "deadly";
const RECORDS: [&str; 4] = ["one", DEADLY, "two", "three"];
/// How a process ends that calls abort, as does one whose stack overflows.
const SIGABRT: i32 = 6;
/// Lives that the record may take.
const DEATHS: usize = 3;

fn definition() -> Definition {
    Definition::new("reader").store(SEEN).input(INBOX, see)
}

fn see(context: &mut Context<'_>, input: &Input<'_>) -> Result<(), ProcessError> {
    let value = input.value()?.clone();
    if value == DEADLY {
        std::process::abort();
    }
    context.put(SEEN, &value, Bytes::new());
    Ok(())
}

async fn start(directory: &Path, log: &EmbeddedLog) -> Result<Runtime, String> {
    let stores = state_store::Config::new(directory.join("stores"));
    let storage = Storage::Disk(Stores::open(stores).map_err(|error| error.to_string())?);
    let start = Start::new(Arc::new(log.clone()), storage, 1);
    Runtime::start(start, vec![definition()]).await.map_err(|error| error.to_string())
}

/// Processes what stands in the inbox, if it lives to its end.
pub(crate) fn run(directory: &Path) -> ExitCode {
    match event_loop().and_then(|runtime| runtime.block_on(process(directory))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn event_loop() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())
}

async fn process(directory: &Path) -> Result<(), String> {
    let log = life::log(directory, SyncPolicy::Os);
    let mesh = start(directory, &log).await?;
    let tasks = mesh.tasks("reader").ok_or("it was not started")?;
    let reader = tasks.for_partition(0).map_err(|error| error.to_string())?;
    let last = RECORDS[RECORDS.len() - 1].as_bytes();
    let seen = reader.wait(SEEN, last, move |view| view.get(SEEN, last).ok().flatten());
    seen.await.map_err(|error| error.to_string())?;
    let scan = reader.read(Consistency::Strong, |view| view.scan(SEEN, b"", None, usize::MAX));
    let (rows, _) = scan.await.map_err(|error| error.to_string())?;
    let rows: Vec<Bytes> = rows.map_err(|error| error.to_string())?.into_iter().map(|(key, _)| key).collect();
    if rows != ["one", "three", "two"] {
        return Err(format!("seen were {rows:?}"));
    }
    if !mesh.stop(life::PATIENCE).await {
        return Err("it does not stop".to_owned());
    }
    log.close().await;
    Ok(())
}

/// Starts lives until one comes through, and looks at what it has left.
pub(crate) fn crash_loop() -> Result<(), String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let runtime = event_loop()?;
    runtime.block_on(fill(directory.path()))?;
    for death in 1..=DEATHS {
        let status = live(directory.path())?;
        if status.signal() != Some(SIGABRT) {
            return Err(format!("life {death} was to die at the record, and ended with {status}"));
        }
    }
    let status = live(directory.path())?;
    if !status.success() {
        return Err(format!("the life after {DEATHS} deaths ended with {status}"));
    }
    runtime.block_on(judge(directory.path()))
}

fn live(directory: &Path) -> Result<ExitStatus, String> {
    let binary = std::env::current_exe().map_err(|error| error.to_string())?;
    Command::new(binary).arg("--deadly").arg(directory).status().map_err(|error| error.to_string())
}

async fn fill(directory: &Path) -> Result<(), String> {
    let log = life::log(directory, SyncPolicy::Os);
    for spec in task_runtime::topics(&[definition()], 1) {
        log.ensure_topic(&spec).await.map_err(|error| error.to_string())?;
    }
    for value in RECORDS {
        let value = Some(Bytes::from_static(value.as_bytes()));
        let record = Record { key: None, value, headers: Vec::new(), timestamp_ms: 1 };
        let appended = log.append(&TopicPartition::new(INBOX, 0), vec![record]).await;
        appended.map_err(|error| error.to_string())?;
    }
    log.close().await;
    Ok(())
}

async fn judge(directory: &Path) -> Result<(), String> {
    let log = life::log(directory, SyncPolicy::Os);
    let letters = reading::all(&log, &TopicPartition::new(definition().dead_letters(), 0)).await?;
    log.close().await;
    let [letter] = &letters[..] else { return Err(format!("{} dead letters", letters.len())) };
    let said = DeadLetter::of(&letter.record);
    let is_it = letter.record.value.as_deref() == Some(DEADLY.as_bytes())
        && (said.topic.as_str(), said.offset) == (INBOX, 1)
        && said.reason.contains("died");
    if !is_it {
        return Err(format!("the dead letter says {said:?}"));
    }
    let notes = directory.join("stores").join("reader%2F0.attempts");
    if notes.exists() { Err(format!("{} is still there", notes.display())) } else { Ok(()) }
}
