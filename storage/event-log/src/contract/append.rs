//! What an append promises: dense offsets, whole batches, and records that come back as they were written.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Subject, beside, filled, numbered, sized, within};
use crate::{Error, Header, Offset, Record};

pub(super) async fn cases(subject: &mut Subject<'_>) {
    offsets_are_dense_and_read_back(subject).await;
    batches_are_consecutive(subject).await;
    partitions_do_not_share_offsets(subject).await;
    records_come_back_as_written(subject).await;
    too_large_is_refused_whole(subject).await;
    nothing_to_append_is_refused(subject).await;
    concurrent_appenders_get_distinct_offsets(subject).await;
    dropped_appends_leave_whole_batches(subject).await;
}

async fn offsets_are_dense_and_read_back(subject: &mut Subject<'_>) {
    let partition = subject.topic("dense", 1).await;
    assert_eq!(subject.earliest(&partition).await, Offset::ZERO);
    assert_eq!(subject.latest(&partition).await, Offset::ZERO);
    subject.step().await;
    for offset in 0..10 {
        assert_eq!(subject.append(&partition, vec![numbered(offset)]).await, Offset(offset));
        assert_eq!(subject.latest(&partition).await, Offset(offset + 1), "an acknowledged record can be read");
        subject.step().await;
        assert_eq!(subject.read(&partition, offset).await, filled(offset..offset + 1));
    }
    assert_eq!(subject.read(&partition, 0).await, filled(0..10));
    assert_eq!(subject.earliest(&partition).await, Offset::ZERO);
}

async fn batches_are_consecutive(subject: &mut Subject<'_>) {
    let partition = subject.topic("batches", 1).await;
    let mut next = 0;
    for count in [1, 5, 2, 300, 1] {
        let records = (next..next + count).map(numbered).collect();
        assert_eq!(subject.append(&partition, records).await, Offset(next));
        next += count;
        subject.step().await;
        assert_eq!(subject.latest(&partition).await, Offset(next));
    }
    assert_eq!(subject.read(&partition, 0).await, filled(0..next));
}

async fn partitions_do_not_share_offsets(subject: &mut Subject<'_>) {
    let first = subject.topic("separate", 3).await;
    for number in 0..3 {
        subject.fill(&beside(&first, number), u64::from(number) + 1).await;
        subject.step().await;
    }
    for number in 0..3 {
        let records = subject.read(&beside(&first, number), 0).await;
        assert_eq!(records, filled(0..u64::from(number) + 1));
    }
}

/// Every shape of key, value, header and timestamp.
fn shapes() -> Vec<Record> {
    let some = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let mut shapes = vec![
        Record::default(),
        Record { key: some(""), value: some(""), ..Record::default() },
        Record { key: some("key"), value: None, ..Record::default() },
        Record { key: None, value: some("value"), ..Record::default() },
        Record { key: some(""), value: None, ..Record::default() },
        Record { key: Some(Bytes::from_static(&[0, 255, 128])), value: some("not text as key"), ..Record::default() },
    ];
    let headers = vec![
        Header::new("b", "1"),
        Header::new("a", "2"),
        Header::new("b", "3"),
        Header::new("b", "1"),
        Header::new("empty", ""),
        Header::new("", "nameless"),
        Header::new("binary", vec![0_u8, 255, 10, 13]),
    ];
    shapes.push(Record { key: some("headers"), value: some("many"), headers, timestamp_ms: 5 });
    for timestamp_ms in [0, -1, 1, -62_135_596_800_000, 253_402_300_799_999, 1_763_700_000_000] {
        shapes.push(Record { value: some("timed"), timestamp_ms, ..Record::default() });
    }
    shapes
}

async fn records_come_back_as_written(subject: &mut Subject<'_>) {
    let partition = subject.topic("shapes", 1).await;
    let mut shapes = shapes();
    if subject.factory.headers_are_a_map() {
        for record in &mut shapes {
            // Both are stable: of one name, the first stays the first.
            record.headers.sort_by(|a, b| a.name.cmp(&b.name));
            record.headers.dedup_by(|b, a| a.name == b.name);
        }
    }
    for record in &shapes {
        subject.append(&partition, vec![record.clone()]).await;
    }
    subject.append(&partition, shapes.clone()).await;
    for _ in 0..2 {
        let read: Vec<Record> = subject.read(&partition, 0).await.into_iter().map(|stored| stored.record).collect();
        let (single, batch) = read.split_at(shapes.len());
        assert_eq!(single, shapes);
        assert_eq!(batch, shapes);
        subject.step().await;
    }
}

async fn too_large_is_refused_whole(subject: &mut Subject<'_>) {
    let partition = subject.topic("too-large", 1).await;
    let limit = subject.factory.batch_bytes_max();
    subject.fill(&partition, 1).await;
    for records in [vec![sized(limit + 1)], vec![numbered(1), sized(limit)], vec![sized(limit / 2); 3]] {
        let refused = subject.log.append(&partition, records).await;
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "must be too large: {refused:?}");
        subject.step().await;
        assert_eq!(subject.latest(&partition).await, Offset(1));
    }
    subject.fill(&partition, 1).await;
    assert_eq!(subject.read(&partition, 0).await, filled(0..2));
}

async fn nothing_to_append_is_refused(subject: &mut Subject<'_>) {
    let partition = subject.topic("nothing", 1).await;
    let refused = subject.log.append(&partition, Vec::new()).await;
    assert!(matches!(refused, Err(Error::Failed(_))), "must be refused: {refused:?}");
    subject.step().await;
    assert_eq!(subject.latest(&partition).await, Offset::ZERO);
}

async fn concurrent_appenders_get_distinct_offsets(subject: &mut Subject<'_>) {
    const APPENDERS: u64 = 8;
    const APPENDS: u64 = 25;
    let partition = subject.topic("concurrent", 1).await;
    let mut jobs = Vec::new();
    for appender in 0..APPENDERS {
        let (log, partition) = (subject.log.clone(), partition.clone());
        jobs.push(tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for append in 0..APPENDS {
                let number = appender * APPENDS + append;
                // Batches of one to three records, each of the same content, so that a torn batch would show.
                let records = vec![numbered(number); 1 + usize::try_from(number % 3).expect("below 3")];
                let count = records.len() as u64;
                let base = log.append(&partition, records).await.expect("the records are appended").0;
                acknowledged.extend((base..base + count).map(|offset| (offset, number)));
            }
            acknowledged
        }));
    }
    let mut expected = BTreeMap::new();
    for job in jobs {
        for (offset, number) in within(job).await.expect("the appender does not panic") {
            assert_eq!(expected.insert(offset, number), None, "offset {offset} was given out twice");
        }
    }
    subject.step().await;
    let read = subject.read(&partition, 0).await;
    assert_eq!(read.len(), expected.len());
    for (stored, (offset, number)) in read.iter().zip(expected) {
        assert_eq!((stored.offset, &stored.record), (Offset(offset), &numbered(number)));
    }
}

async fn dropped_appends_leave_whole_batches(subject: &mut Subject<'_>) {
    let partition = subject.topic("dropped-append", 1).await;
    for _ in 0..5 {
        let append = subject.log.append(&partition, vec![numbered(7); 3]);
        // One poll and no more: the append may or may not have happened, as a whole.
        drop(tokio::time::timeout(std::time::Duration::ZERO, append).await);
        subject.step().await;
    }
    let base = subject.append(&partition, vec![numbered(8)]).await;
    assert_eq!(base.0 % 3, 0, "batches are all or nothing");
    subject.step().await;
    let read = subject.read(&partition, 0).await;
    let (others, own): (Vec<_>, Vec<_>) = read.iter().partition(|stored| stored.offset != base);
    assert_eq!(own.len(), 1);
    assert_eq!(own[0].record, numbered(8));
    // What was dropped may also land later, behind what was appended since.
    assert_eq!(others.len() % 3, 0, "batches are all or nothing");
    assert!(others.iter().all(|stored| stored.record == numbered(7)));
}
