//! What the log costs: files, memory, time to open, and fsyncs, with many partitions and much data.

use std::path::Path;

use embedded_broker::{Config, EmbeddedLog, SyncPolicy};
use event_log::{EventLog, Offset, Record, TopicPartition};

use crate::sample::{append, expected, read, topic};

fn entries(directory: &Path) -> usize {
    std::fs::read_dir(directory).map_or(0, Iterator::count)
}

/// Files of this directory that the process has open.
fn open_files(directory: &Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    links
        .filter(|link| std::fs::read_link(link.as_ref().unwrap().path()).is_ok_and(|to| to.starts_with(directory)))
        .count()
}

#[tokio::test]
async fn empty_partitions_cost_no_files() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::new(directory.path());
    let log = EmbeddedLog::open(config.clone()).unwrap();
    let first = topic(&log, "events", 1_000).await;
    append(&log, &TopicPartition { partition: 777, ..first.clone() }, 0..1).await;
    assert_eq!(entries(&directory.path().join("topics/events")), 1);
    assert!(open_files(directory.path()) <= 2, "the lock and the one segment");
    log.close().await;
    drop(log);
    let log = EmbeddedLog::open(config).unwrap();
    assert_eq!(open_files(directory.path()), 1, "the lock");
    assert_eq!(log.latest(&first).await.unwrap(), Offset(0));
}

#[tokio::test]
async fn open_files_are_bounded() {
    const MAX: usize = 16;
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        sync: SyncPolicy::Group,
        segment_bytes: 200,
        tail_cache_bytes: 0,
        open_files_max: MAX,
        ..Config::new(directory.path())
    };
    let log = EmbeddedLog::open(config.clone()).unwrap();
    let first = topic(&log, "events", 100).await;
    let partitions: Vec<_> = (0..100).map(|partition| TopicPartition { partition, ..first.clone() }).collect();
    for partition in &partitions {
        append(&log, partition, 0..8).await;
        assert_eq!(read(&log, partition, 0).await.unwrap(), expected(0..8));
    }
    for partition in &partitions {
        append(&log, partition, 8..9).await;
    }
    log.close().await;
    drop(log);
    let log = EmbeddedLog::open(config).unwrap();
    for partition in &partitions {
        assert_eq!(read(&log, partition, 0).await.unwrap(), expected(0..9));
        // The lock, and one more that is in use.
        assert!(open_files(directory.path()) <= MAX + 2, "{} files are open", open_files(directory.path()));
    }
}

#[tokio::test]
async fn tail_cache_keeps_to_its_budget() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config { sync: SyncPolicy::Os, tail_cache_bytes: 100_000, ..Config::new(directory.path()) };
    let log = EmbeddedLog::open(config).unwrap();
    let first = topic(&log, "events", 10).await;
    for number in 0..500 {
        for partition in 0..10 {
            let partition = TopicPartition { partition, ..first.clone() };
            append(&log, &partition, number..number + 1).await;
        }
        assert!(log.stats().tail_cache_bytes <= 100_000);
    }
    assert!(log.stats().tail_cache_bytes > 90_000);
    for partition in 0..10 {
        let partition = TopicPartition { partition, ..first.clone() };
        assert_eq!(read(&log, &partition, 0).await.unwrap(), expected(0..500));
    }
}

#[tokio::test]
async fn stats_count_what_was_done() {
    let directory = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(Config::new(directory.path())).unwrap();
    let partition = topic(&log, "events", 1).await;
    append(&log, &partition, 0..10).await;
    log.append(&partition, vec![Record::default(); 5]).await.unwrap();
    let stats = log.stats();
    assert_eq!((stats.appends, stats.records, stats.rounds), (11, 15, 11));
    // One for each append, and the directories of the partition and of the topic for the first.
    assert_eq!(log.fsync_count(), 13);
}

#[tokio::test]
async fn a_grown_segment_is_vouched_for_before_it_is_sealed() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config { sync: SyncPolicy::Os, tail_cache_bytes: 0, ..Config::new(directory.path()) };
    let log = EmbeddedLog::open(config.clone()).unwrap();
    let partition = topic(&log, "events", 1).await;
    let large = Record { value: Some(vec![7; 1_000_000].into()), ..Record::default() };
    for _ in 0..10 {
        log.append(&partition, vec![large.clone()]).await.unwrap();
    }
    let index = directory.path().join("topics/events/0/00000000000000000000.idx");
    let written = async {
        while !index.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), written).await.unwrap();
    drop(log);
    let log = EmbeddedLog::open(config).unwrap();
    assert_eq!(log.latest(&partition).await.unwrap(), Offset(10));
    let records = read(&log, &partition, 0).await.unwrap();
    assert!(records.len() == 10 && records.iter().all(|stored| stored.record == large));
}
