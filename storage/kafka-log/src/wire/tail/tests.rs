//! The tail of a partition and the session of a group, without a broker.

use event_log::{Offset, Record, StoredRecord};
use kafka_protocol::messages::FetchRequest;
use tokio::time::{Duration, Instant, advance};

use super::partition::Tail;
use super::session::Session;
use super::*;
use crate::wire::batches::Read;

fn records(offsets: std::ops::Range<u64>) -> Vec<StoredRecord> {
    let record = |offset: u64| Record { value: Some(offset.to_string().into()), ..Record::default() };
    offsets.map(|offset| StoredRecord { offset: Offset(offset), record: record(offset) }).collect()
}

fn large(offset: u64) -> Vec<StoredRecord> {
    let record = Record { value: Some(vec![0; 100_000].into()), ..Record::default() };
    vec![StoredRecord { offset: Offset(offset), record }]
}

fn offsets(batch: Option<FetchedBatch>) -> Vec<u64> {
    batch.map_or_else(Vec::new, |batch| batch.records.iter().map(|stored| stored.offset.0).collect())
}

fn tail(at: u64) -> Tail {
    Tail::new(Group::still("broker:1"), Offset(at), Instant::now())
}

fn take(tail: &mut Tail, records: Vec<StoredRecord>) {
    let next = records.last().expect("there are some").offset.next();
    tail.take(records, next, (next, Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn readers_find_what_follows_their_offset_whatever_the_answers_were() {
    let mut tail = tail(10);
    take(&mut tail, records(10..13));
    take(&mut tail, records(13..14));
    take(&mut tail, records(14..20));
    for offset in 10..20 {
        assert!(tail.covers(Offset(offset)));
        assert_eq!(offsets(tail.from(Offset(offset), usize::MAX)), (offset..20).collect::<Vec<_>>());
    }
    assert!(tail.covers(Offset(20)) && tail.from(Offset(20), usize::MAX).is_none(), "there is nothing at the end yet");
    assert!(!tail.covers(Offset(9)) && !tail.covers(Offset(21)), "what is further back or beyond is for others to say");
    assert_eq!(offsets(tail.from(Offset(11), 1)), [11], "one record is given, however large");
}

#[tokio::test(start_paused = true)]
async fn a_hole_at_the_end_is_passed_and_gives_nobody_records() {
    let mut tail = tail(0);
    tail.take(Vec::new(), Offset(5), (Offset(5), Instant::now()));
    take(&mut tail, records(7..9));
    assert_eq!(tail.next(), Offset(9));
    assert_eq!(offsets(tail.from(Offset(2), usize::MAX)), [7, 8]);
}

#[tokio::test(start_paused = true)]
async fn a_tail_waits_for_its_readers_before_it_grows_without_bound() {
    let mut tail = tail(0);
    let mut offset = 0;
    while tail.wanted().is_some() {
        take(&mut tail, large(offset));
        offset += 1;
        assert!(offset < 10, "half a megabyte is enough");
    }
    assert_eq!(offsets(tail.from(Offset(0), usize::MAX)).len() as u64, offset, "nothing unread is let go of");
    assert!(!tail.asked(Offset(0), Instant::now()), "a reader that has read nothing changes nothing");
    assert!(tail.asked(Offset(1), Instant::now()), "one that goes on lets the tail go on");
    assert_eq!(tail.wanted(), Some(Offset(offset)));
}

#[tokio::test(start_paused = true)]
async fn what_the_first_reader_has_read_is_kept_a_while_for_the_others() {
    let mut tail = tail(0);
    take(&mut tail, records(0..2));
    tail.asked(Offset(2), Instant::now());
    tail.let_go(Instant::now());
    assert_eq!(offsets(tail.from(Offset(0), usize::MAX)), [0, 1]);
    advance(Duration::from_secs(3)).await;
    take(&mut tail, records(2..3));
    assert!(!tail.covers(Offset(1)), "a slow reader has to ask for itself");
    assert_eq!(offsets(tail.from(Offset(2), usize::MAX)), [2]);
    advance(Duration::from_secs(3)).await;
    tail.let_go(Instant::now());
    assert_eq!(offsets(tail.from(Offset(2), usize::MAX)), [2], "what nobody has read stays");
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_kept_within_bounds() {
    let mut tail = tail(0);
    for offset in 0..100 {
        take(&mut tail, large(offset));
        tail.asked(Offset(offset + 1), Instant::now());
    }
    let kept = (0..100).filter(|offset| tail.covers(Offset(*offset))).count();
    assert!((8..=12).contains(&kept), "a megabyte of records of 100 kB, not {kept}");
}

#[tokio::test(start_paused = true)]
async fn what_the_log_has_removed_is_not_given_to_anybody() {
    let mut tail = tail(0);
    take(&mut tail, records(0..5));
    tail.remove_below(Offset(3));
    assert!(!tail.covers(Offset(2)));
    assert_eq!(offsets(tail.from(Offset(3), usize::MAX)), [3, 4]);
    tail.remove_below(Offset(9));
    assert_eq!((tail.next(), tail.covers(Offset(5))), (Offset(5), true), "the end is the broker's to tell");
}

#[tokio::test(start_paused = true)]
async fn a_reader_ahead_of_the_tail_waits_for_it() {
    let mut tail = tail(4);
    tail.exists_up_to(Offset(6));
    assert!(tail.covers(Offset(6)) && tail.from(Offset(6), usize::MAX).is_none());
    take(&mut tail, records(4..8));
    assert_eq!(offsets(tail.from(Offset(6), usize::MAX)), [6, 7]);
}

fn asked(session: &mut Session, wanted: &[(u32, Option<u64>)]) -> (FetchRequest, Vec<(i32, i64)>, Vec<i32>) {
    let wanted = wanted.iter().map(|(number, from)| (TopicPartition::new("orders", *number), from.map(Offset)));
    let request = session.add_to(FetchRequest::default(), wanted.collect(), 1_000);
    let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
    let partitions = partitions.map(|wanted| (wanted.partition, wanted.fetch_offset)).collect();
    let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| topic.partitions.clone()).collect();
    (request, partitions, forgotten)
}

#[test]
fn a_session_names_only_what_has_changed() {
    let mut session = Session::default();
    let (request, partitions, _) = asked(&mut session, &[(0, Some(5)), (1, Some(7)), (2, None)]);
    assert_eq!((request.session_id, request.session_epoch), (0, 0), "it begins with everything");
    assert_eq!(partitions, [(0, 5), (1, 7)]);
    session.answered(42);
    let (request, partitions, forgotten) = asked(&mut session, &[(0, Some(6)), (1, Some(7)), (2, None)]);
    assert_eq!((request.session_id, request.session_epoch), (42, 1));
    assert_eq!((partitions, forgotten), (vec![(0, 6)], vec![]), "the broker remembers the rest");
    session.answered(42);
    let (request, partitions, forgotten) = asked(&mut session, &[(0, None), (2, Some(1))]);
    assert_eq!(request.session_epoch, 2);
    assert_eq!((partitions, forgotten), (vec![(2, 1)], vec![0]), "what is not wanted any more is said once");
    assert_eq!(asked(&mut session, &[(0, None)]).2, [0; 0]);
}

#[test]
fn a_session_that_the_broker_has_lost_or_never_kept_begins_with_everything() {
    for lost in [true, false] {
        let mut session = Session::default();
        asked(&mut session, &[(0, Some(5))]);
        session.answered(if lost { 42 } else { 0 });
        if lost {
            session.lost();
        }
        assert!(session.is_new());
        let (request, partitions, _) = asked(&mut session, &[(0, Some(5)), (1, Some(7))]);
        assert_eq!((request.session_id, request.session_epoch), (0, 0));
        assert_eq!(partitions, [(0, 5), (1, 7)]);
    }
}

/// A partition in its first group, with requests of both of its groups under way, of which one waits for it.
fn followed() -> (State, TopicPartition, [Group; 2]) {
    let partition = TopicPartition::new("orders", 5);
    let still = Group::still("broker:1");
    let moving = still.moving();
    let mut state = State::default();
    state.tails.insert(partition.clone(), Tail::new(still.clone(), Offset(0), Instant::now()));
    assert_eq!(state.wanted(&still, true), [(partition.clone(), Some(Offset(0)))]);
    assert_eq!(state.wanted(&moving, true), []);
    (state, partition, [still, moving])
}

fn bring(state: &mut State, group: &Group, partition: &TopicPartition, offsets: std::ops::Range<u64>) {
    let (from, next) = (Offset(offsets.start), Offset(offsets.end));
    let read = Read { records: records(offsets), next };
    state.absorb(group, (partition, from), Some((next, read)), Instant::now());
}

#[tokio::test(start_paused = true)]
async fn a_partition_goes_to_the_group_of_those_that_move_and_back_and_is_always_asked_for() {
    let (mut state, partition, [still, moving]) = followed();
    let wants = |offset| vec![(partition.clone(), offset)];
    bring(&mut state, &still, &partition, 0..1);
    assert_eq!(state.wanted(&still, false), wants(Some(Offset(1))), "one answer is not moving");
    advance(Duration::from_millis(500)).await;
    bring(&mut state, &still, &partition, 1..2);
    assert_eq!(state.wanted(&still, false), wants(Some(Offset(2))), "as long as nobody else asks for it");
    assert!(state.tails[&partition].is_followed());
    assert_eq!(state.wanted(&moving, false), wants(Some(Offset(2))));
    assert_eq!(state.wanted(&still, false), wants(None), "now somebody does");
    bring(&mut state, &moving, &partition, 2..3);
    assert_eq!(state.wanted(&moving, false), wants(Some(Offset(3))));
    advance(STILL_AFTER + SWEEP).await;
    state.sweep(Instant::now());
    assert_eq!(state.wanted(&moving, false), []);
    assert_eq!(state.wanted(&still, false), wants(Some(Offset(3))), "it lies still again");
    assert_eq!(state.wanted(&moving, false), wants(None));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_the_partition_has_gone_elsewhere_is_not_taken() {
    let (mut state, partition, [still, moving]) = followed();
    bring(&mut state, &still, &partition, 0..1);
    bring(&mut state, &still, &partition, 1..2);
    assert_eq!(state.wanted(&still, false), [(partition.clone(), Some(Offset(2)))]);
    assert_eq!(state.wanted(&moving, false), [(partition.clone(), Some(Offset(2)))]);
    bring(&mut state, &still, &partition, 2..3);
    bring(&mut state, &moving, &partition, 2..4);
    assert_eq!(offsets(state.tails[&partition].from(Offset(0), usize::MAX)), [0, 1, 2, 3]);
    assert_eq!(state.wanted(&moving, false), [(partition.clone(), Some(Offset(4)))]);
    assert_eq!(state.wanted(&still, false), [(partition.clone(), None)]);
}

#[tokio::test(start_paused = true)]
async fn a_group_whose_request_fails_takes_those_along_that_are_leaving_it() {
    let (mut state, partition, [still, _]) = followed();
    bring(&mut state, &still, &partition, 0..1);
    bring(&mut state, &still, &partition, 1..2);
    state.forget_all(&still);
    assert!(state.tails.is_empty(), "nobody asks for it: its readers must do so themselves");
}
