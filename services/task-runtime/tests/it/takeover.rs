//! One owner after another: what counts of the first, what the second goes on with, and what neither may do.

use std::time::Duration;

use bytes::Bytes;
use event_log::Offset;
use task_runtime::changelog::{Body, Chain, Output};
use task_runtime::{CallError, Config, Definition, Reply, Source, TaskError};
use tokio::task::LocalSet;

use crate::disk::Disk;
use crate::fixture::{Log, ROWS, all, arrives, begin, begin_with, claim, commit, notebook, put, put_command, reading};

const CHANGELOG: &str = "notebook-changelog";

fn sequences(log: &Log, topic: &str) -> Vec<u64> {
    all(&log.memory, topic).iter().map(|stored| Source::of(&stored.record).unwrap().sequence).collect()
}

#[tokio::test(start_paused = true)]
async fn a_claim_says_when_it_was_made() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let life = begin(&log, notebook());
        life.put("a", None).await.unwrap();
        // The fixture's clock begins in the first second of 1970.
        assert!((1_000..60_000).contains(&all(&log.memory, CHANGELOG)[0].record.timestamp_ms));
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_behind_a_rivals_claim_is_neither_answered_nor_published() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let life = begin(&log, notebook());
        life.put("a", None).await.unwrap();
        let incarnation = reading(&log.memory, CHANGELOG).1.incarnation.unwrap();
        log.before_next_append(CHANGELOG, move |log| {
            put(log, CHANGELOG, claim(incarnation, 2, 7));
        });
        // It never counts, so that the caller may go to the other owner with it.
        assert!(matches!(life.put("b", None).await, Err(CallError::NotOwner { epoch: 2, .. })));
        assert!(matches!(life.error().await, TaskError::Fenced { epoch: 2 }));
        assert_eq!(reading(&log.memory, CHANGELOG).0.len(), 1);
        assert_eq!(sequences(&log, "told"), [1]);
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_between_the_parts_of_a_commit_leaves_nothing_of_it() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let config = Config { record_bytes_max: 30, ..Config::default() };
        let life = begin_with(&log, notebook(), config, &Disk::default());
        life.put("a", None).await.unwrap();
        let before = all(&log.memory, CHANGELOG).len();
        let incarnation = reading(&log.memory, CHANGELOG).1.incarnation.unwrap();
        log.before_next_append(CHANGELOG, |_| ());
        log.before_next_append(CHANGELOG, move |log| {
            put(log, CHANGELOG, claim(incarnation, 2, 7));
        });
        assert!(matches!(life.put("b", None).await, Err(CallError::NotOwner { epoch: 2, .. })));
        assert!(matches!(life.error().await, TaskError::Fenced { epoch: 2 }));
        assert!(all(&log.memory, CHANGELOG).len() > before + 2, "the commit was split");
        assert_eq!(reading(&log.memory, CHANGELOG).0.len(), 1);
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_deposed_owner_answers_no_strong_read() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let first = begin(&log, notebook());
        assert_eq!(first.has("a").await, Ok(false));
        let second = begin(&log, notebook());
        second.put("a", None).await.unwrap();
        assert!(matches!(first.has("a").await, Err(CallError::Stopped { .. })));
        assert!(matches!(first.error().await, TaskError::Fenced { epoch: 2 }));
        assert_eq!(second.has("a").await, Ok(true));
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_owner_notices_that_it_was_deposed() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let first = begin(&log, notebook());
        first.put("a", None).await.unwrap();
        let second = begin(&log, notebook());
        second.put("b", None).await.unwrap();
        let error = tokio::time::timeout(Duration::from_secs(10), first.error()).await.expect("it looks by itself");
        assert!(matches!(error, TaskError::Fenced { epoch: 2 }));
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn entries_that_do_not_count_do_not_hold_up_strong_reads() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let life = begin(&log, notebook());
        life.put("a", None).await.unwrap();
        let entries = all(&log.memory, CHANGELOG);
        // Both land again, long after: a repeated claim and a repeated commit.
        for stored in entries {
            put(&log.memory, CHANGELOG, stored.record.value.unwrap());
        }
        assert_eq!(life.has("a").await, Ok(true));
        life.put("b", None).await.unwrap();
        assert_eq!(reading(&log.memory, CHANGELOG).0.len(), 2);
        life.stop().await;
    };
    LocalSet::new().run_until(run).await;
}

/// A commit that puts one row and tells of it.
fn told(key: &'static str, sequence: u64) -> Body {
    let output = Output {
        topic: "told".into(),
        partition: 0,
        sequence,
        key: Some(Bytes::from(key)),
        value: Some(Bytes::from(key)),
        headers: Vec::new(),
        timestamp_ms: 1_000,
    };
    let row = [&[0x81][..], key.as_bytes()].concat();
    Body { changes: vec![(Bytes::from(row), Some(Bytes::from("there")))], outputs: vec![output], ..Body::default() }
}

/// An earlier owner has claimed; `commits` entries of it were written in whole, each split into parts.
fn earlier_owner(log: &Log, parts_of: usize) -> (Chain, Vec<Bytes>) {
    let mut chain = Chain::default();
    let claim = claim(42, 1, 7);
    chain.read(&claim).unwrap();
    put(&log.memory, CHANGELOG, claim);
    let parts = commit(&chain, &told("a", 1), parts_of);
    (chain, parts)
}

#[tokio::test(start_paused = true)]
async fn outputs_that_were_committed_and_not_published_are_published_by_the_next_owner() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let (_, parts) = earlier_owner(&log, 1_000);
        put(&log.memory, CHANGELOG, parts[0].clone());
        let life = begin(&log, notebook());
        life.put("b", None).await.unwrap();
        life.stop().await;
        assert_eq!(sequences(&log, "told"), [1, 2]);
        assert_eq!(Source::of(&all(&log.memory, "told")[0].record).unwrap().incarnation, 42);
        let (bodies, _) = reading(&log.memory, CHANGELOG);
        let published = bodies.iter().flat_map(|body| &body.published).map(|upto| upto.sequence).max();
        assert_eq!(published, Some(2), "how far it has come is recorded before the task ends");
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn what_only_a_store_knows_to_be_published_is_recorded_by_the_next_life() {
    let definition = || {
        Definition::new("notebook").store(ROWS).output("told").output("other").command("Put", |context, command| {
            let topic = if command.key.starts_with(b"o") { "other" } else { "told" };
            context.emit(topic, &command.key, command.key.clone())?;
            Ok(Reply(Bytes::new()))
        })
    };
    let published_to_other = |log: &Log| {
        let (bodies, _) = reading(&log.memory, CHANGELOG);
        let published = bodies.into_iter().flat_map(|body| body.published);
        published.filter(|upto| upto.topic.as_str() == "other").map(|upto| upto.sequence).max()
    };
    let run = async {
        let log = Log::with(&definition()).await;
        log.slow_down();
        let disk = Disk::default();
        let life = begin_with(&log, definition(), Config::default(), &disk);
        // The second commit is on its way when the first one's output is acknowledged: it cannot say so any more.
        life.put("o", None).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
        life.put("t", None).await.unwrap();
        life.job.abort();
        assert_eq!((sequences(&log, "other").len(), published_to_other(&log)), (1, None));
        let life = begin_with(&log, definition(), Config::default(), &disk);
        life.stop_when_running().await;
        assert_eq!((sequences(&log, "other").len(), published_to_other(&log)), (1, Some(1)));
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_last_part_lands_just_before_the_claim_is_whole_for_every_later_life() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let (_, parts) = earlier_owner(&log, 40);
        let last = parts.len() - 1;
        for part in &parts[..last] {
            put(&log.memory, CHANGELOG, part.clone());
        }
        let part = parts[last].clone();
        log.before_next_append(CHANGELOG, move |log| {
            put(log, CHANGELOG, part);
        });
        // The topic is away, so that the output stays in the store's list of what is to be published.
        let disk = Disk::default();
        let life = begin_with(&log, notebook(), Config::default(), &disk);
        assert_eq!(life.has("a").await, Ok(true));
        life.job.abort();
        let again = disk.copy();
        let life = begin_with(&log, notebook(), Config::default(), &again);
        assert_eq!(life.has("a").await, Ok(true));
        life.stop().await;
        assert_eq!(sequences(&log, "told").first(), Some(&1));
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn parts_of_a_commit_that_was_never_finished_leave_nothing() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let (_, parts) = earlier_owner(&log, 40);
        for part in &parts[..parts.len() - 1] {
            put(&log.memory, CHANGELOG, part.clone());
        }
        let life = begin(&log, notebook());
        assert_eq!(life.has("a").await, Ok(false));
        // Too late: it belongs to an epoch that is over.
        put(&log.memory, CHANGELOG, parts[parts.len() - 1].clone());
        assert_eq!(life.has("a").await, Ok(false));
        life.put("b", None).await.unwrap();
        life.stop().await;
        assert_eq!(sequences(&log, "told"), [1]);
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_repeated_request_is_answered_by_the_next_owner_as_by_the_first() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let first = begin(&log, notebook());
        first.put("a", Some("one")).await.unwrap();
        first.job.abort();
        let second = begin(&log, notebook());
        assert_eq!(second.put("a", Some("one")).await.unwrap().reply.as_ref(), b"a");
        let other = second
            .handle
            .execute(task_runtime::Command { payload: Bytes::from_static(b"other"), ..put_command("a", Some("one")) });
        assert_eq!(other.await.unwrap_err(), CallError::RequestIdReused);
        assert_eq!(reading(&log.memory, CHANGELOG).0.len(), 1);
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_timer_fires_once_after_a_takeover_without_any_input() {
    let definition = || {
        Definition::new("notebook")
            .store(ROWS)
            .output("told")
            .command("Later", |context, command| {
                let at_ms = context.now_ms() + 5_000;
                context.schedule("ring", &command.key, at_ms);
                Ok(Reply(Bytes::new()))
            })
            .timer("ring", |context, timer| {
                context.put(ROWS, timer.key, "rung");
                context.emit("told", timer.key, "rung")
            })
    };
    let run = async {
        let log = Log::with(&definition()).await;
        let first = begin(&log, definition());
        first.handle.execute(task_runtime::Command { name: "Later", ..put_command("t", None) }).await.unwrap();
        first.job.abort();
        let second = begin(&log, definition());
        arrives(&second, "t").await;
        second.stop().await;
        let third = begin(&log, definition());
        third.stop_when_running().await;
        assert_eq!(sequences(&log, "told"), [1]);
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_stops_publishes_what_is_certain_and_leaves_nothing_to_replay() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let disk = Disk::default();
        let life = begin_with(&log, notebook(), Config::default(), &disk);
        for key in ["a", "b", "c"] {
            life.put(key, None).await.unwrap();
        }
        life.stop().await;
        assert_eq!(sequences(&log, "told"), [1, 2, 3]);
        let fresh = Disk::default();
        begin_with(&log, notebook(), Config::default(), &fresh).stop_when_running().await;
        assert_eq!((disk.digest(), sequences(&log, "told").len()), (fresh.digest(), 3));
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn of_two_owners_that_begin_at_once_one_serves() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let rival = claim(9, 1, 7);
        log.before_next_append(CHANGELOG, move |log| {
            put(log, CHANGELOG, rival);
        });
        let error = begin(&log, notebook()).error().await;
        assert!(matches!(error, TaskError::Fenced { epoch: 1 }), "{error:?}");
        let life = begin(&log, notebook());
        tokio::time::timeout(Duration::from_secs(5), life.put("a", None)).await.unwrap().unwrap();
        assert_eq!(reading(&log.memory, CHANGELOG).1.epoch, 2);
        assert_eq!(all(&log.memory, CHANGELOG)[1].offset, Offset(1));
    };
    LocalSet::new().run_until(run).await;
}
