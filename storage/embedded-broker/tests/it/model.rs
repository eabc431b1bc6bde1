//! The log beside a plain vector: random appends, reads, removals and openings must tell the same story.

use embedded_broker::{Config, EmbeddedLog, SyncPolicy};
use event_log::{Error, EventLog, Offset, Record, StoredRecord, TopicPartition};
use proptest::prelude::*;

use crate::sample::{fetch, topic};

#[derive(Debug, Clone)]
enum Step {
    /// Values of the records of one batch, as their lengths.
    Append(Vec<usize>),
    /// Read from this part of the offsets that were ever given out, in thousandths, and some beyond.
    Read { at: u64, bytes_max: usize },
    /// Remove below this part of them.
    Remove { at: u64 },
    /// Close and open; else drop and open.
    Reopen { close: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => proptest::collection::vec(0..400_usize, 1..6).prop_map(Step::Append),
        4 => (0..1_050_u64, prop_oneof![Just(1), 100..3_000_usize]).prop_map(|(at, bytes_max)| Step::Read { at, bytes_max }),
        1 => (0..1_050_u64).prop_map(|at| Step::Remove { at }),
        1 => any::<bool>().prop_map(|close| Step::Reopen { close }),
    ]
}

struct Model {
    start: u64,
    records: Vec<Record>,
}

impl Model {
    fn end(&self) -> u64 {
        self.records.len() as u64
    }

    fn offset(&self, at: u64) -> u64 {
        // Above a thousand: beyond the end.
        self.end() * at.min(1_000) / 1_000 + at.saturating_sub(1_000)
    }

    fn check_read(&self, offset: u64, bytes_max: usize, answer: Option<Result<event_log::FetchedBatch, Error>>) {
        match answer {
            None => assert_eq!(offset, self.end()),
            Some(Ok(batch)) => {
                assert!((self.start..self.end()).contains(&offset));
                assert_eq!(batch.high_watermark, Offset(self.end()));
                assert!(!batch.records.is_empty());
                for (stored, expected) in batch.records.iter().zip(offset..) {
                    let record = self.records[usize::try_from(expected).unwrap()].clone();
                    assert_eq!(*stored, StoredRecord { offset: Offset(expected), record });
                }
                let bytes: usize = batch.records.iter().map(|stored| stored.record.value.as_ref().unwrap().len()).sum();
                assert!(bytes <= bytes_max.max(5 * 400), "one batch, or as much as was asked for");
            }
            Some(Err(Error::OffsetOutOfRange { earliest, latest, .. })) => {
                assert!(!(self.start..=self.end()).contains(&offset));
                assert_eq!((earliest.0, latest.0), (self.start, self.end()));
            }
            Some(Err(other)) => panic!("{other}"),
        }
    }
}

async fn play(config: Config, steps: Vec<Step>) {
    let mut log = EmbeddedLog::open(config.clone()).unwrap();
    let partition: TopicPartition = topic(&log, "events", 1).await;
    let mut model = Model { start: 0, records: Vec::new() };
    for step in steps {
        match step {
            Step::Append(lengths) => {
                let record = |length: usize| Record {
                    value: Some(vec![u8::try_from(model.end() % 251).unwrap(); length].into()),
                    timestamp_ms: length as i64,
                    ..Record::default()
                };
                let records: Vec<Record> = lengths.into_iter().map(record).collect();
                assert_eq!(log.append(&partition, records.clone()).await.unwrap(), Offset(model.end()));
                model.records.extend(records);
            }
            Step::Read { at, bytes_max } => {
                let offset = model.offset(at);
                model.check_read(offset, bytes_max, fetch(&log, &partition, offset, bytes_max).await);
            }
            Step::Remove { at } => {
                let offset = model.offset(at);
                match log.delete_before(&partition, Offset(offset)).await {
                    Ok(()) => model.start = model.start.max(offset),
                    Err(Error::OffsetOutOfRange { .. }) => assert!(offset > model.end()),
                    Err(other) => panic!("{other}"),
                }
            }
            Step::Reopen { close } => {
                if close {
                    log.close().await;
                }
                drop(log);
                log = EmbeddedLog::open(config.clone()).unwrap();
            }
        }
        assert_eq!(log.earliest(&partition).await.unwrap(), Offset(model.start));
        assert_eq!(log.latest(&partition).await.unwrap(), Offset(model.end()));
    }
    let mut next = model.start;
    while next < model.end() {
        let batch = fetch(&log, &partition, next, 4_000).await;
        let read = batch.as_ref().unwrap().as_ref().unwrap().records.len() as u64;
        model.check_read(next, 4_000, batch);
        next += read;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn log_agrees_with_a_vector(
        steps in proptest::collection::vec(step(), 1..60),
        group in any::<bool>(),
        segment_bytes in prop_oneof![Just(1), 500..5_000_u64, Just(1 << 20)],
        tail_cache_bytes in prop_oneof![Just(0), 500..10_000_usize, Just(1 << 20)],
        open_files_max in 1..4_usize,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let sync = if group { SyncPolicy::Group } else { SyncPolicy::Os };
        let config = Config { sync, segment_bytes, tail_cache_bytes, open_files_max, ..Config::new(directory.path()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(config, steps));
    }
}
