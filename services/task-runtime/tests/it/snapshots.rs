//! Snapshots: what they save a restore from reading, what may be trimmed because of them, and what happens when one of them
//! cannot be used.

use event_log::{EventLog, MemoryLog, Offset};
use futures::FutureExt;
use task_runtime::{Assignment, Config, Role, TaskError, TaskStatus};
use tokio::task::LocalSet;

use crate::disk::Disk;
use crate::fixture::{Life, Log, ROWS, all, at, begin_at, notebook, put, reading};
use crate::meters::Meters;

const CHANGELOG: &str = "notebook-changelog";
const SNAPSHOTS: &str = "notebook-snapshots";

/// A snapshot every few commits, each in many parts.
fn config() -> Config {
    Config { snapshot_after_records: 10, snapshot_part_bytes: 100, ..Config::default() }
}

fn begin(log: &Log, disk: &Disk) -> Life {
    begin_at("local", Assignment::Alone, log, notebook(), config(), disk)
}

fn begin_as(role: Role, instance: &str, log: &Log, disk: &Disk) -> Life {
    begin_at(instance, Assignment::Managed(role), log, notebook(), config(), disk)
}

async fn earliest(log: &MemoryLog, topic: &str) -> u64 {
    log.earliest(&at(topic)).await.unwrap().0
}

async fn put_rows(life: &Life, range: std::ops::Range<u32>) {
    for number in range {
        life.put(&format!("row-{number:03}"), None).await.unwrap();
    }
}

async fn rows(life: &Life) -> usize {
    let read = life
        .handle
        .read(task_runtime::Consistency::Strong, |view| view.scan(ROWS, b"", None, usize::MAX).unwrap().len());
    read.await.unwrap().0
}

/// A log whose changelog was trimmed, and the store of who wrote it.
async fn trimmed() -> (Log, Disk) {
    let (log, disk) = (Log::with(&notebook()).await, Disk::default());
    let life = begin(&log, &disk);
    put_rows(&life, 0..60).await;
    assert!(life.status().snapshot_offset.is_some());
    life.stop().await;
    assert!(earliest(&log.memory, CHANGELOG).await > 0 && earliest(&log.memory, SNAPSHOTS).await > 0);
    (log, disk)
}

#[tokio::test(start_paused = true)]
async fn a_store_is_restored_from_a_snapshot_and_what_is_behind_it() {
    let run = async {
        let (log, disk) = trimmed().await;
        let fresh = Disk::default();
        let life = begin(&log, &fresh);
        assert_eq!(rows(&life).await, 60);
        put_rows(&life, 60..70).await;
        life.stop().await;
        let again = begin(&log, &disk);
        assert_eq!(rows(&again).await, 70);
        again.stop().await;
        let third = Disk::default();
        begin(&log, &third).stop_when_running().await;
        assert_eq!(all(&log.memory, "told").len(), 70, "nothing is published twice or lost");
        assert_eq!(disk.rows(0x81), third.rows(0x81));
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_left_to_restore_counts_the_rows_of_a_snapshot() {
    let run = async {
        let (log, _) = trimmed().await;
        let meters = Meters::default();
        let _recorded = metrics::set_default_local_recorder(&meters);
        begin(&log, &Disk::default()).stop_when_running().await;
        let left = meters.values("ordermesh_restore_left_records{service=\"notebook\",partition=\"0\"}");
        assert!(left[0] > 40.0 && left.last() == Some(&0.0), "{left:?}");
        assert!(left.is_sorted_by(|earlier, later| earlier >= later), "{left:?}");
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_from_before_the_trimmed_part_is_rebuilt_from_a_snapshot() {
    let run = async {
        let (log, disk) = (Log::with(&notebook()).await, Disk::default());
        let life = begin(&log, &disk);
        put_rows(&life, 0..3).await;
        let old = disk.copy();
        put_rows(&life, 3..60).await;
        life.stop().await;
        let life = begin(&log, &old);
        assert_eq!(rows(&life).await, 60);
        life.stop().await;
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_snapshot_gives_way_to_the_one_before() {
    let run = async {
        let (log, _) = trimmed().await;
        // The newest loses its manifest, then parts as well: what is left leads to the one before.
        for lost in [1, 2, 3] {
            let end = all(&log.memory, SNAPSHOTS).last().unwrap().offset.0;
            log.memory.truncate(&at(SNAPSHOTS), Offset(end + 1 - lost)).unwrap();
            let life = begin(&log, &Disk::default());
            assert_eq!(rows(&life).await, 60);
            life.job.abort();
        }
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_record_of_somebody_else_behind_the_snapshots_hides_none_of_them() {
    let run = async {
        let (log, _) = trimmed().await;
        crate::fixture::put(&log.memory, SNAPSHOTS, "not one of ours");
        let life = begin(&log, &Disk::default());
        assert_eq!(rows(&life).await, 60);
        life.stop().await;
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_look_at_all_snapshots_begins_again_when_the_first_were_trimmed_meanwhile() {
    let run = async {
        let (log, _) = trimmed().await;
        // It leads to no snapshot, so that all records are looked at.
        put(&log.memory, SNAPSHOTS, "not one of ours");
        let first = earliest(&log.memory, SNAPSHOTS).await;
        log.before_next_fetch(SNAPSHOTS, move |memory| {
            memory.delete_before(&at(SNAPSHOTS), Offset(first + 1)).now_or_never().unwrap().unwrap();
        });
        let life = begin(&log, &Disk::default());
        assert_eq!(rows(&life).await, 60);
        life.stop().await;
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_restore_that_newer_snapshots_overtake_looks_again() {
    let run = async {
        let (log, disk) = trimmed().await;
        let end = log.memory.latest(&at(SNAPSHOTS)).await.unwrap();
        let life = begin(&log, &disk);
        put_rows(&life, 60..120).await;
        life.stop().await;
        assert!(earliest(&log.memory, SNAPSHOTS).await >= end.0);
        // Whoever restores asked for the end before, and all that he looks for has been trimmed since.
        log.end_once(SNAPSHOTS, end);
        let life = begin(&log, &Disk::default());
        assert_eq!(rows(&life).await, 120);
        life.stop().await;
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_trimmed_changelog_without_a_snapshot_stops_the_task() {
    let run = async {
        let (log, _) = trimmed().await;
        let end = all(&log.memory, SNAPSHOTS).last().unwrap().offset;
        log.memory.delete_before(&at(SNAPSHOTS), end.next()).await.unwrap();
        let error = begin(&log, &Disk::default()).error().await;
        assert!(matches!(error, TaskError::Trimmed { .. }), "{error:?}");
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_beyond_the_end_of_its_changelog_stops_the_task() {
    let run = async {
        let (log, _) = trimmed().await;
        let begin_of_log = earliest(&log.memory, CHANGELOG).await;
        log.memory.truncate(&at(CHANGELOG), Offset(begin_of_log + 1)).unwrap();
        let error = begin(&log, &Disk::default()).error().await;
        assert!(matches!(error, TaskError::LogRegressed { .. }), "{error:?}");
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn outputs_that_wait_to_be_published_hold_the_trimming_back() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let life = begin(&log, &Disk::default());
        put_rows(&life, 0..5).await;
        log.refuse(Some("told"));
        put_rows(&life, 5..60).await;
        assert!(life.status().snapshot_offset.is_some_and(|offset| offset > 40));
        // Commits 1 to 5 are at offsets 1 to 5: the first whose output waits must stay.
        assert!(earliest(&log.memory, CHANGELOG).await <= 6);
        life.job.abort();
        log.refuse(None);
        let next = begin(&log, &Disk::default());
        assert_eq!(rows(&next).await, 60);
        put_rows(&next, 60..100).await;
        next.stop().await;
        assert_eq!(all(&log.memory, "told").iter().filter(|stored| is_new(stored)).count(), 100);
        assert!(earliest(&log.memory, CHANGELOG).await > 6);
    };
    LocalSet::new().run_until(run).await;
}

/// Whether a record is the first with its sequence; those of a repeat differ in nothing.
fn is_new(stored: &event_log::StoredRecord) -> bool {
    let key = stored.record.key.as_ref().unwrap();
    let source = task_runtime::Source::of(&stored.record).unwrap();
    source.sequence > 0 && key.starts_with(b"row-") && source.sequence == number(key) + 1
}

fn number(key: &[u8]) -> u64 {
    std::str::from_utf8(&key[4..]).unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_was_overtaken_goes_on_from_a_snapshot() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let (disk, spare) = (Disk::default(), Disk::default());
        let owner = begin_as(Role::Active, "one", &log, &disk);
        put_rows(&owner, 0..5).await;
        let connection = log.elsewhere();
        let standby = begin_as(Role::Standby, "two", &connection, &spare);
        standby.reaches(TaskStatus::is_warm).await;
        connection.hang_up();
        put_rows(&owner, 5..80).await;
        assert!(standby.status().applied_offset < earliest(&log.memory, CHANGELOG).await);
        connection.answer_again();
        owner.stop().await;
        let end = log.memory.latest(&at(CHANGELOG)).await.unwrap().0;
        standby.reaches(|status| status.is_warm() && status.applied_offset == end).await;
        standby.assign(Role::Active);
        assert_eq!(rows(&standby).await, 80);
        standby.stop().await;
        assert_eq!(disk.rows(0x81), spare.rows(0x81));
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_deposed_owner_announces_does_not_count() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let first = begin_as(Role::Active, "one", &log, &Disk::default());
        put_rows(&first, 0..5).await;
        let (_, chain) = reading(&log.memory, CHANGELOG);
        // Just before the commit that announces: another owner claims.
        log.before_next_append(SNAPSHOTS, move |log| {
            let claim = crate::fixture::claim(chain.incarnation.unwrap(), chain.epoch + 1, 7);
            crate::fixture::put(log, CHANGELOG, claim);
        });
        while first.put("another", None).await.is_ok() {}
        first.reaches(|status| status.role == Role::Standby).await;
        assert_eq!(first.status().snapshot_offset, None);
        let (bodies, _) = reading(&log.memory, CHANGELOG);
        assert!(bodies.iter().all(|body| body.snapshot.is_none()));
        assert_eq!(earliest(&log.memory, CHANGELOG).await, 0);
    };
    LocalSet::new().run_until(run).await;
}
