//! What is left of a log after torn writes, lost pages and flipped bits: never a wrong record, and never silence about a
//! lost one that was acknowledged.

use std::fs;
use std::path::{Path, PathBuf};

use embedded_broker::{Config, EmbeddedLog, SyncPolicy};
use event_log::{Error, EventLog, Offset, TopicPartition};

use crate::sample::{append, expected, read, topic};

/// A log on the disk that nobody has open, and the file of its only segment.
struct Sample {
    directory: tempfile::TempDir,
    partition: TopicPartition,
    segment: PathBuf,
    content: Vec<u8>,
    /// Where each record's batch begins.
    positions: Vec<usize>,
}

const RECORDS: u64 = 6;

impl Sample {
    /// Six records; closed, so that an `.idx` file vouches for them, or dropped as by a process that dies.
    async fn new(closed: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path());
        let partition = topic(&log, "events", 1).await;
        let segment = directory.path().join("topics/events/0/00000000000000000000.log");
        let mut positions = Vec::new();
        for number in 0..RECORDS {
            positions.push(fs::metadata(&segment).map_or(0, |file| usize::try_from(file.len()).unwrap()));
            append(&log, &partition, number..number + 1).await;
        }
        if closed {
            log.close().await;
        }
        drop(log);
        let content = fs::read(&segment).unwrap();
        Self { directory, partition, segment, content, positions }
    }

    /// Opens the log after its segment was replaced.
    fn open_with(&self, content: &[u8]) -> EmbeddedLog {
        fs::write(&self.segment, content).unwrap();
        open(self.directory.path())
    }

    fn last(&self) -> usize {
        *self.positions.last().unwrap()
    }
}

fn open(directory: &Path) -> EmbeddedLog {
    // Without memory, so that every read goes to the disk.
    EmbeddedLog::open(Config { sync: SyncPolicy::Os, tail_cache_bytes: 0, ..Config::new(directory) }).unwrap()
}

fn assert_failed<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::Failed(_))), "must fail: {result:?}");
}

/// Asserts that the last record is gone, that all others are there and that the log goes on.
async fn assert_cut(sample: &Sample, content: &[u8], case: &str) {
    let log = sample.open_with(content);
    assert_eq!(log.latest(&sample.partition).await.unwrap(), Offset(RECORDS - 1), "{case}");
    assert_eq!(fs::metadata(&sample.segment).unwrap().len(), sample.last() as u64, "{case}");
    append(&log, &sample.partition, RECORDS - 1..RECORDS + 1).await;
    assert_eq!(read(&log, &sample.partition, 0).await.unwrap(), expected(0..RECORDS + 1), "{case}");
}

#[tokio::test]
async fn an_end_torn_at_any_byte_is_cut_off() {
    let sample = Sample::new(false).await;
    for length in sample.last() + 1..sample.content.len() {
        assert_cut(&sample, &sample.content[..length], &format!("torn at byte {length}")).await;
    }
}

#[tokio::test]
async fn an_end_of_zeros_or_of_garbage_is_cut_off() {
    let sample = Sample::new(false).await;
    let (whole, torn) = sample.content.split_at(sample.last());
    // The last byte is a zero: without it nothing would be missing.
    for length in sample.last()..sample.content.len() - 1 {
        // The file was made longer, but not all of the content had reached the disk.
        let mut zeroed = sample.content[..length].to_vec();
        zeroed.resize(sample.content.len() + 5_000, 0);
        assert_cut(&sample, &zeroed, &format!("zeros from byte {length}")).await;
    }
    for garbage in [&[0xff_u8; 300][..], &torn[1..], b"\0\0\0\0\0\0\0\x05\0\0\x10\0"] {
        assert_cut(&sample, &[whole, garbage].concat(), "garbage").await;
    }
    // Whole batches, but of other offsets: remains of another time.
    let first = &sample.content[..sample.positions[1]];
    assert_cut(&sample, &[whole, first].concat(), "a batch of lower offsets").await;
}

#[tokio::test]
async fn pages_lost_before_whole_batches_are_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let partition = topic(&log, "events", 1).await;
    append(&log, &partition, 0..300).await;
    drop(log);
    let segment = directory.path().join("topics/events/0/00000000000000000000.log");
    let mut content = fs::read(&segment).unwrap();
    assert!(content.len() > 20_000);
    content[8_192..12_288].fill(0);
    fs::write(&segment, &content).unwrap();
    let log = open(directory.path());
    let end = log.latest(&partition).await.unwrap().0;
    assert!((50..100).contains(&end), "cut at the lost page: {end}");
    assert_eq!(read(&log, &partition, 0).await.unwrap(), expected(0..end));
}

#[tokio::test]
async fn a_flipped_bit_before_whole_batches_is_not_cut_off() {
    let sample = Sample::new(false).await;
    for at in 0..sample.last() {
        let mut content = sample.content.clone();
        content[at] ^= 1 << (at % 8);
        let log = sample.open_with(&content);
        match log.latest(&sample.partition).await {
            // The leader epoch is no part of a record, and the checksum does not cover it.
            Ok(end) => {
                let within = sample.positions.iter().rev().find(|position| **position <= at).unwrap();
                assert!((12..16).contains(&(at - within)), "byte {at} matters");
                assert_eq!(end, Offset(RECORDS));
                assert_eq!(read(&log, &sample.partition, 0).await.unwrap(), expected(0..RECORDS));
            }
            refused => {
                assert_failed(refused);
                assert_failed(read(&log, &sample.partition, 0).await);
                assert_failed(log.append(&sample.partition, vec![crate::sample::record(0)]).await);
                assert_failed(log.delete_before(&sample.partition, Offset(1)).await);
                assert_failed(log.earliest(&sample.partition).await);
            }
        }
        drop(log);
        assert_eq!(fs::read(&sample.segment).unwrap(), content, "damage is left for a person to look at");
    }
}

#[tokio::test]
async fn a_flipped_bit_behind_the_index_is_never_served() {
    let sample = Sample::new(true).await;
    for at in 0..sample.content.len() {
        let mut content = sample.content.clone();
        content[at] ^= 1 << (at % 8);
        let log = sample.open_with(&content);
        assert_eq!(log.latest(&sample.partition).await.unwrap(), Offset(RECORDS));
        for offset in 0..RECORDS {
            match read(&log, &sample.partition, offset).await {
                Ok(records) => assert_eq!(records, expected(offset..RECORDS), "byte {at} is flipped"),
                refused => assert_failed(refused),
            }
        }
    }
}

#[tokio::test]
async fn a_synced_end_that_is_missing_is_not_forgotten() {
    let sample = Sample::new(true).await;
    let log = sample.open_with(&sample.content[..sample.last()]);
    assert_failed(log.latest(&sample.partition).await);
    assert_failed(read(&log, &sample.partition, 0).await);
}

#[tokio::test]
async fn a_lost_index_is_made_again() {
    let sample = Sample::new(true).await;
    let index = sample.segment.with_extension("idx");
    let sound = fs::read(&index).unwrap();
    for content in [None, Some(Vec::new()), Some(b"foreign".to_vec()), Some(sound[..sound.len() - 1].to_vec())] {
        match content {
            None => fs::remove_file(&index).unwrap(),
            Some(content) => fs::write(&index, content).unwrap(),
        }
        let log = open(sample.directory.path());
        assert_eq!(read(&log, &sample.partition, 0).await.unwrap(), expected(0..RECORDS));
        log.close().await;
        assert_eq!(fs::read(&index).unwrap(), sound);
    }
}

#[tokio::test]
async fn a_missing_segment_stops_its_partition_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config { sync: SyncPolicy::Os, segment_bytes: 300, ..Config::new(directory.path()) };
    let log = EmbeddedLog::open(config.clone()).unwrap();
    let whole = topic(&log, "whole", 1).await;
    let partition = topic(&log, "events", 1).await;
    append(&log, &whole, 0..20).await;
    append(&log, &partition, 0..20).await;
    log.close().await;
    let mut segments: Vec<_> = fs::read_dir(directory.path().join("topics/events/0"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    segments.sort();
    assert!(segments.len() > 4);
    for removed in &segments[..segments.len() - 1] {
        let content = fs::read(removed).unwrap();
        fs::remove_file(removed).unwrap();
        let log = EmbeddedLog::open(config.clone()).unwrap();
        assert_failed(log.latest(&partition).await);
        assert_failed(log.append(&partition, vec![crate::sample::record(0)]).await);
        assert_eq!(read(&log, &whole, 0).await.unwrap(), expected(0..20));
        log.close().await;
        fs::write(removed, content).unwrap();
    }
    let log = EmbeddedLog::open(config).unwrap();
    assert_eq!(read(&log, &partition, 0).await.unwrap(), expected(0..20));
}

#[tokio::test]
async fn a_removed_segment_whose_file_stays_keeps_nothing_from_being_opened() {
    let directory = tempfile::tempdir().unwrap();
    let (config, partition, segments) = small_segments(directory.path()).await;
    let log = EmbeddedLog::open(config.clone()).unwrap();
    // What cannot be removed: a directory in the place of the second segment. Those around it can.
    let content = fs::read(&segments[1]).unwrap();
    fs::remove_file(&segments[1]).unwrap();
    fs::create_dir(&segments[1]).unwrap();
    let start = base(&segments[3]) + 1;
    log.delete_before(&partition, Offset(start)).await.unwrap();
    assert_eq!(read(&log, &partition, start).await.unwrap(), expected(start..20));
    log.close().await;
    let there = || segments.iter().map(|segment| segment.exists()).collect::<Vec<_>>();
    assert_eq!(there()[..4], [false, true, false, true], "the others are gone");
    for end in 20..23 {
        let log = EmbeddedLog::open(config.clone()).unwrap();
        assert_eq!(log.earliest(&partition).await.unwrap(), Offset(start));
        append(&log, &partition, end..end + 1).await;
        assert_eq!(read(&log, &partition, start).await.unwrap(), expected(start..end + 1));
        log.close().await;
    }
    fs::remove_dir(&segments[1]).unwrap();
    fs::write(&segments[1], content).unwrap();
    let log = EmbeddedLog::open(config).unwrap();
    assert!(!segments[1].exists(), "it is tried again");
    assert_eq!(read(&log, &partition, start).await.unwrap(), expected(start..23));
}

/// A log of small segments that a dead process has left, no part of which is vouched for; and the files of its segments.
async fn small_segments(directory: &Path) -> (Config, TopicPartition, Vec<PathBuf>) {
    let config = Config { sync: SyncPolicy::Os, segment_bytes: 300, ..Config::new(directory) };
    let log = EmbeddedLog::open(config.clone()).unwrap();
    let partition = topic(&log, "events", 1).await;
    append(&log, &partition, 0..20).await;
    log.close().await;
    let files = || fs::read_dir(directory.join("topics/events/0")).unwrap().map(|entry| entry.unwrap().path());
    let with = |extension: &'static str| files().filter(move |path| path.extension().is_some_and(|it| it == extension));
    with("idx").for_each(|index| fs::remove_file(index).unwrap());
    let mut segments: Vec<_> = with("log").collect();
    segments.sort();
    assert!(segments.len() > 4);
    (config, partition, segments)
}

/// The first offset of a segment.
fn base(segment: &Path) -> u64 {
    segment.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

/// Where the last batch of a segment begins, or its end if there is none.
fn last_batch(content: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let length = content.get(at + 8..at + 12).map(|length| u32::from_be_bytes(length.try_into().unwrap()));
        match length.map(|length| at + 12 + length as usize) {
            Some(next) if next < content.len() => at = next,
            _ => return at,
        }
    }
}

#[tokio::test]
async fn a_roll_that_no_fsync_has_covered_is_taken_back() {
    for left in [0, 40] {
        let directory = tempfile::tempdir().unwrap();
        let (config, partition, segments) = small_segments(directory.path()).await;
        let end = base(&segments[3]) - 1;
        // The last batch of the third never reached the disk, nor did anything whole behind it: only names.
        let third = fs::read(&segments[2]).unwrap();
        fs::write(&segments[2], &third[..last_batch(&third)]).unwrap();
        for later in &segments[3..] {
            let content = fs::read(later).unwrap();
            fs::write(later, &content[..left]).unwrap();
        }
        let log = EmbeddedLog::open(config.clone()).unwrap();
        assert_eq!(log.latest(&partition).await.unwrap(), Offset(end));
        assert!(segments[3..].iter().all(|later| !later.exists()), "what lies behind a gap would be damage for ever");
        append(&log, &partition, end..30).await;
        log.close().await;
        let log = EmbeddedLog::open(config).unwrap();
        assert_eq!(read(&log, &partition, 0).await.unwrap(), expected(0..30));
    }
}

#[tokio::test]
async fn a_gap_before_whole_batches_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (config, partition, segments) = small_segments(directory.path()).await;
    let third = fs::read(&segments[2]).unwrap();
    fs::write(&segments[2], &third[..last_batch(&third)]).unwrap();
    // One that holds a batch, be it behind an empty one, was written after what is missing was synced.
    fs::write(&segments[3], []).unwrap();
    let log = EmbeddedLog::open(config).unwrap();
    assert_failed(log.latest(&partition).await);
    assert_failed(log.append(&partition, vec![crate::sample::record(0)]).await);
    assert!(segments.iter().all(|segment| segment.exists()));
}

#[tokio::test]
async fn a_gap_before_what_an_index_vouches_for_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config { sync: SyncPolicy::Os, segment_bytes: 300, ..Config::new(directory.path()) };
    let log = EmbeddedLog::open(config.clone()).unwrap();
    let partition = topic(&log, "events", 1).await;
    append(&log, &partition, 0..10).await;
    log.close().await;
    let folder = directory.path().join("topics/events/0");
    let mut segments: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    segments.sort();
    let first = fs::read(&segments[0]).unwrap();
    fs::remove_file(segments[0].with_extension("idx")).unwrap();
    fs::write(&segments[0], &first[..last_batch(&first)]).unwrap();
    for later in &segments[1..] {
        fs::write(later, []).unwrap();
    }
    let log = EmbeddedLog::open(config).unwrap();
    assert_failed(log.latest(&partition).await);
}
