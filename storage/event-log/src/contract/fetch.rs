//! What a fetch finds without waiting: from any offset, of many partitions, within limits, and errors one by one.

use std::time::Duration;

use super::{Subject, assert_unknown, at, beside, filled, limits, numbered, only, sized};
use crate::{Offset, TopicPartition};

pub(super) async fn cases(subject: &mut Subject<'_>) {
    reading_starts_anywhere(subject).await;
    outside_the_log_is_an_error(subject).await;
    an_error_does_not_hide_other_records(subject).await;
    a_record_above_the_limit_is_returned(subject).await;
    the_limit_bounds_an_answer(subject).await;
    unknown_partitions_are_named(subject).await;
}

async fn reading_starts_anywhere(subject: &mut Subject<'_>) {
    let partition = subject.topic("anywhere", 1).await;
    // Single records, then a batch that reading must be able to enter in the middle.
    subject.fill(&partition, 5).await;
    subject.append(&partition, (5..15).map(numbered).collect()).await;
    subject.fill(&partition, 5).await;
    for offset in 0..20 {
        if offset % 5 == 0 {
            subject.step().await;
        }
        assert_eq!(subject.read(&partition, offset).await, filled(offset..20));
    }
    assert!(subject.ask(&partition, 20).await.is_empty(), "there is nothing at the end");
}

async fn outside_the_log_is_an_error(subject: &mut Subject<'_>) {
    let partition = subject.topic("outside", 1).await;
    subject.assert_out_of_range(&partition, 1, (0, 0)).await;
    subject.fill(&partition, 6).await;
    subject.step().await;
    subject.assert_out_of_range(&partition, 7, (0, 6)).await;
    subject.assert_out_of_range(&partition, 9_000_000_000, (0, 6)).await;
    subject.log.delete_before(&partition, Offset(4)).await.expect("the records are removed");
    subject.step().await;
    subject.assert_out_of_range(&partition, 3, (4, 6)).await;
    subject.assert_out_of_range(&partition, 0, (4, 6)).await;
    subject.assert_out_of_range(&partition, 7, (4, 6)).await;
    assert_eq!(subject.read(&partition, 4).await, filled(4..6));
}

async fn an_error_does_not_hide_other_records(subject: &mut Subject<'_>) {
    let first = subject.topic("mixed", 4).await;
    let [second, third, fourth] = [1, 2, 3].map(|number| beside(&first, number));
    subject.fill(&first, 2).await;
    subject.fill(&third, 3).await;
    subject.step().await;
    let unknown = beside(&first, 4);
    let from = [at(&first, 0), at(&second, 5), at(&third, 1), at(&fourth, 0), at(&unknown, 0)];
    let answer = subject.log.fetch(&from, limits(usize::MAX, Duration::ZERO)).await.expect("the fetch is answered");
    let partitions: Vec<_> = answer.iter().map(|fetched| fetched.partition.clone()).collect();
    assert_eq!(partitions, [first, second, third, unknown], "in the order asked, without what has nothing");
    let mut results = answer.into_iter().map(|fetched| fetched.result);
    let mut next = || results.next().expect("four partitions answer");
    assert_eq!(next().expect("the first has records").records, filled(0..2));
    assert!(next().is_err());
    assert_eq!(next().expect("the third has records").records, filled(1..3));
    assert_unknown(next());
}

async fn a_record_above_the_limit_is_returned(subject: &mut Subject<'_>) {
    let partition = subject.topic("above-limit", 1).await;
    let large = sized(subject.factory.batch_bytes_max() - 1_000);
    subject.append(&partition, vec![numbered(0)]).await;
    subject.append(&partition, vec![large.clone()]).await;
    subject.append(&partition, vec![numbered(2)]).await;
    subject.step().await;
    for (offset, expected) in [(0, numbered(0)), (1, large), (2, numbered(2))] {
        let answer = subject.log.fetch(&[at(&partition, offset)], limits(1, Duration::ZERO)).await;
        let batch = only(answer.expect("the fetch is answered")).result.expect("the record is there");
        assert_eq!(batch.records.len(), 1, "one byte asks for one record");
        assert_eq!((batch.records[0].offset, &batch.records[0].record), (Offset(offset), &expected));
        assert_eq!(batch.high_watermark, Offset(3));
    }
}

async fn the_limit_bounds_an_answer(subject: &mut Subject<'_>) {
    const RECORDS: u64 = 100;
    let partition = subject.topic("bounded", 1).await;
    for _ in 0..RECORDS {
        subject.append(&partition, vec![sized(10_000)]).await;
    }
    subject.step().await;
    let mut next = 0;
    while next < RECORDS {
        let answer = subject.log.fetch(&[at(&partition, next)], limits(55_000, Duration::ZERO)).await;
        let records = only(answer.expect("the fetch is answered")).result.expect("there are records").records;
        assert!((1..=6).contains(&records.len()), "{} records of 10 kB in 55 kB", records.len());
        for stored in records {
            assert_eq!(stored.offset, Offset(next));
            next += 1;
        }
    }
}

async fn unknown_partitions_are_named(subject: &mut Subject<'_>) {
    let known = subject.topic("known", 2).await;
    let absent = TopicPartition { topic: subject.spec("absent", 1).name, partition: 0 };
    for unknown in [beside(&known, 2), beside(&known, u32::MAX), absent] {
        assert_unknown(subject.log.append(&unknown, vec![numbered(0)]).await);
        assert_unknown(subject.log.earliest(&unknown).await);
        assert_unknown(subject.log.latest(&unknown).await);
        assert_unknown(subject.log.delete_before(&unknown, Offset::ZERO).await);
        let fetched = only(subject.ask(&unknown, 0).await);
        assert_eq!(fetched.partition, unknown);
        assert_unknown(fetched.result);
        subject.step().await;
    }
    let topics = subject.log.topics().await.expect("the topics are listed");
    assert!(topics.iter().all(|topic| topic.name != subject.spec("absent", 1).name), "asking creates nothing");
}
