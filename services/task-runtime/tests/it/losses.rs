//! A log that loses what it has acknowledged, or is not the one that a store was made from: the task stops loudly or rebuilds
//! its store, and never goes on with a state of its own.

use bytes::Bytes;
use event_log::{EventLog, MemoryLog, Offset};
use task_runtime::changelog::{Body, Chain, Entry, OwnerId};
use task_runtime::{CallError, Config, Role, TaskError};
use tokio::task::LocalSet;

use crate::disk::Disk;
use crate::fixture::{
    Life, Log, all, at, begin, begin_as, begin_with, claim, commit, notebook, put, put_command, reading,
};

const CHANGELOG: &str = "notebook-changelog";

fn body(key: &'static str) -> Body {
    let row = [&[0x81][..], key.as_bytes()].concat();
    Body { changes: vec![(Bytes::from(row), Some(Bytes::from("there")))], ..Body::default() }
}

/// Reads what a task wrote and adds entries of someone who has read the same.
fn append_as(log: &MemoryLog, chain: &mut Chain, entries: impl IntoIterator<Item = Bytes>) {
    for entry in entries {
        chain.read(&entry).unwrap();
        put(log, CHANGELOG, entry);
    }
}

async fn stops_without_an_answer(life: Life, key: &str) -> TaskError {
    let answer = life.put(key, None).await;
    assert!(matches!(answer, Err(CallError::Stopped { .. })), "{answer:?}");
    life.error().await
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_changelog_lost_its_tail_stops() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let life = begin(&log, notebook());
        life.put("a", None).await.unwrap();
        log.before_next_append(CHANGELOG, |log| log.truncate(&at(CHANGELOG), Offset(1)).unwrap());
        let error = stops_without_an_answer(life, "b").await;
        assert!(matches!(error, TaskError::LogRegressed { expected: Offset(2), found: Offset(1), .. }), "{error:?}");
        assert!(all(&log.memory, "told").len() == 1, "nothing of what is not certain was published");
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_strong_read_notices_that_the_changelog_lost_its_tail() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let life = begin(&log, notebook());
        life.put("a", None).await.unwrap();
        log.memory.truncate(&at(CHANGELOG), Offset(1)).unwrap();
        assert!(matches!(life.has("a").await, Err(CallError::Stopped { .. })));
        assert!(matches!(life.error().await, TaskError::LogRegressed { .. }));
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_claim_is_lost_and_claimed_again_stops() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let life = begin(&log, notebook());
        life.put("a", None).await.unwrap();
        let (_, chain) = reading(&log.memory, CHANGELOG);
        let incarnation = chain.incarnation.unwrap();
        // The same epoch, and as many entries as were lost: the offset alone tells nothing.
        log.before_next_append(CHANGELOG, move |log| {
            log.truncate(&at(CHANGELOG), Offset(0)).unwrap();
            let mut rival = Chain::default();
            append_as(log, &mut rival, [claim(incarnation, 1, 7)]);
            for key in ["x", "y"] {
                let entries = commit(&rival, &body(key), 1_000);
                append_as(log, &mut rival, entries);
            }
        });
        let error = stops_without_an_answer(life, "b").await;
        assert!(matches!(error, TaskError::Unreadable { .. }), "{error:?}");
        let (bodies, _) = reading(&log.memory, CHANGELOG);
        assert_eq!(bodies, [body("x"), body("y")], "the rival's history stands");
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_changelog_was_made_anew_stops() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let life = begin(&log, notebook());
        life.put("a", None).await.unwrap();
        log.before_next_append(CHANGELOG, |log| {
            log.truncate(&at(CHANGELOG), Offset(0)).unwrap();
            let mut rival = Chain::default();
            append_as(log, &mut rival, [claim(42, 1, 7)]);
            for key in ["x", "y"] {
                let entries = commit(&rival, &body(key), 1_000);
                append_as(log, &mut rival, entries);
            }
        });
        let error = stops_without_an_answer(life, "b").await;
        assert!(matches!(error, TaskError::Unreadable { .. }), "{error:?}");
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_ahead_of_its_changelog_stops_the_task() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let disk = Disk::default();
        let life = begin_with(&log, notebook(), Config::default(), &disk);
        life.put("a", None).await.unwrap();
        life.stop().await;
        log.memory.truncate(&at(CHANGELOG), Offset(1)).unwrap();
        let error = begin_with(&log, notebook(), Config::default(), &disk).error().await;
        assert!(matches!(error, TaskError::LogRegressed { .. }), "{error:?}");
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_of_another_history_is_rebuilt() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let disk = Disk::default();
        let life = begin_with(&log, notebook(), Config::default(), &disk);
        life.put("a", None).await.unwrap();
        life.stop().await;
        let end = all(&log.memory, CHANGELOG).len() as u64;
        // The commits are lost; others take their places.
        log.memory.truncate(&at(CHANGELOG), Offset(1)).unwrap();
        let (_, mut chain) = reading(&log.memory, CHANGELOG);
        let incarnation = chain.incarnation.unwrap();
        append_as(&log.memory, &mut chain, [claim(incarnation, 2, 7)]);
        while (all(&log.memory, CHANGELOG).len() as u64) < end + 1 {
            let entries = commit(&chain, &body("x"), 1_000);
            append_as(&log.memory, &mut chain, entries);
        }
        let life = begin_with(&log, notebook(), Config::default(), &disk);
        assert_eq!((life.has("a").await, life.has("x").await), (Ok(false), Ok(true)));
        life.put("b", None).await.unwrap();
        life.stop().await;
        let fresh = Disk::default();
        begin_with(&log, notebook(), Config::default(), &fresh).stop_when_running().await;
        assert_eq!(disk.digest(), fresh.digest());
    };
    LocalSet::new().run_until(run).await;
}

/// A log in which a rival has claimed the task and made so many commits, and a reader behind them.
async fn owned_by_rival(commits: usize) -> (Log, Chain) {
    let (log, mut rival) = (Log::with(&notebook()).await, Chain::default());
    append_as(&log.memory, &mut rival, [rivals_claim()]);
    for _ in 0..commits {
        let entries = commit(&rival, &body("x"), 1_000);
        append_as(&log.memory, &mut rival, entries);
    }
    (log, rival)
}

fn rivals_claim() -> Bytes {
    claim(42, 1, 7)
}

/// The log loses an entry that did not count, and a claim by another takes its place.
fn lose_and_claim(log: &MemoryLog, from: u64, epoch: u64) {
    log.truncate(&at(CHANGELOG), Offset(from)).unwrap();
    let (_, mut chain) = reading(log, CHANGELOG);
    let incarnation = chain.incarnation.unwrap();
    append_as(log, &mut chain, [claim(incarnation, epoch, 8)]);
}

async fn puts_as_owner(log: &Log, disk: &Disk) {
    let life = begin_with(log, notebook(), Config::default(), disk);
    life.put("b", None).await.unwrap();
    life.stop().await;
    let (_, chain) = reading(&log.memory, CHANGELOG);
    assert_eq!(chain.owner.unwrap().instance, "local", "its claim counts, and with it what it has answered");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_had_read_what_did_not_count_reads_what_took_its_place() {
    let run = async {
        let ((log, mut rival), disk) = (owned_by_rival(1).await, Disk::default());
        append_as(&log.memory, &mut rival, [rivals_claim()]);
        let standby = begin_as(Role::Standby, "local", &log, &disk);
        standby.reaches(|status| status.applied_offset == 3).await;
        standby.stop().await;
        lose_and_claim(&log.memory, 2, 2);
        puts_as_owner(&log, &disk).await;
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_lives_through_a_loss_reads_what_took_its_place_before_it_claims() {
    let run = async {
        let ((log, mut rival), disk) = (owned_by_rival(0).await, Disk::default());
        append_as(&log.memory, &mut rival, [rivals_claim()]);
        let standby = begin_as(Role::Standby, "local", &log, &disk);
        standby.reaches(|status| status.applied_offset == 2).await;
        lose_and_claim(&log.memory, 1, 2);
        standby.assign(Role::Active);
        standby.put("b", None).await.unwrap();
        standby.stop().await;
        assert_eq!(reading(&log.memory, CHANGELOG).1.owner.unwrap().instance, "local");
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_behind_what_did_not_count_does_not_hide_what_took_its_place() {
    let run = async {
        let (log, _) = owned_by_rival(9).await;
        // The first claim lands twice: as if its acknowledgement had been lost.
        let owner = OwnerId { instance: "local".to_owned(), life: 101 };
        let first = Entry::Claim { incarnation: 42, epoch: 2, owner }.encode();
        log.before_next_append(CHANGELOG, move |log| {
            put(log, CHANGELOG, first);
        });
        let config = Config { snapshot_after_records: 10, ..Config::default() };
        let life = begin_with(&log, notebook(), config, &Disk::default());
        life.reaches(|status| status.snapshot_offset == Some(12)).await;
        life.stop().await;
        lose_and_claim(&log.memory, 11, 3);
        puts_as_owner(&log, &Disk::default()).await;
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_changelog_that_misses_commits_stops_whoever_reads_it() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let mut chain = Chain::default();
        append_as(&log.memory, &mut chain, [claim(42, 1, 7)]);
        let lost = commit(&chain, &body("x"), 1_000);
        chain.read(&lost[0]).unwrap();
        let behind = commit(&chain, &body("y"), 1_000);
        append_as(&log.memory, &mut chain, behind);
        let error = begin(&log, notebook()).error().await;
        assert!(matches!(error, TaskError::Unreadable { offset: Offset(1), .. }), "{error:?}");
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn an_input_trimmed_above_its_position_stops_the_task() {
    let run = async {
        let log = Log::with(&notebook()).await;
        put(&log.memory, "inbox", "a");
        let life = begin(&log, notebook());
        crate::fixture::arrives(&life, "a").await;
        life.stop().await;
        for value in ["b", "c"] {
            put(&log.memory, "inbox", value);
        }
        log.memory.delete_before(&at("inbox"), Offset(2)).await.unwrap();
        let error = begin(&log, notebook()).error().await;
        assert!(matches!(error, TaskError::Trimmed { earliest: Offset(2), position: Offset(1), .. }), "{error:?}");
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn an_input_that_lost_what_was_read_stops_the_task() {
    let run = async {
        let log = Log::with(&notebook()).await;
        for value in ["a", "b"] {
            put(&log.memory, "inbox", value);
        }
        let life = begin(&log, notebook());
        crate::fixture::arrives(&life, "b").await;
        log.memory.truncate(&at("inbox"), Offset(1)).unwrap();
        let error = life.error().await;
        assert!(matches!(error, TaskError::LogRegressed { found: Offset(1), .. }), "{error:?}");
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_changelog_trimmed_without_a_snapshot_stops_who_needs_it() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let life = begin(&log, notebook());
        life.handle.execute(put_command("a", None)).await.unwrap();
        life.stop().await;
        log.memory.delete_before(&at(CHANGELOG), Offset(1)).await.unwrap();
        let error = begin(&log, notebook()).error().await;
        assert!(matches!(error, TaskError::Trimmed { .. }), "{error:?}");
    };
    LocalSet::new().run_until(run).await;
}
