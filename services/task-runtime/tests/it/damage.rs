//! Damage that a task meets while it runs: whoever meets it, the task ends, so that its store is rebuilt.

use task_runtime::{Config, Consistency, Role, TaskError};
use tokio::task::LocalSet;

use crate::disk::Disk;
use crate::fixture::{Life, Log, ROWS, begin_as, begin_with, notebook};

/// Reads a row as a gRPC method does, which makes a refusal of the error and goes on.
async fn read_damaged(life: &Life, consistency: Consistency) {
    let read = life.handle.read(consistency, |view| view.get(ROWS, b"a").is_err());
    let met = read.await.map(|(met, _)| met);
    assert_eq!(met, Ok(true));
}

async fn is_rebuilt_after(error: TaskError, log: &Log, disk: &Disk) {
    assert!(matches!(error, TaskError::Corrupted(_)), "{error:?}");
    task_runtime::Disks::wipe(disk, "notebook/0");
    let life = begin_with(log, notebook(), Config::default(), disk);
    assert_eq!(life.has("a").await, Ok(true));
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn damage_that_only_a_read_meets_ends_the_owner() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let disk = Disk::default();
        let life = begin_with(&log, notebook(), Config::default(), &disk);
        life.put("a", None).await.unwrap();
        disk.mar("a");
        read_damaged(&life, Consistency::Strong).await;
        is_rebuilt_after(life.error().await, &log, &disk).await;
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn damage_that_only_a_read_meets_ends_the_standby() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let owner = begin_as(Role::Active, "owner", &log, &Disk::default());
        let written = owner.put("a", None).await.unwrap();
        let disk = Disk::default();
        let standby = begin_as(Role::Standby, "standby", &log, &disk);
        let seen = standby.handle.read(Consistency::AtLeast(written.position), |_| ()).await;
        assert!(seen.is_ok(), "{seen:?}");
        disk.mar("a");
        read_damaged(&standby, Consistency::Eventual).await;
        let error = standby.error().await;
        owner.stop().await;
        is_rebuilt_after(error, &log, &disk).await;
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn damage_that_only_a_snapshot_meets_ends_the_owner() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let disk = Disk::default();
        let life = begin_with(&log, notebook(), Config::default(), &disk);
        life.put("a", None).await.unwrap();
        life.stop().await;
        disk.mar("a");
        // It is time for one at once.
        let config = Config { snapshot_after_records: 1, ..Config::default() };
        let error = begin_with(&log, notebook(), config, &disk).error().await;
        is_rebuilt_after(error, &log, &disk).await;
    };
    LocalSet::new().run_until(run).await;
}
