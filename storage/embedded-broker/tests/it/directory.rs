//! The data directory: one user at a time, one format, and removal of what is too old.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use embedded_broker::{Clock, Config, EmbeddedLog, Error, SyncPolicy};
use event_log::{Cleanup, EventLog, Offset, TopicPartition, TopicSpec};

use crate::sample::{append, expected, read, record, topic};

#[tokio::test]
async fn a_directory_has_one_user_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::new(directory.path());
    let log = EmbeddedLog::open(config.clone()).unwrap();
    let error = EmbeddedLog::open(config.clone()).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(&directory.path().display().to_string()), "{message}");
    assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
    let other = log.clone();
    log.close().await;
    let again = EmbeddedLog::open(config).unwrap();
    assert!(matches!(other.topics().await, Err(event_log::Error::Unavailable(_))), "a closed log stays closed");
    drop(other);
    again.close().await;
}

#[tokio::test]
async fn everything_is_refused_once_the_log_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(Config::new(directory.path())).unwrap();
    let partition = topic(&log, "events", 1).await;
    let from = [event_log::FetchFrom { partition: partition.clone(), offset: Offset(0) }];
    let limits = event_log::FetchLimits { max_bytes_per_partition: 1, max_wait: std::time::Duration::from_secs(60) };
    let (waiting, ()) = tokio::join!(log.fetch(&from, limits), log.close());
    let refused = |result: Result<(), event_log::Error>| {
        assert!(matches!(result, Err(event_log::Error::Unavailable(_))), "{result:?}");
    };
    refused(waiting.map(drop));
    refused(log.append(&partition, vec![record(0)]).await.map(drop));
    refused(log.latest(&partition).await.map(drop));
    refused(log.earliest(&partition).await.map(drop));
    refused(log.delete_before(&partition, Offset(0)).await);
    let spec = TopicSpec { name: "more".into(), partitions: 1, cleanup: Cleanup::Never };
    refused(log.ensure_topic(&spec).await);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn appends_that_race_with_closing_are_answered() {
    for round in 0..40 {
        let directory = tempfile::tempdir().unwrap();
        let sync = if round % 4 == 0 { SyncPolicy::Os } else { SyncPolicy::Group };
        let config = Config { sync, ..Config::new(directory.path()) };
        let log = EmbeddedLog::open(config.clone()).unwrap();
        let partition = topic(&log, "events", 1).await;
        let mut jobs = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let (log, partition) = (log.clone(), partition.clone());
            jobs.spawn(async move {
                let mut acknowledged = 0;
                while log.append(&partition, vec![record(7)]).await.is_ok() {
                    acknowledged += 1;
                }
                acknowledged
            });
        }
        while log.stats().appends < 20 {
            tokio::task::yield_now().await;
        }
        log.close().await;
        let mut acknowledged = 0;
        while let Some(job) = tokio::time::timeout(std::time::Duration::from_secs(30), jobs.join_next()).await.unwrap()
        {
            acknowledged += job.unwrap();
        }
        let log = EmbeddedLog::open(config).unwrap();
        assert_eq!(log.latest(&partition).await.unwrap(), Offset(acknowledged));
    }
}

#[tokio::test]
async fn a_newer_or_damaged_directory_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::new(directory.path());
    let log = EmbeddedLog::open(config.clone()).unwrap();
    let partition = topic(&log, "events", 1).await;
    append(&log, &partition, 0..3).await;
    log.close().await;
    let table = directory.path().join("meta.json");
    let sound = fs::read_to_string(&table).unwrap();
    for (content, message) in [
        (r#"{"format": 2, "shape": "unknown"}"#, "has log format 2, and this version reads up to 1: start the newer"),
        (r#"{"topics": []}"#, "is damaged"),
        ("", "is damaged"),
        (&sound.replace("events", "../events"), "is damaged"),
        (&sound.replace("\"partitions\": 1", "\"partitions\": 0"), "is damaged"),
    ] {
        fs::write(&table, content).unwrap();
        let error = EmbeddedLog::open(config.clone()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert!(error.contains(&directory.path().display().to_string()), "{error}");
        assert_eq!(fs::read_to_string(&table).unwrap(), content);
    }
    fs::remove_file(&table).unwrap();
    let error = EmbeddedLog::open(config.clone()).unwrap_err().to_string();
    assert!(error.contains("it is absent"), "topics without a table are not taken for none: {error}");
    fs::write(&table, sound).unwrap();
    let log = EmbeddedLog::open(config).unwrap();
    assert_eq!(read(&log, &partition, 0).await.unwrap(), expected(0..3));
}

#[test]
fn settings_out_of_range_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let sound = Config::new(directory.path());
    for config in [
        Config { segment_bytes: 0, ..sound.clone() },
        Config { segment_bytes: 2 << 30, ..sound.clone() },
        Config { max_batch_bytes: 0, ..sound.clone() },
        Config { max_batch_bytes: 1 << 30, ..sound.clone() },
        Config { open_files_max: 0, ..sound.clone() },
    ] {
        assert!(matches!(EmbeddedLog::open(config), Err(Error::Config(_))));
    }
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = EmbeddedLog::open(Config::new(&file)).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
}

#[tokio::test]
async fn old_records_go_by_whole_segments() {
    let directory = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(0));
    let clock = now.clone();
    let config = Config {
        sync: SyncPolicy::Os,
        segment_bytes: 500,
        clock: Clock::new(move || clock.load(Ordering::Relaxed)),
        ..Config::new(directory.path())
    };
    let log = EmbeddedLog::open(config.clone()).unwrap();
    let spec = TopicSpec { name: "events".into(), partitions: 1, cleanup: Cleanup::AfterMs(100) };
    log.ensure_topic(&spec).await.unwrap();
    let partition = TopicPartition::new("events", 0);
    // The record of each number is that many milliseconds old at time 0.
    append(&log, &partition, 0..60).await;
    log.close().await;
    let log = EmbeddedLog::open(config.clone()).unwrap();
    assert_eq!(log.earliest(&partition).await.unwrap(), Offset(0), "nothing is too old yet");
    log.close().await;
    now.store(130, Ordering::Relaxed);
    let log = EmbeddedLog::open(config).unwrap();
    let removed = tokio::time::timeout(std::time::Duration::from_secs(30), async {
        while log.earliest(&partition).await.unwrap() == Offset(0) {
            tokio::task::yield_now().await;
        }
        log.earliest(&partition).await.unwrap().0
    });
    let start = removed.await.unwrap();
    assert!((20..=30).contains(&start), "{start}");
    assert_eq!(read(&log, &partition, start).await.unwrap(), expected(start..60));
}
