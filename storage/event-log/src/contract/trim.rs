//! What removing records does: for good, only below the offset named, and never to the offsets that come next.

use super::{Subject, assert_out_of_range, at, filled, limits, numbered, only};
use crate::{Offset, TopicPartition};

pub(super) async fn cases(subject: &mut Subject<'_>) {
    removed_records_stay_removed(subject).await;
    an_empty_log_keeps_its_offsets(subject).await;
    a_batch_can_be_removed_in_part(subject).await;
    the_end_cannot_be_passed(subject).await;
    a_waiting_reader_stays_at_the_end(subject).await;
}

async fn remove(subject: &Subject<'_>, partition: &TopicPartition, offset: u64) {
    subject.log.delete_before(partition, Offset(offset)).await.expect("the records are removed");
}

async fn removed_records_stay_removed(subject: &mut Subject<'_>) {
    let partition = subject.topic("removed", 1).await;
    subject.fill(&partition, 10).await;
    // Forward, again, and backward: the start only moves up.
    for (offset, start) in [(0, 0), (4, 4), (4, 4), (2, 4), (0, 4), (7, 7)] {
        subject.step().await;
        remove(subject, &partition, offset).await;
        subject.step().await;
        assert_eq!(subject.earliest(&partition).await, Offset(start));
        assert_eq!(subject.latest(&partition).await, Offset(10));
        assert_eq!(subject.read(&partition, start).await, filled(start..10));
        if start > 0 {
            subject.assert_out_of_range(&partition, start - 1, (start, 10)).await;
        }
    }
    subject.fill(&partition, 2).await;
    assert_eq!(subject.read(&partition, 7).await, filled(7..12));
}

async fn an_empty_log_keeps_its_offsets(subject: &mut Subject<'_>) {
    let partition = subject.topic("emptied", 1).await;
    let mut end = 0;
    for count in [1, 5, 3] {
        subject.fill(&partition, count).await;
        end += count;
        subject.step().await;
        remove(subject, &partition, end).await;
        subject.step().await;
        assert_eq!(subject.earliest(&partition).await, Offset(end));
        assert_eq!(subject.latest(&partition).await, Offset(end));
        assert!(subject.ask(&partition, end).await.is_empty());
        subject.assert_out_of_range(&partition, end - 1, (end, end)).await;
    }
    subject.step().await;
    assert_eq!(subject.append(&partition, vec![numbered(end)]).await, Offset(end));
    assert_eq!(subject.read(&partition, end).await, filled(end..end + 1));
}

async fn a_batch_can_be_removed_in_part(subject: &mut Subject<'_>) {
    let partition = subject.topic("in-part", 1).await;
    subject.append(&partition, (0..10).map(numbered).collect()).await;
    subject.fill(&partition, 2).await;
    subject.step().await;
    remove(subject, &partition, 6).await;
    subject.step().await;
    assert_eq!(subject.read(&partition, 6).await, filled(6..12));
    subject.assert_out_of_range(&partition, 5, (6, 12)).await;
}

async fn the_end_cannot_be_passed(subject: &mut Subject<'_>) {
    let partition = subject.topic("passed", 1).await;
    let refused = subject.log.delete_before(&partition, Offset(1)).await;
    assert_out_of_range(refused, &partition, 1, (0, 0));
    subject.fill(&partition, 3).await;
    remove(subject, &partition, 1).await;
    subject.step().await;
    for beyond in [4, u64::MAX] {
        let refused = subject.log.delete_before(&partition, Offset(beyond)).await;
        assert_out_of_range(refused, &partition, beyond, (1, 3));
        subject.step().await;
    }
    assert_eq!(subject.read(&partition, 1).await, filled(1..3));
}

async fn a_waiting_reader_stays_at_the_end(subject: &mut Subject<'_>) {
    let partition = subject.topic("trimmed-wait", 1).await;
    subject.fill(&partition, 3).await;
    let (log, from) = (subject.log.clone(), [at(&partition, 3)]);
    let fetch = tokio::spawn(async move { log.fetch(&from, limits(usize::MAX, super::PATIENCE * 2)).await });
    tokio::task::yield_now().await;
    remove(subject, &partition, 3).await;
    subject.fill(&partition, 1).await;
    let answer = super::within(fetch).await.expect("the fetch does not panic").expect("the fetch is answered");
    assert_eq!(only(answer).result.expect("there is a record").records, filled(3..4));
    subject.step().await;
}
