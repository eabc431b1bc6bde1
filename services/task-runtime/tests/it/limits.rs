//! Limits of what may wait in front of a task and behind it: beyond them callers are told so, reading stops, and all goes on when
//! there is room again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use task_runtime::{CallError, Committed, Config, Consistency};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::sleep;

use crate::disk::Disk;
use crate::fixture::{Life, Log, ROWS, all, arrives, begin_with, notebook, put, put_command, reading};

async fn limited(config: Config, test: impl AsyncFnOnce(Log, Life)) {
    let run = async {
        let log = Log::with(&notebook()).await;
        let life = begin_with(&log, notebook(), config, &Disk::default());
        life.put("first", None).await.unwrap();
        test(log, life).await;
    };
    LocalSet::new().run_until(run).await;
}

fn is_overloaded<T>(answer: Result<T, CallError>) -> bool {
    matches!(answer, Err(CallError::Overloaded { task }) if task == "notebook/0")
}

/// Time enough for whatever can go on to have gone on.
const LONG: Duration = Duration::from_secs(10);

/// Calls without waiting for the answer; the call has come to the task when this returns.
async fn call(life: &Life, key: &'static str) -> JoinHandle<Result<Committed, CallError>> {
    let handle = life.handle.clone();
    let call = spawn_local(async move { handle.execute(put_command(key, None)).await });
    sleep(Duration::from_millis(1)).await;
    call
}

/// Waits a moment for what will not come. `None` if the wait was taken.
async fn wait_in_vain(life: &Life) -> Option<CallError> {
    let wait = life.handle.wait(ROWS, b"never", |_| None::<()>);
    tokio::time::timeout(Duration::from_millis(1), wait).await.ok()?.err()
}

#[tokio::test(start_paused = true)]
async fn callers_beyond_those_who_may_wait_are_refused_until_some_have_gone() {
    let config = Config { waits_max: 4, ..Config::default() };
    limited(config, async |_, life| {
        let others: Vec<_> = (0..4).map(|_| Box::pin(life.handle.wait(ROWS, b"never", |_| None::<()>))).collect();
        let mut others = futures::future::join_all(others);
        assert!(futures::poll!(&mut others).is_pending());
        for _ in 0..100 {
            let refused = wait_in_vain(&life).await;
            assert!(is_overloaded::<()>(Err(refused.expect("four wait already"))));
        }
        drop(others);
        // Whoever has gone makes room without a change of the key, which may never come.
        let mut tries = 0;
        while wait_in_vain(&life).await.is_some() {
            tries += 1;
            assert!(tries < 10, "those who have gone are still counted");
        }
        life.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn strong_reads_beyond_those_who_may_wait_for_the_log_are_refused_and_those_who_went_are_not_carried_out() {
    let config = Config { waits_max: 4, ..Config::default() };
    limited(config, async |log, life| {
        log.hang_up();
        let carried_out = Arc::new(AtomicUsize::new(0));
        let read = || {
            let (handle, carried_out) = (life.handle.clone(), carried_out.clone());
            async move { handle.read(Consistency::Strong, move |_| carried_out.fetch_add(1, Ordering::Relaxed)).await }
        };
        // One for the look that is under way, three for the next.
        let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(read())).collect();
        for read in &mut waiting {
            assert!(futures::poll!(read).is_pending());
            sleep(Duration::from_millis(1)).await;
        }
        assert!(is_overloaded(read().await));
        waiting.truncate(1);
        log.answer_again();
        for read in waiting {
            read.await.unwrap();
        }
        assert_eq!(life.has("first").await, Ok(true));
        assert_eq!(carried_out.load(Ordering::Relaxed), 1);
        life.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_a_full_inbox_are_refused_and_those_before_it_are_answered() {
    let config = Config { calls_waiting_max: 2, ..Config::default() };
    limited(config, async |log, life| {
        log.refuse(Some("notebook-changelog"));
        // One in flight, two that the task has taken, two in the inbox.
        let mut waiting = Vec::new();
        for key in ["in flight", "b", "c", "d", "e"] {
            waiting.push(call(&life, key).await);
        }
        assert!(is_overloaded(life.put("f", None).await));
        assert!(is_overloaded(life.handle.read(Consistency::Strong, |_| ()).await));
        assert!(waiting.iter().all(|call| !call.is_finished()));
        log.refuse(None);
        for call in waiting {
            call.await.unwrap().unwrap();
        }
        assert_eq!(life.has("f").await, Ok(false), "nothing has happened of what was refused");
        life.put("f", None).await.unwrap();
        life.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_full_outbox_stops_processing_until_the_log_takes_outputs_again() {
    let config = Config { outbox_records_max: 2, patience: Duration::ZERO, ..Config::default() };
    limited(config, async |log, life| {
        let commits = || reading(&log.memory, "notebook-changelog").0.len();
        log.refuse(Some("told"));
        life.put("a", None).await.unwrap();
        life.put("b", None).await.unwrap();
        let before = commits();
        let waiting = call(&life, "c").await;
        put(&log.memory, "inbox", "record");
        sleep(LONG).await;
        assert_eq!((commits(), waiting.is_finished()), (before, false));
        assert_eq!(life.has("b").await, Ok(true), "reads need no room");
        assert_eq!(life.has("record").await, Ok(false));
        log.refuse(None);
        waiting.await.unwrap().unwrap();
        arrives(&life, "record").await;
        life.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_dead_letters_nobody_takes_stands_still_and_drops_none() {
    let config = Config { outbox_records_max: 1, batch_items_max: 1, patience: Duration::ZERO, ..Config::default() };
    limited(config, async |log, life| {
        log.refuse(Some("notebook-dead-letters"));
        // No row can be called so.
        let bad = [40_001, 40_002].map(|bytes| "x".repeat(bytes));
        for value in bad.iter().map(String::as_str).chain(["good"]) {
            put(&log.memory, "inbox", value.to_owned());
        }
        sleep(LONG).await;
        assert_eq!(all(&log.memory, "notebook-dead-letters").len(), 0);
        assert_eq!(life.has("good").await, Ok(false), "nothing goes on behind a letter that is not there yet");
        log.refuse(None);
        arrives(&life, "good").await;
        life.stop().await;
        let letters = all(&log.memory, "notebook-dead-letters");
        let letters: Vec<_> = letters.iter().map(|letter| letter.record.value.clone().unwrap()).collect();
        assert_eq!(letters, bad);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_cannot_commit_reads_no_further_ahead_than_it_may() {
    let (read_ahead_records_max, fetch_bytes_max) = (3, 1);
    let config = Config { read_ahead_records_max, fetch_bytes_max, patience: Duration::ZERO, ..Config::default() };
    limited(config, async |log, life| {
        log.refuse(Some("notebook-changelog"));
        for value in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            put(&log.memory, "inbox", value);
        }
        sleep(LONG).await;
        // One record is in the commit that does not land, three are read ahead.
        assert_eq!(log.fetched_from("inbox"), Some(3));
        log.refuse(None);
        arrives(&life, "h").await;
        assert!(log.fetched_from("inbox") >= Some(7));
        life.stop().await;
    })
    .await;
}
