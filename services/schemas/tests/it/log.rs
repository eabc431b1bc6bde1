//! What stands in the topic of schemas after one start, and after several.

use std::sync::Arc;

use event_log::{MemoryLog, Record, SharedLog, TopicName, TopicPartition};
use schemas::{KeepError, Keeper, TOPIC};

use crate::{own, version};

const ONE: &str = "string id = 1;";
const TWO: &str = "string id = 1; int64 total = 2;";
const OTHER_TWO: &str = "string id = 1; string note = 2;";

fn log() -> (SharedLog, Keeper) {
    let log: SharedLog = Arc::new(MemoryLog::default());
    (log.clone(), Keeper::new(log, own()))
}

async fn count(log: &SharedLog) -> u64 {
    log.latest(&TopicPartition::new(TOPIC, 0)).await.unwrap().0
}

#[tokio::test]
async fn a_start_adds_what_is_missing_and_the_next_one_nothing() {
    let (log, keeper) = log();
    let versions = [version("orders", ONE), version("sales", TWO), version("others", ONE)];
    let history = keeper.keep(&versions, |topic| topic != "others").await.unwrap();
    assert_eq!((count(&log).await, history.all().count()), (2, 2), "others are written elsewhere");
    let again = keeper.keep(&versions, |topic| topic != "others").await.unwrap();
    assert_eq!((count(&log).await, again.all().count()), (2, 2));
    let topics = log.topics().await.unwrap();
    let topic = topics.iter().find(|topic| topic.name == TopicName::new(TOPIC)).unwrap();
    assert_eq!(topic.partitions, 1);

    let newer = [version("orders", TWO)];
    keeper.keep(&newer, |_| true).await.unwrap();
    let read = keeper.read().await.unwrap();
    assert_eq!(read.of("orders").len(), 2);
    assert_eq!(read.of("orders")[1], newer[0]);
}

#[tokio::test]
async fn a_start_that_would_break_something_is_refused_and_adds_nothing() {
    let (log, keeper) = log();
    keeper.keep(&[version("orders", TWO), version("sales", TWO)], |_| true).await.unwrap();
    let versions = [version("orders", OTHER_TWO), version("sales", ONE), version("new", ONE)];
    let refused = keeper.keep(&versions, |_| true).await.unwrap_err();
    assert!(matches!(&refused, KeepError::Incompatible(refusals) if refusals.len() == 2), "{refused}");
    let said = refused.to_string();
    for part in ["topic orders", "shop.Order.total = 2", "note", "topic sales", "reserved 2;"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(count(&log).await, 2);
    // Nor may it read what it does not understand, if others write it.
    keeper.keep(&[version("orders", OTHER_TWO)], |_| false).await.unwrap_err();
}

#[tokio::test]
async fn of_two_that_start_at_once_one_wins() {
    for _ in 0..20 {
        let (log, keeper) = log();
        let (a, b) = ([version("orders", TWO)], [version("orders", OTHER_TWO)]);
        let (a, b) = tokio::join!(keeper.keep(&a, |_| true), keeper.keep(&b, |_| true));
        assert_ne!(a.is_ok(), b.is_ok(), "exactly one of them starts");
        // Whoever comes later sees the same winner, whatever the loser left behind.
        let winner = if a.is_ok() { TWO } else { OTHER_TWO };
        keeper.keep(&[version("orders", winner)], |_| true).await.unwrap();
        assert!(count(&log).await <= 2);
    }
    let (_, keeper) = log();
    let same = [version("orders", TWO)];
    let (a, b) = tokio::join!(keeper.keep(&same, |_| true), keeper.keep(&same, |_| true));
    assert_eq!((a.unwrap().all().count(), b.unwrap().all().count()), (1, 1));
}

#[tokio::test]
async fn what_cannot_be_read_is_passed_over() {
    let (log, keeper) = log();
    keeper.keep(&[version("orders", ONE)], |_| true).await.unwrap();
    for value in [None, Some("\u{7f}nonsense".into())] {
        let record = Record { value, ..Record::default() };
        log.append(&TopicPartition::new(TOPIC, 0), vec![record]).await.unwrap();
    }
    keeper.keep(&[version("orders", TWO)], |_| true).await.unwrap();
    assert_eq!(keeper.read().await.unwrap().of("orders").len(), 2);
}
