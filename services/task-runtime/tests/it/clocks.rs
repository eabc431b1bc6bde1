//! Clocks that are wrong, of those who write records and of the owner itself: what they say for a moment does no lasting harm.

use std::time::Duration;

use bytes::Bytes;
use event_log::{EventLog, MemoryLog, Record};
use futures::FutureExt;
use task_runtime::{Config, Consistency, Definition, StoreId};
use tokio::task::LocalSet;
use tokio::time::sleep;

use crate::disk::Disk;
use crate::fixture::{Life, Log, at, begin, begin_with, notebook, put, reading};

const SEEN: StoreId = StoreId::new(1, "seen");
const YEAR_MS: i64 = 365 * 24 * 3_600_000;
const SKEW_MS: i64 = 60_000;

/// Keeps the two times that it is given with each record.
fn watchmaker() -> Definition {
    Definition::new("watchmaker").store(SEEN).input("inbox", |context, input| {
        let times = [context.now_ms(), context.stream_time_ms()];
        let value = input.value()?.clone();
        context.put(SEEN, &value, times.map(i64::to_be_bytes).concat());
        Ok(())
    })
}

fn send(log: &MemoryLog, value: &'static str, timestamp_ms: i64) {
    let record = Record { value: Some(Bytes::from(value)), timestamp_ms, ..Record::default() };
    log.append(&at("inbox"), vec![record]).now_or_never().unwrap().unwrap();
}

/// The times of a record, once it was processed: its own, and the stream's.
async fn times(life: &Life, value: &'static str) -> (i64, i64) {
    let wait = life.handle.wait(SEEN, value.as_bytes(), move |view| view.get(SEEN, value.as_bytes()).unwrap());
    let (row, _) = tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it is processed").unwrap();
    let time = |at: usize| i64::from_be_bytes(row[at..at + 8].try_into().unwrap());
    (time(0), time(8))
}

async fn alone(definition: Definition, test: impl AsyncFnOnce(Log)) {
    LocalSet::new().run_until(async { test(Log::with(&definition).await).await }).await;
}

#[tokio::test(start_paused = true)]
async fn a_record_of_a_clock_that_runs_ahead_moves_stream_time_by_no_more_than_is_allowed() {
    alone(watchmaker(), async |log| {
        let disk = Disk::default();
        let life = begin_with(&log, watchmaker(), Config::default(), &disk);
        send(&log.memory, "ahead", YEAR_MS);
        let (own_ms, stream_ms) = times(&life, "ahead").await;
        assert_eq!(own_ms, YEAR_MS, "its own time is what the record says");
        assert!((1_000 + SKEW_MS..3_000 + SKEW_MS).contains(&stream_ms), "{stream_ms}");
        life.stop().await;
        let (bodies, _) = reading(&log.memory, "watchmaker-changelog");
        assert_eq!(bodies.last().unwrap().stream_time_ms, stream_ms, "whoever replays the commit need not ask a clock");
        let life = begin_with(&log, watchmaker(), Config::default(), &disk);
        send(&log.memory, "usual", 1_000);
        assert_eq!(times(&life, "usual").await, (1_000, stream_ms));
        life.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn old_records_that_are_caught_up_with_carry_stream_time_as_they_always_did() {
    alone(watchmaker(), async |log| {
        sleep(Duration::from_secs(1_000)).await;
        for (value, timestamp_ms) in [("one", 10), ("two", 900_000), ("late", 20), ("three", 950_000)] {
            send(&log.memory, value, timestamp_ms);
        }
        let life = begin(&log, watchmaker());
        for (value, expected) in [("one", 10), ("two", 900_000), ("late", 900_000), ("three", 950_000)] {
            assert_eq!(times(&life, value).await.1, expected, "{value}");
        }
        life.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn stream_time_comes_back_when_the_clock_of_the_owner_is_set_right() {
    alone(watchmaker(), async |log| {
        let disk = Disk::default();
        let life = begin_with(&log, watchmaker(), Config::default(), &disk);
        log.put_the_clock_ahead(YEAR_MS);
        send(&log.memory, "ahead", YEAR_MS);
        assert_eq!(times(&life, "ahead").await, (YEAR_MS, YEAR_MS));
        log.put_the_clock_ahead(0);
        let comes_back = async |life: Life, value: &'static str| {
            send(&log.memory, value, 1_000);
            let (_, stream_ms) = times(&life, value).await;
            assert!(stream_ms < 10_000 + SKEW_MS, "{stream_ms}");
            life.stop().await;
        };
        comes_back(life, "usual").await;
        comes_back(begin_with(&log, watchmaker(), Config::default(), &disk), "later").await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_clock_stood_ahead_forgets_answers_in_time_and_goes_on() {
    alone(notebook(), async |log| {
        let disk = Disk::default();
        let config = Config { request_memory: Duration::from_secs(60), ..Config::default() };
        log.put_the_clock_ahead(YEAR_MS);
        let life = begin_with(&log, notebook(), config, &disk);
        life.put("a", Some("one")).await.unwrap();
        sleep(Duration::from_secs(75)).await;
        life.put("b", None).await.unwrap();
        assert_eq!(disk.rows(2), 0, "it has swept up to a time that is yet to come");
        log.put_the_clock_ahead(0);
        life.put("c", Some("two")).await.unwrap();
        // The sweep is due in the second 71; what a record changes just before is held until then.
        sleep(Duration::from_millis(69_980)).await;
        put(&log.memory, "inbox", "held");
        sleep(Duration::from_millis(100)).await;
        assert_eq!(disk.rows(2), 0, "the second answer is forgotten too");
        life.handle.read(Consistency::Strong, |_| ()).await.unwrap();
        life.stop().await;
    })
    .await;
}

const WAIT_MS: i64 = 300_000;

/// Waits with each record, and keeps when that was over.
fn waiter() -> Definition {
    Definition::new("waiter")
        .store(SEEN)
        .input("inbox", |context, input| {
            context.schedule("over", input.value()?, context.now_ms() + WAIT_MS);
            Ok(())
        })
        .timer("over", |context, timer| {
            context.put(SEEN, timer.key, timer.due_ms.to_be_bytes().to_vec());
            Ok(())
        })
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_neither_hastens_nor_holds_up_a_timer() {
    for set_by_ms in [24 * 3_600_000, -3_600_000] {
        alone(waiter(), async |log| {
            let life = begin(&log, waiter());
            let begin = log.begin;
            send(&log.memory, "wait", 1_000);
            // What is neither sent nor answered is committed within `patience`.
            sleep(2 * Config::default().patience).await;
            log.put_the_clock_ahead(set_by_ms);
            let over = life.handle.wait(SEEN, b"wait", |view| view.get(SEEN, b"wait").unwrap());
            let (due, _) = over.await.unwrap();
            assert_eq!(*due, (1_000 + WAIT_MS).to_be_bytes(), "the time that it was set for");
            let took_ms = i64::try_from(begin.elapsed().as_millis()).unwrap();
            assert!((WAIT_MS..WAIT_MS + 100).contains(&took_ms), "{took_ms}");
            life.stop().await;
        })
        .await;
    }
}
