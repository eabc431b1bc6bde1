//! A log whose partitions fail or hang as they are told, and what is remembered of it.

use std::collections::VecDeque;

use async_trait::async_trait;

use super::*;
use crate::{Cleanup, EventLog, FetchFrom, FetchLimits, Fetched, MemoryLog, Offset, Record, TopicName, TopicSpec};

const LEAST: Duration = Duration::from_secs(2);

/// What a log does with the next calls; afterwards it answers as it should.
#[derive(Debug, Clone, Copy)]
enum Does {
    Refuses,
    RefusesForGood,
    LosesTheAnswer,
    TakesItsTime(Duration),
}

#[derive(Debug)]
struct Moody {
    memory: MemoryLog,
    does: Mutex<VecDeque<Does>>,
}

impl Moody {
    async fn answer(&self) -> Result<(), Error> {
        let does = self.does.lock().unwrap().pop_front();
        match does {
            Some(Does::Refuses) => Err(Error::Unavailable("no leader".to_owned())),
            Some(Does::RefusesForGood) => Err(Error::Failed("damaged".to_owned())),
            Some(Does::LosesTheAnswer) => Err(Error::UnknownOutcome("the connection was lost".to_owned())),
            Some(Does::TakesItsTime(time)) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

#[async_trait]
impl EventLog for Moody {
    async fn ensure_topic(&self, spec: &TopicSpec) -> Result<(), Error> {
        self.memory.ensure_topic(spec).await
    }
    async fn topics(&self) -> Result<Vec<TopicSpec>, Error> {
        self.memory.topics().await
    }
    async fn append(&self, partition: &TopicPartition, records: Vec<Record>) -> Result<Offset, Error> {
        self.answer().await?;
        self.memory.append(partition, records).await
    }
    async fn fetch(&self, from: &[FetchFrom], limits: FetchLimits) -> Result<Vec<Fetched>, Error> {
        let asked = |from: &FetchFrom| from.partition.clone();
        match self.answer().await {
            // As an adapter does that asks several brokers.
            Err(error) if from.len() > 1 => Ok(vec![Fetched { partition: asked(&from[0]), result: Err(error) }]),
            Err(error) => Err(error),
            Ok(()) => self.memory.fetch(from, limits).await,
        }
    }
    async fn earliest(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        self.memory.earliest(partition).await
    }
    async fn latest(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        self.answer().await?;
        self.memory.latest(partition).await
    }
    async fn delete_before(&self, partition: &TopicPartition, offset: Offset) -> Result<(), Error> {
        self.memory.delete_before(partition, offset).await
    }
}

async fn watched() -> (Arc<Moody>, WatchedLog) {
    let moody = Arc::new(Moody { memory: MemoryLog::new(), does: Mutex::default() });
    let spec = TopicSpec { partitions: 2, cleanup: Cleanup::Never, name: TopicName::new("t") };
    moody.ensure_topic(&spec).await.unwrap();
    (moody.clone(), WatchedLog::new(moody))
}

fn partition(number: u32) -> TopicPartition {
    TopicPartition::new("t", number)
}

async fn append(log: &WatchedLog, number: u32) -> Result<Offset, Error> {
    log.append(&partition(number), vec![Record::default()]).await
}

async fn fetch(log: &WatchedLog, numbers: &[u32]) -> Result<Vec<Fetched>, Error> {
    let from: Vec<_> =
        numbers.iter().map(|number| FetchFrom { partition: partition(*number), offset: Offset::ZERO }).collect();
    log.fetch(&from, FetchLimits { max_bytes_per_partition: 1_024, max_wait: Duration::from_millis(100) }).await
}

#[tokio::test(start_paused = true)]
async fn a_log_that_answers_has_no_outage() {
    let (_, log) = watched().await;
    append(&log, 0).await.unwrap();
    assert_eq!(fetch(&log, &[0, 1]).await.unwrap().len(), 1);
    tokio::time::advance(LEAST).await;
    assert_eq!(log.availability().outage(Duration::ZERO), None);
}

#[tokio::test(start_paused = true)]
async fn an_outage_lasts_from_the_first_failed_call_to_the_next_that_succeeds() {
    let (moody, log) = watched().await;
    let begin = Instant::now();
    for _ in 0..2 {
        moody.does.lock().unwrap().push_back(Does::Refuses);
        append(&log, 0).await.unwrap_err();
        assert_eq!(log.availability().outage(LEAST * 2), None, "not for so long yet");
        tokio::time::advance(LEAST).await;
    }
    let outage = log.availability().outage(LEAST).unwrap();
    assert_eq!((outage.since, outage.partitions), (begin, 1));
    assert_eq!(outage.reason, "the log is unavailable: no leader");
    // That it can be read, or that another partition takes something, says nothing about whether it does.
    fetch(&log, &[0]).await.unwrap();
    append(&log, 1).await.unwrap();
    assert!(log.availability().outage(LEAST).is_some());
    append(&log, 0).await.unwrap();
    assert_eq!(log.availability().outage(Duration::ZERO), None);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_does_not_come_back_is_an_outage_from_its_beginning() {
    let (moody, log) = watched().await;
    moody.does.lock().unwrap().push_back(Does::TakesItsTime(FORGET * 2));
    let (begin, availability) = (Instant::now(), log.availability());
    let (appended, outage) = tokio::join!(append(&log, 0), async {
        tokio::time::sleep(SLOW + Duration::from_millis(1)).await;
        assert!(availability.outage(LEAST).is_some());
        tokio::time::sleep(FORGET).await;
        availability.outage(LEAST).unwrap()
    });
    assert_eq!((outage.since, outage.reason.as_str()), (begin, "it does not answer"));
    appended.unwrap();
    assert_eq!(log.availability().outage(Duration::ZERO), None, "late, but it has answered");
}

#[tokio::test(start_paused = true)]
async fn of_several_partitions_that_are_read_at_once_those_in_trouble_count() {
    let (moody, log) = watched().await;
    moody.does.lock().unwrap().push_back(Does::Refuses);
    fetch(&log, &[0, 1]).await.unwrap();
    assert_eq!(log.availability().outage(Duration::ZERO).unwrap().partitions, 1);
    moody.does.lock().unwrap().push_back(Does::Refuses);
    fetch(&log, &[1]).await.unwrap_err();
    assert_eq!(log.availability().outage(Duration::ZERO).unwrap().partitions, 2);
    fetch(&log, &[0]).await.unwrap();
    append(&log, 1).await.unwrap();
    assert_eq!(log.availability().outage(Duration::ZERO), None, "what it takes can be read");
}

#[tokio::test(start_paused = true)]
async fn an_error_for_good_is_an_answer_and_what_nobody_meets_again_is_forgotten() {
    let (moody, log) = watched().await;
    moody.does.lock().unwrap().extend([Does::Refuses, Does::RefusesForGood, Does::Refuses]);
    append(&log, 0).await.unwrap_err();
    append(&log, 0).await.unwrap_err();
    assert_eq!(log.availability().outage(Duration::ZERO), None);
    append(&log, 0).await.unwrap_err();
    assert!(log.availability().outage(Duration::ZERO).is_some());
    tokio::time::advance(FORGET).await;
    assert_eq!(log.availability().outage(Duration::ZERO), None);
}

#[tokio::test(start_paused = true)]
async fn a_failure_long_after_a_trouble_that_nobody_met_again_begins_a_trouble_of_its_own() {
    let (moody, log) = watched().await;
    let refused = async || {
        moody.does.lock().unwrap().push_back(Does::Refuses);
        append(&log, 0).await.unwrap_err();
    };
    refused().await;
    tokio::time::advance(FORGET).await;
    let begin = Instant::now();
    refused().await;
    assert_eq!(log.availability().outage_of(&partition(0), Access::Append, LEAST), None);
    assert_eq!(log.availability().outage(Duration::ZERO).unwrap().since, begin);
    // Whoever tries again in time meets the same trouble, however long his call takes.
    tokio::time::advance(FORGET - Duration::from_millis(1)).await;
    moody.does.lock().unwrap().push_back(Does::TakesItsTime(FORGET * 2));
    let (appended, ()) = tokio::join!(append(&log, 0), async {
        tokio::time::sleep(FORGET).await;
        assert_eq!(log.availability().outage_of(&partition(0), Access::Append, LEAST).unwrap().since, begin);
    });
    appended.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_takes_nothing_can_be_read_and_one_that_cannot_be_read_takes_nothing() {
    let (moody, log) = watched().await;
    let is_out = |number, access| log.availability().outage_of(&partition(number), access, LEAST).is_some();
    let refuse = || moody.does.lock().unwrap().push_back(Does::Refuses);
    refuse();
    append(&log, 0).await.unwrap_err();
    tokio::time::advance(LEAST).await;
    assert!(!is_out(0, Access::Append), "nobody has tried again");
    refuse();
    append(&log, 0).await.unwrap_err();
    assert!(is_out(0, Access::Append) && !is_out(0, Access::Fetch));
    assert!(!is_out(1, Access::Append), "another partition");
    append(&log, 0).await.unwrap();
    assert!(!is_out(0, Access::Append));

    for _ in 0..2 {
        tokio::time::advance(LEAST).await;
        refuse();
        log.latest(&partition(1)).await.unwrap_err();
    }
    assert!(is_out(1, Access::Append) && is_out(1, Access::Fetch));
    log.latest(&partition(1)).await.unwrap();
    assert!(!is_out(1, Access::Append));
}

#[tokio::test(start_paused = true)]
async fn a_read_answers_whoever_does_not_know_whether_what_he_appended_has_landed() {
    let (moody, log) = watched().await;
    let is_out = || log.availability().outage_of(&partition(0), Access::Append, LEAST).is_some();
    let does = |next| moody.does.lock().unwrap().push_back(next);
    for _ in 0..2 {
        does(Does::LosesTheAnswer);
        append(&log, 0).await.unwrap_err();
        tokio::time::advance(LEAST).await;
    }
    fetch(&log, &[1]).await.unwrap();
    assert!(is_out(), "another partition");
    does(Does::TakesItsTime(SLOW * 2));
    let (appended, ()) = tokio::join!(append(&log, 0), async {
        tokio::time::sleep(SLOW + Duration::from_millis(1)).await;
        fetch(&log, &[0]).await.unwrap();
        assert!(is_out(), "an append is on its way and does not come back");
        does(Does::LosesTheAnswer);
    });
    appended.unwrap();
    append(&log, 0).await.unwrap_err();
    tokio::time::advance(LEAST).await;
    does(Does::LosesTheAnswer);
    append(&log, 0).await.unwrap_err();
    assert!(is_out());
    fetch(&log, &[0]).await.unwrap();
    assert!(!is_out());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_outage_hears_of_it_when_it_has_lasted() {
    let (moody, log) = watched().await;
    let (availability, at) = (log.availability(), partition(0));
    let begin = Instant::now();
    let (outage, ()) = tokio::join!(availability.has_outage(&at, Access::Append, LEAST * 2), async {
        tokio::time::sleep(LEAST).await;
        // Trouble that passes, and trouble elsewhere, are none of it.
        for number in [1, 0] {
            moody.does.lock().unwrap().push_back(Does::Refuses);
            append(&log, number).await.unwrap_err();
        }
        append(&log, 0).await.unwrap();
        tokio::time::sleep(LEAST).await;
        moody.does.lock().unwrap().push_back(Does::TakesItsTime(LEAST * 5));
        append(&log, 0).await.unwrap();
    });
    assert_eq!(outage.since, begin + LEAST * 2);
    assert!(begin.elapsed() >= LEAST * 4);
    let waited = tokio::time::timeout(LEAST * 5, availability.has_outage(&at, Access::Append, LEAST)).await;
    assert!(waited.is_err(), "it has answered");
}
