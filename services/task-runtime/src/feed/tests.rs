//! Readers of a feed see each event once, in order, wherever and whenever they begin, and slow ones cost nothing.

mod late;

use std::collections::BTreeMap;
use std::time::Duration;

use event_log::{Cleanup, EventLog, MemoryLog, Record, TopicPartition, TopicSpec};

use super::*;
use crate::{SOURCE_HEADER, Source};

const LIFE: u128 = 7;

/// A topic with one partition, to which the test writes as the task does.
struct Topic {
    log: MemoryLog,
    feed: Feed,
}

impl Topic {
    async fn new(config: FeedConfig) -> Self {
        Self::decoded(config, decode).await
    }

    async fn decoded(config: FeedConfig, decode: Decode) -> Self {
        let log = MemoryLog::new();
        let spec = TopicSpec { name: "events".into(), partitions: 1, cleanup: Cleanup::Never };
        log.ensure_topic(&spec).await.unwrap();
        let feeds = Feeds::new(Arc::new(log.clone()), 1, config);
        Self { log, feed: feeds.of("maker", "events", decode) }
    }

    /// Sends the records of these numbers, each about key `k<number % 3>`.
    async fn send(&self, sequences: impl IntoIterator<Item = u64>) {
        self.send_as(LIFE, sequences).await;
    }

    async fn send_as(&self, incarnation: u128, sequences: impl IntoIterator<Item = u64>) {
        for sequence in sequences {
            let source = Source { task: "maker/0", incarnation, sequence }.to_value();
            let record = Record {
                key: Some(format!("k{}", sequence % 3).into()),
                value: Some(sequence.to_string().into()),
                headers: vec![event_log::Header::new(SOURCE_HEADER, source)],
                timestamp_ms: 0,
            };
            self.log.append(&at(), vec![record]).await.unwrap();
        }
    }

    async fn read(&self, sequence: u64, offset: u64, interest: Interest) -> Subscription {
        self.feed.subscribe(0, position(sequence, offset), interest).await.unwrap()
    }
}

fn at() -> TopicPartition {
    TopicPartition::new("events", 0)
}

fn position(sequence: u64, offset: u64) -> FeedPosition {
    FeedPosition { incarnation: LIFE, sequence, offset }
}

/// Numbers are bodies; every tenth is invisible; odd and even are classes.
fn decode(record: &Record, place: Place) -> Option<Content> {
    let sequence = place.sequence;
    let class = u32::from(sequence % 2 == 1);
    (!sequence.is_multiple_of(10)).then(|| Content { group: Bytes::new(), class, body: record.value.clone().unwrap() })
}

/// Takes until `count` events are there. Returns their numbers and the position behind them.
async fn take(reader: &mut Subscription, count: usize) -> (Vec<u64>, FeedPosition) {
    let taking = async {
        let mut seen = Vec::new();
        loop {
            reader.changed().await;
            let taken = reader.take(u64::MAX, 1 << 20).await.unwrap();
            seen.extend(taken.events.iter().map(|event| event.sequence));
            if seen.len() >= count {
                return (seen, taken.position);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), taking).await.unwrap()
}

#[tokio::test]
async fn readers_see_everything_behind_their_position_once() {
    let topic = Topic::new(FeedConfig::default()).await;
    topic.send(1..=5).await;
    let mut all = topic.read(0, 0, Interest::default()).await;
    let mut late = topic.read(3, 3, Interest::default()).await;
    assert_eq!(take(&mut all, 5).await, (vec![1, 2, 3, 4, 5], position(5, 5)));
    assert_eq!(take(&mut late, 2).await.0, [4, 5]);
    // The sender came back after a crash and sent again what it had sent.
    topic.send([4, 5, 6, 7]).await;
    assert_eq!(take(&mut all, 2).await, (vec![6, 7], position(7, 9)));
    assert_eq!(take(&mut late, 2).await.0, [6, 7]);
}

#[tokio::test]
async fn a_repeat_that_lands_late_is_no_gap_for_who_begins_at_it() {
    let topic = Topic::new(FeedConfig::default()).await;
    topic.send(1..=5).await;
    let mut begins_at_repeat = topic.read(5, 5, Interest::default()).await;
    assert!(begins_at_repeat.take(u64::MAX, 1).await.unwrap().events.is_empty());
    topic.send([2, 6, 7]).await;
    assert_eq!(take(&mut begins_at_repeat, 2).await, (vec![6, 7], position(7, 8)));
}

#[tokio::test]
async fn a_position_that_is_not_true_ends_its_reader_and_nobody_else() {
    for made_up in [position(0, 5), position(u64::MAX, 5), position(u64::MAX - 1, 5)] {
        let topic = Topic::new(FeedConfig::default()).await;
        topic.send(1..=5).await;
        let mut liar = topic.feed.subscribe(0, made_up, Interest::default()).await.unwrap();
        assert!(liar.take(u64::MAX, 1).await.unwrap().events.is_empty());
        let mut honest = topic.read(5, 5, Interest::default()).await;
        topic.send([6]).await;
        assert_eq!(take(&mut honest, 1).await.0, [6], "{made_up:?}");
        topic.send([7]).await;
        assert_eq!(take(&mut honest, 1).await, (vec![7], position(7, 7)), "{made_up:?}");
        if made_up.sequence == 0 {
            liar.changed().await;
            assert!(matches!(liar.take(u64::MAX, 1).await, Err(FeedError::Expired { earliest: 5 })));
        }
    }
}

#[tokio::test]
async fn a_reader_sees_what_it_asked_for_and_its_position_moves_past_the_rest() {
    let topic = Topic::new(FeedConfig::default()).await;
    let of_key = Interest { key: Some("k1".into()), ..Interest::default() };
    let odd_of_key = Interest { class: Some(1), ..of_key.clone() };
    let mut of_key = topic.read(0, 0, of_key).await;
    let mut odd_of_key = topic.read(0, 0, odd_of_key).await;
    assert!(of_key.take(u64::MAX, 1).await.unwrap().events.is_empty());
    assert!(odd_of_key.take(u64::MAX, 1).await.unwrap().events.is_empty());
    topic.send(1..=11).await;
    assert_eq!(take(&mut of_key, 3).await.0, [1, 4, 7]);
    assert_eq!(take(&mut odd_of_key, 2).await.0, [1, 7]);
    of_key.passed(11).await;
    let taken = of_key.take(u64::MAX, 1).await.unwrap();
    assert_eq!((taken.events.len(), taken.position), (0, position(11, 11)));
}

#[tokio::test]
async fn a_state_that_is_ahead_of_the_log_is_no_gap_for_others() {
    let topic = Topic::new(FeedConfig::default()).await;
    topic.send(1..=2).await;
    // A snapshot accounts for 4 records, of which 2 are in the log.
    let mut ahead = topic.read(4, 2, Interest::default()).await;
    assert!(ahead.take(u64::MAX, 1).await.unwrap().events.is_empty());
    let mut behind = topic.read(2, 2, Interest::default()).await;
    topic.send(3..=6).await;
    assert_eq!(take(&mut ahead, 2).await, (vec![5, 6], position(6, 6)));
    assert_eq!(take(&mut behind, 4).await.0, [3, 4, 5, 6]);
}

#[tokio::test]
async fn a_reader_stops_at_the_number_it_names() {
    let topic = Topic::new(FeedConfig::default()).await;
    let mut reader = topic.read(0, 0, Interest::default()).await;
    assert!(reader.take(u64::MAX, 1).await.unwrap().events.is_empty());
    topic.send(1..=5).await;
    reader.passed(5).await;
    let taken = reader.take(3, 1 << 20).await.unwrap();
    assert_eq!((taken.events.len(), taken.position), (3, position(3, 3)));
    assert_eq!(take(&mut reader, 2).await.0, [4, 5]);
}

#[tokio::test]
async fn who_stops_before_a_record_that_nobody_sees_goes_on_from_there_without_a_gap() {
    // In memory, and far enough behind that the reader reads the log by itself.
    for (records, alone) in [(12, false), (2_000, true)] {
        let topic = Topic::new(FeedConfig::default()).await;
        topic.send(1..=records).await;
        let mut ahead = topic.read(records, records, Interest::default()).await;
        if alone {
            assert!(ahead.take(u64::MAX, 1).await.unwrap().events.is_empty(), "now it is read for by others");
        }
        let mut reader = topic.read(0, 0, Interest::default()).await;
        let mut seen = Vec::new();
        let at = loop {
            reader.passed(9).await;
            let taken = reader.take(9, 1).await.unwrap();
            seen.extend(taken.events.iter().map(|event| event.sequence));
            if taken.position.sequence >= 9 {
                break taken.position;
            }
            // Wherever it stops, another may go on.
            reader = topic.read(taken.position.sequence, taken.position.offset, Interest::default()).await;
        };
        assert_eq!((seen, at), ((1..=9).collect(), position(9, 9)), "record 10 stands at offset 9");
        drop((reader, ahead));
        let mut next = topic.read(at.sequence, at.offset, Interest::default()).await;
        assert_eq!(take(&mut next, 2).await.0[..2], [11, 12]);
    }
}

#[tokio::test]
async fn a_slow_reader_is_cut_off_and_gives_back_what_it_held() {
    let topic = Topic::new(FeedConfig { ring_bytes: 4_000, ..FeedConfig::default() }).await;
    let mut slow = topic.read(0, 0, Interest::default()).await;
    let held = Arc::new(());
    slow.hold(held.clone());
    let mut idle = topic.read(0, 0, Interest { key: Some("nobody".into()), ..Interest::default() }).await;
    let mut quick = topic.read(0, 0, Interest::default()).await;
    for reader in [&mut slow, &mut idle, &mut quick] {
        assert!(reader.take(u64::MAX, 1).await.unwrap().events.is_empty());
    }
    for number in 1..=201 {
        topic.send([number]).await;
        if number % 10 != 0 {
            assert_eq!(take(&mut quick, 1).await.0, [number]);
        }
    }
    assert_eq!(Arc::strong_count(&held), 1, "it is told before it asks");
    slow.changed().await;
    assert!(matches!(slow.take(u64::MAX, 1).await, Err(FeedError::Behind)));
    // Nothing was for this one, so that it has missed nothing.
    assert_eq!(idle.take(u64::MAX, 1).await.unwrap().position, position(201, 201));
    assert!(topic.feed.channel(0).unwrap().ring().covers(&position(200, 200)));
    drop((slow, idle, quick));
    assert!(topic.feed.channel(0).unwrap().ring().position().is_none(), "without readers nothing is read");
}

#[tokio::test]
async fn old_positions_are_read_alone_until_they_meet_the_others() {
    let config = FeedConfig { ring_bytes: 2_000, fetch_bytes: 500, catch_ups_max: 1 };
    let topic = Topic::new(config).await;
    topic.send(1..=3_000).await;
    let mut new = topic.read(3_000, 3_000, Interest::default()).await;
    assert!(new.take(u64::MAX, 1).await.unwrap().events.is_empty());
    let mut readers = BTreeMap::new();
    for offset in [0, 1_234, 2_995] {
        readers.insert(offset, topic.read(offset, offset, Interest::default()).await);
    }
    topic.send(3_001..=3_005).await;
    for (offset, reader) in &mut readers {
        let wanted: Vec<u64> = (offset + 1..=3_005).filter(|number| number % 10 != 0).collect();
        assert_eq!(take(reader, wanted.len()).await.0, wanted, "from {offset}");
    }
    assert_eq!(take(&mut new, 5).await.0, [3_001, 3_002, 3_003, 3_004, 3_005]);
}

#[tokio::test]
async fn positions_that_the_log_does_not_have_are_refused() {
    let topic = Topic::new(FeedConfig::default()).await;
    topic.send(1..=5).await;
    topic.log.delete_before(&at(), Offset(3)).await.unwrap();
    for offset in [2, 6] {
        let refused = topic.feed.subscribe(0, position(offset, offset), Interest::default()).await;
        assert!(matches!(refused, Err(FeedError::Expired { earliest: 3 })), "{refused:?}");
    }
    assert!(topic.feed.subscribe(1, position(0, 0), Interest::default()).await.is_err());
}

#[tokio::test]
async fn readers_end_when_numbers_are_missing_or_a_new_life_begins() {
    let topic = Topic::new(FeedConfig::default()).await;
    topic.send([1, 2, 5]).await;
    let mut reader = topic.read(0, 0, Interest::default()).await;
    let ended = async |reader: &mut Subscription| loop {
        reader.changed().await;
        if let Err(error) = reader.take(u64::MAX, 1 << 20).await {
            return error;
        }
    };
    assert!(matches!(ended(&mut reader).await, FeedError::Expired { earliest: 2 }));
    let mut reader = topic.read(5, 3, Interest::default()).await;
    topic.send_as(LIFE + 1, [1]).await;
    assert!(matches!(ended(&mut reader).await, FeedError::AnotherLife));
}
