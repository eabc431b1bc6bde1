//! A process that appends is killed with -9 at random moments, again and again: what it was told is in the log, is there.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use embedded_broker::{Config, EmbeddedLog, SyncPolicy};
use event_log::{EventLog, Offset, Record, TopicPartition};

use crate::sample::{read, topic};

const DIRECTORY: &str = "EMBEDDED_BROKER_KILL_DIRECTORY";
const PARTITIONS: u32 = 3;
const ROUNDS: u64 = 16;

fn config(directory: &Path, group: bool) -> Config {
    let sync = if group { SyncPolicy::Group } else { SyncPolicy::Os };
    Config { sync, segment_bytes: 20_000, ..Config::new(directory) }
}

/// The value of a record says where it stands and has a length that depends on it.
fn record(partition: u32, number: u64) -> Record {
    let length = usize::try_from(number * 7_919 % 900).unwrap();
    let value = format!("{partition} {number} {}", "x".repeat(length));
    Record { value: Some(value.into()), timestamp_ms: number.cast_signed(), ..Record::default() }
}

/// Not a test of its own: what the killed process runs. Does nothing when it is run with all tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appender_that_is_killed() {
    let Some(setting) = std::env::var_os(DIRECTORY) else { return };
    let setting = setting.into_string().unwrap();
    let (policy, directory) = setting.split_once(' ').unwrap();
    let log = EmbeddedLog::open(config(Path::new(directory), policy == "group")).unwrap();
    let first = topic(&log, "events", PARTITIONS).await;
    let mut jobs = tokio::task::JoinSet::new();
    let said = Arc::new(std::sync::Mutex::new(std::io::stdout()));
    for partition in 0..PARTITIONS {
        let (log, said) = (log.clone(), said.clone());
        let target = TopicPartition { partition, ..first.clone() };
        jobs.spawn(async move {
            let mut number = log.latest(&target).await.unwrap().0;
            loop {
                let records: Vec<Record> = (number..=number + number % 3).map(|n| record(partition, n)).collect();
                let count = records.len() as u64;
                assert_eq!(log.append(&target, records).await.unwrap(), Offset(number));
                number += count;
                writeln!(said.lock().unwrap(), "acknowledged {partition} {number}").unwrap();
                tokio::task::yield_now().await;
            }
        });
    }
    while let Some(ended) = jobs.join_next().await {
        let () = ended.unwrap();
    }
}

/// Starts the process, kills it after `acks` lines and gives what it was told last, for each partition.
fn run_and_kill(directory: &Path, policy: &str, acks: u64) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::appender_that_is_killed", "--nocapture"])
        .env(DIRECTORY, format!("{policy} {}", directory.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = vec![0; PARTITIONS as usize];
    let mut seen = 0;
    let mut note = |line: &str| {
        // A line that was cut off by the kill counts for nothing.
        let words: Vec<&str> = line.split(' ').collect();
        if let ["acknowledged", partition, number] = words[..]
            && let (Ok(partition), Ok(number)) = (partition.parse::<usize>(), number.parse())
        {
            acknowledged[partition] = number;
            return true;
        }
        false
    };
    while seen < acks {
        seen += u64::from(note(&lines.next().expect("the process goes on until it is killed").unwrap()));
    }
    child.kill().unwrap();
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    // The last line may lack its end, and so the end of its number.
    for line in rest.iter().rev().skip(1).rev() {
        note(line);
    }
    child.wait().unwrap();
    acknowledged
}

async fn assert_nothing_is_lost(policy: &str) {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        // From the first record to thousands, so that the kill falls into all kinds of moments.
        let acks = round * round * 5 + 1;
        let acknowledged = run_and_kill(directory.path(), policy, acks);
        let log = tokio::time::timeout(Duration::from_secs(30), async {
            EmbeddedLog::open(config(directory.path(), policy == "group")).unwrap()
        });
        let log = log.await.unwrap();
        for (partition, acknowledged) in (0..PARTITIONS).zip(acknowledged) {
            let target = TopicPartition::new("events", partition);
            let records = read(&log, &target, 0).await.unwrap();
            assert!(records.len() as u64 >= acknowledged, "{} of {acknowledged} in round {round}", records.len());
            for (stored, number) in records.iter().zip(0..) {
                assert_eq!((stored.offset, &stored.record), (Offset(number), &record(partition, number)));
            }
        }
        if round % 2 == 0 {
            log.close().await;
        }
    }
}

#[tokio::test]
async fn killed_process_loses_nothing_under_group_sync() {
    assert_nothing_is_lost("group").await;
}

#[tokio::test]
async fn killed_process_loses_nothing_under_os_sync() {
    assert_nothing_is_lost("os").await;
}
