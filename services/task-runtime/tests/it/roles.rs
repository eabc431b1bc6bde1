//! Roles that change while a task runs: who answers what, who takes over, and what a deposed owner does.

use std::sync::Arc;
use std::time::Duration;

use event_log::{EventLog, MemoryLog, Offset};
use state_store::MemoryStore;
use task_runtime::{
    Assignment, CallError, Consistency, Position, Role, Runtime, Start, Storage, TaskState, TaskStatus,
};
use tokio::task::LocalSet;

use crate::disk::Disk;
use crate::fixture::{Log, all, at, begin_as, notebook};

fn not_owner(epoch: u64, owner: &str) -> CallError {
    CallError::NotOwner { service: "notebook", partition: 0, epoch, owner: Some(owner.to_owned()) }
}

#[tokio::test(start_paused = true)]
async fn a_standby_follows_and_answers_what_needs_no_owner() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let (disk, spare) = (Disk::default(), Disk::default());
        let owner = begin_as(Role::Active, "one", &log, &disk);
        owner.reaches(TaskStatus::is_owner).await;
        let standby = begin_as(Role::Standby, "two", &log, &spare);
        standby.reaches(TaskStatus::is_warm).await;
        let position = owner.put("a", None).await.unwrap().position;
        assert_eq!(standby.sees("a", Consistency::AtLeast(position)).await, Ok((true, Role::Standby)));
        assert_eq!(standby.sees("a", Consistency::Eventual).await, Ok((true, Role::Standby)));
        let fresh = Consistency::MaxStaleness(Duration::ZERO);
        owner.put("b", None).await.unwrap();
        assert_eq!(standby.sees("b", fresh).await, Ok((true, Role::Standby)));
        assert_eq!(owner.sees("b", fresh).await, Ok((true, Role::Active)));
        assert_eq!(standby.sees("a", Consistency::Strong).await, Err(not_owner(1, "one")));
        assert_eq!(standby.put("c", None).await.unwrap_err(), not_owner(1, "one"));
        let status = standby.status();
        assert_eq!((status.applied_offset, status.lag_records), (owner.status().applied_offset, 0));
        owner.stop().await;
        let end = all(&log.memory, "notebook-changelog").len() as u64;
        standby.reaches(|status| status.applied_offset == end).await;
        standby.stop().await;
        assert_eq!(disk.digest(), spare.digest());
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_standby_does_not_wait_for_ever_for_a_position() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let owner = begin_as(Role::Active, "one", &log, &Disk::default());
        let position = owner.put("a", None).await.unwrap().position;
        let standby = begin_as(Role::Standby, "two", &log, &Disk::default());
        standby.reaches(TaskStatus::is_warm).await;
        let beyond = Position { offset: position.offset + 1, ..position };
        assert_eq!(standby.sees("a", Consistency::AtLeast(beyond)).await, Err(CallError::NotUpToBound));
        let foreign = Position { incarnation: 0, ..position };
        assert_eq!(standby.sees("a", Consistency::AtLeast(foreign)).await, Err(CallError::ForeignPosition));
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_promoted_standby_owns_and_the_deposed_owner_stands_by() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let first = begin_as(Role::Active, "one", &log, &Disk::default());
        first.put("a", None).await.unwrap();
        let second = begin_as(Role::Standby, "two", &log, &Disk::default());
        second.reaches(TaskStatus::is_warm).await;
        second.assign(Role::Active);
        second.put("b", None).await.unwrap();
        // The first does not know yet; a strong read makes it look.
        assert_eq!(first.sees("a", Consistency::Strong).await, Err(not_owner(2, "two")));
        first.reaches(TaskStatus::is_warm).await;
        let status = first.status();
        assert_eq!((status.role, status.epoch, status.owner.as_deref()), (Role::Standby, 2, Some("two")));
        assert_eq!(first.put("c", None).await.unwrap_err(), not_owner(2, "two"));
        // It does not claim by itself, but when it is told to.
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(second.has("b").await, Ok(true));
        first.assign(Role::Active);
        first.put("c", None).await.unwrap();
        assert_eq!((first.status().epoch, first.has("b").await), (3, Ok(true)));
        second.reaches(TaskStatus::is_warm).await;
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_deposed_owner_tells_no_wait_of_what_it_has_or_will_never_get() {
    let run = async {
        for key in ["a", "z"] {
            let log = Log::with(&notebook()).await;
            let first = begin_as(Role::Active, "one", &log, &Disk::default());
            first.put("a", None).await.unwrap();
            let second = begin_as(Role::Standby, "two", &log, &Disk::default());
            second.reaches(TaskStatus::is_warm).await;
            second.assign(Role::Active);
            second.put("b", None).await.unwrap();
            assert_eq!(first.waits_for(key).await, Err(not_owner(2, "two")), "{key}");
        }
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_what_is_to_come_asks_the_log_nothing() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let owner = begin_as(Role::Active, "one", &log, &Disk::default());
        owner.put("a", None).await.unwrap();
        // Whoever looked would find the log shorter than it was, and give up.
        log.end_once("notebook-changelog", Offset::ZERO);
        let (waited, put) = tokio::join!(owner.waits_for("b"), owner.put("b", None));
        assert_eq!((waited, put.is_ok()), (Ok(()), true));
        assert!(owner.waits_for("b").await.is_err(), "what is there already is told only to an owner");
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_has_read_on_since_it_asked_for_the_end_of_the_log_goes_on() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let owner = begin_as(Role::Active, "one", &log, &Disk::default());
        owner.put("a", None).await.unwrap();
        let standby = begin_as(Role::Standby, "two", &log, &Disk::default());
        standby.reaches(TaskStatus::is_warm).await;
        log.end_once("notebook-changelog", log.memory.latest(&at("notebook-changelog")).await.unwrap());
        let read = standby.sees("b", Consistency::MaxStaleness(Duration::ZERO));
        let put = async {
            // Behind the question, and before the answer.
            tokio::time::sleep(Duration::from_millis(1)).await;
            owner.put("b", None).await
        };
        let (read, put) = tokio::join!(read, put);
        assert_eq!((read, put.is_ok()), (Ok((true, Role::Standby)), true));
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(standby.sees("b", Consistency::Eventual).await, Ok((true, Role::Standby)), "the answer has come");
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn of_two_standbys_that_are_promoted_at_once_one_owns() {
    let run = async {
        let log = Log::with(&notebook()).await;
        log.slow_down();
        let lives: Vec<_> =
            ["one", "two"].map(|at| begin_as(Role::Standby, at, &log, &Disk::default())).into_iter().collect();
        for life in &lives {
            life.reaches(TaskStatus::is_warm).await;
            life.assign(Role::Active);
        }
        for life in &lives {
            life.reaches(|status| status.state == TaskState::Running && status.epoch > 0).await;
        }
        let owners: Vec<_> = lives.iter().filter(|life| life.status().is_owner()).collect();
        assert_eq!(owners.len(), 1);
        owners[0].put("a", None).await.unwrap();
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_released_owner_publishes_what_is_certified_and_refuses_from_then_on() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let (disk, spare) = (Disk::default(), Disk::default());
        let life = begin_as(Role::Active, "one", &log, &disk);
        life.reaches(TaskStatus::is_owner).await;
        log.slow_down();
        for key in ["a", "b", "c"] {
            life.put(key, None).await.unwrap();
        }
        life.assign(Role::Idle);
        life.reaches(|status| status.state == TaskState::Suspended).await;
        assert_eq!(all(&log.memory, "told").len(), 3);
        assert_eq!(life.put("d", None).await.unwrap_err(), not_owner(1, "one"));
        let next = begin_as(Role::Active, "two", &log, &spare);
        assert_eq!(next.has("c").await, Ok(true));
        next.stop().await;
        assert_eq!(all(&log.memory, "told").len(), 3, "nothing was left to publish");
        assert_eq!(disk.digest(), spare.digest());
        // And back again.
        life.assign(Role::Standby);
        life.reaches(TaskStatus::is_warm).await;
        assert_eq!(life.status().owner.as_deref(), Some("two"));
        life.stop().await;
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn calls_to_a_task_that_is_being_restored_are_sent_away() {
    let run = async {
        let log = Log::with(&notebook()).await;
        log.slow_down();
        let life = begin_as(Role::Idle, "one", &log, &Disk::default());
        let nobody = CallError::NotOwner { service: "notebook", partition: 0, epoch: 0, owner: None };
        assert_eq!(life.put("a", None).await.unwrap_err(), nobody);
        log.hang_up();
        life.assign(Role::Active);
        let moving = CallError::Moving { service: "notebook", partition: 0 };
        assert_eq!(life.put("a", None).await.unwrap_err(), moving);
        log.answer_again();
        life.reaches(TaskStatus::is_owner).await;
        life.put("a", None).await.unwrap();
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_role_that_is_taken_back_before_it_is_played_leaves_nothing_to_wait_for() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let life = begin_as(Role::Idle, "one", &log, &Disk::default());
        for role in [Role::Standby, Role::Active] {
            // Faster than it can look.
            life.assign(role);
            assert_eq!(life.status().state, TaskState::Restoring);
            life.assign(Role::Idle);
            life.roster.running().await.unwrap();
            // In the middle of the restore.
            log.hang_up();
            life.assign(role);
            tokio::time::sleep(Duration::from_millis(1)).await;
            life.assign(Role::Idle);
            life.roster.running().await.unwrap();
            assert_eq!((life.status().state, life.roster.restoring()), (TaskState::Suspended, None));
            log.answer_again();
        }
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_is_told_to_own_does_not_own_before_it_has_claimed() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let life = begin_as(Role::Standby, "one", &log, &Disk::default());
        life.reaches(TaskStatus::is_warm).await;
        life.assign(Role::Active);
        assert!(!life.status().is_owner());
        life.assign(Role::Standby);
        assert!(life.status().is_warm(), "it has not even looked up");
        life.assign(Role::Active);
        life.reaches(TaskStatus::is_owner).await;
        assert_eq!(life.status().epoch, 1);
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn a_runtime_changes_roles_and_tells_of_it() {
    let log = Arc::new(MemoryLog::default());
    let start = |instance: &str| Start {
        instance: instance.to_owned(),
        assignment: Assignment::Managed(Role::Idle),
        ..Start::new(log.clone(), Storage::Memory(Arc::new(|_| MemoryStore::default())), 2)
    };
    let one = Runtime::start(start("one"), vec![notebook()]).await.unwrap();
    let two = Runtime::start(start("two"), vec![notebook()]).await.unwrap();
    one.running().await.unwrap();
    assert!(one.status().iter().all(|status| status.state == TaskState::Created));
    let mut changes = one.watch();
    changes.mark_unchanged();
    assert!(one.assign("notebook", 1, Role::Active) && !one.assign("notebook", 2, Role::Active));
    tokio::time::timeout(Duration::from_secs(10), changes.changed()).await.unwrap().unwrap();
    one.running().await.unwrap();
    assert!(two.assign("notebook", 1, Role::Active));
    two.running().await.unwrap();
    let handle = one.tasks("notebook").unwrap().for_partition(1).unwrap().clone();
    let refused = handle.read(Consistency::Strong, |_| ()).await.unwrap_err();
    let owner = Some("two".to_owned());
    assert_eq!(refused, CallError::NotOwner { service: "notebook", partition: 1, epoch: 2, owner });
    let deposed = async {
        while one.roster().status_of("notebook", 1).unwrap().role != Role::Standby {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), deposed).await.unwrap();
    assert!(one.stop(Duration::from_secs(10)).await && two.stop(Duration::from_secs(10)).await);
}
