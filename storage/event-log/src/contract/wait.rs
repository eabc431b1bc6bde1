//! What a fetch at the end of the log does: it waits without polling, wakes at once, and leaves nothing behind when dropped.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{PATIENCE, Subject, at, beside, filled, limits, numbered, only, within};
use crate::{Error, FetchFrom, Fetched, Offset};

pub(super) async fn cases(subject: &mut Subject<'_>) {
    waiting_ends_in_time(subject).await;
    an_append_wakes_the_reader(subject).await;
    every_reader_is_woken(subject).await;
    many_partitions_are_one_wait(subject).await;
    waking_is_prompt(subject).await;
    dropped_fetches_harm_nothing(subject).await;
}

/// A fetch of its own job, so that it waits while the case goes on.
fn start(subject: &Subject<'_>, from: Vec<FetchFrom>, wait: Duration) -> JoinHandle<Result<Vec<Fetched>, Error>> {
    let log = subject.log.clone();
    tokio::spawn(async move { log.fetch(&from, limits(usize::MAX, wait)).await })
}

async fn answer(fetch: JoinHandle<Result<Vec<Fetched>, Error>>) -> Vec<Fetched> {
    within(fetch).await.expect("the fetch does not panic").expect("the fetch is answered")
}

async fn waiting_ends_in_time(subject: &mut Subject<'_>) {
    let partition = subject.topic("patience", 1).await;
    subject.fill(&partition, 3).await;
    for wait in [Duration::ZERO, Duration::from_millis(40)] {
        subject.step().await;
        let begun = Instant::now();
        let from = [at(&partition, 3)];
        let fetch = subject.log.fetch(&from, limits(1_000, wait));
        assert!(within(fetch).await.expect("the fetch is answered").is_empty());
        assert!(begun.elapsed() >= wait, "it waits as long as it may");
    }
    let none = within(subject.log.fetch(&[], limits(1_000, Duration::from_millis(5)))).await;
    assert!(none.expect("the fetch is answered").is_empty());
}

async fn an_append_wakes_the_reader(subject: &mut Subject<'_>) {
    let partition = subject.topic("wake", 1).await;
    for offset in 0..20 {
        let fetch = start(subject, vec![at(&partition, offset)], PATIENCE * 2);
        if offset % 2 == 0 {
            // Half of the time the reader is surely waiting before the append, else they race.
            tokio::task::yield_now().await;
        }
        subject.fill(&partition, 1).await;
        let batch = only(answer(fetch).await).result.expect("there is a record");
        assert_eq!(batch.records, filled(offset..offset + 1));
        assert_eq!(batch.high_watermark, Offset(offset + 1));
        if offset % 5 == 0 {
            subject.step().await;
        }
    }
}

async fn every_reader_is_woken(subject: &mut Subject<'_>) {
    let partition = subject.topic("audience", 1).await;
    let fetches: Vec<_> = (0..50).map(|_| start(subject, vec![at(&partition, 0)], PATIENCE * 2)).collect();
    tokio::task::yield_now().await;
    subject.fill(&partition, 1).await;
    for fetch in fetches {
        assert_eq!(only(answer(fetch).await).result.expect("there is a record").records, filled(0..1));
    }
    subject.step().await;
}

async fn many_partitions_are_one_wait(subject: &mut Subject<'_>) {
    const PARTITIONS: u32 = 200;
    let first = subject.topic("many", PARTITIONS).await;
    let mut next = vec![0; PARTITIONS as usize];
    for number in [0, 199, 77, 77, 3] {
        let from = (0..PARTITIONS).map(|n| at(&beside(&first, n), next[n as usize])).collect();
        let fetch = start(subject, from, PATIENCE * 2);
        tokio::task::yield_now().await;
        let moved = beside(&first, number);
        subject.fill(&moved, 1).await;
        let fetched = only(answer(fetch).await);
        assert_eq!(fetched.partition, moved);
        let offset = next[number as usize];
        assert_eq!(fetched.result.expect("there is a record").records, filled(offset..offset + 1));
        next[number as usize] += 1;
        subject.step().await;
    }
}

async fn waking_is_prompt(subject: &mut Subject<'_>) {
    const ROUNDS: u64 = 41;
    let partition = subject.topic("prompt", 1).await;
    let mut delays = Vec::new();
    for offset in 0..ROUNDS {
        let (log, from) = (subject.log.clone(), [at(&partition, offset)]);
        let fetch = tokio::spawn(async move {
            let answer = log.fetch(&from, limits(usize::MAX, PATIENCE * 2)).await;
            (answer, Instant::now())
        });
        tokio::task::yield_now().await;
        subject.append(&partition, vec![numbered(offset)]).await;
        let acknowledged = Instant::now();
        let (answer, woken) = within(fetch).await.expect("the fetch does not panic");
        assert_eq!(answer.expect("the fetch is answered").len(), 1);
        delays.push(woken.saturating_duration_since(acknowledged));
    }
    delays.sort();
    // A busy machine delays some of them; a log that polls would delay half of them by half its interval.
    let median = delays[delays.len() / 2];
    assert!(median < Duration::from_millis(10), "readers wake {median:?} after the append, in the middle");
    subject.step().await;
}

async fn dropped_fetches_harm_nothing(subject: &mut Subject<'_>) {
    let first = subject.topic("dropped-fetch", 2).await;
    let second = beside(&first, 1);
    for round in 0..20 {
        let from = [at(&first, round), at(&second, 0)];
        let waiting = subject.log.fetch(&from, limits(usize::MAX, PATIENCE * 2));
        drop(tokio::time::timeout(Duration::from_millis(u64::from(round == 0)), waiting).await);
        // The fetch that stays gets the record, although others were enlisted before it and are gone.
        let stays = start(subject, vec![at(&first, round)], PATIENCE * 2);
        subject.fill(&first, 1).await;
        assert_eq!(only(answer(stays).await).result.expect("there is a record").records, filled(round..round + 1));
    }
    subject.step().await;
    assert_eq!(subject.read(&first, 0).await, filled(0..20));
}
