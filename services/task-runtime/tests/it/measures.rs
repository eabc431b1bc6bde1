//! What an owner measures of itself: how far it is behind its inputs, how long publishing takes, and who waits.

use std::time::Duration;

use task_runtime::{Config, Role, TaskState};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use crate::disk::Disk;
use crate::fixture::{Log, ROWS, all, arrives, begin, begin_as, begin_with, notebook, put, put_command};
use crate::meters::Meters;

const INPUT_LAG: &str = "ordermesh_task_input_lag_records{service=\"notebook\",partition=\"0\",topic=\"inbox\"}";
const PUBLISH_SECONDS: &str = "ordermesh_publish_duration_seconds{service=\"notebook\"}";

fn of(name: &str) -> String {
    format!("{name}{{service=\"notebook\",partition=\"0\"}}")
}

/// A log for a notebook, and the recorder of this thread.
async fn measured(test: impl AsyncFnOnce(Log, Meters)) {
    let meters = Meters::default();
    let _recorded = metrics::set_default_local_recorder(&meters);
    LocalSet::new().run_until(async { test(Log::with(&notebook()).await, meters.clone()).await }).await;
}

/// Waits until a metric has this value.
async fn reaches(meters: &Meters, name: &str, value: f64) {
    let reached = async {
        while meters.last(name) != value {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(60), reached).await;
    assert!(reached.is_ok(), "{name} is {:?}", meters.values(name));
}

#[tokio::test(start_paused = true)]
async fn an_owner_tells_how_far_it_is_behind_each_input() {
    measured(async |log, meters| {
        for value in ["a", "b", "c"] {
            put(&log.memory, "inbox", value);
        }
        let config = Config { batch_items_max: 1, ..Config::default() };
        let life = begin_with(&log, notebook(), config, &Disk::default());
        arrives(&life, "c").await;
        reaches(&meters, INPUT_LAG, 0.0).await;
        let lags = meters.values(INPUT_LAG);
        assert!([3.0, 2.0, 1.0].iter().all(|lag| lags.contains(lag)), "{lags:?}");
        life.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_tells_how_many_inputs_each_commit_carries() {
    measured(async |log, meters| {
        let life = begin(&log, notebook());
        life.put("first", None).await.unwrap();
        for value in ["a", "b", "c", "d"] {
            put(&log.memory, "inbox", value);
            sleep(Duration::from_millis(10)).await;
        }
        arrives(&life, "d").await;
        life.stop().await;
        let carried = meters.values("ordermesh_commit_items{service=\"notebook\"}");
        assert_eq!(carried.iter().sum::<f64>(), meters.last(&of("ordermesh_task_items_total")), "{carried:?}");
        assert_eq!(carried.len() as f64, meters.last(&of("ordermesh_commits_total")), "{carried:?}");
        assert!(carried.iter().any(|inputs| *inputs > 1.0), "some came while others were held: {carried:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_stands_by_no_more_is_behind_nothing() {
    measured(async |log, meters| {
        let owner = begin_as(Role::Active, "a", &log, &Disk::default());
        owner.put("a", None).await.unwrap();
        let standby = begin_as(Role::Standby, "b", &log, &Disk::default());
        standby.reaches(|status| status.is_warm()).await;
        let before = meters.values(&of("ordermesh_task_lag_records")).len();
        standby.assign(Role::Idle);
        standby.reaches(|status| status.state == TaskState::Suspended).await;
        assert_eq!(meters.last(&of("ordermesh_task_lag_records")), 0.0);
        assert!(meters.values(&of("ordermesh_task_lag_records")).len() > before, "it says so, whatever it said before");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_tells_of_what_it_publishes_and_how_long_that_takes() {
    measured(async |log, meters| {
        let life = begin(&log, notebook());
        log.refuse(Some("told"));
        life.put("a", None).await.unwrap();
        life.put("b", None).await.unwrap();
        sleep(Duration::from_secs(3)).await;
        let (published, left) = (of("ordermesh_published_records_total"), of("ordermesh_outbox_records"));
        assert_eq!((meters.last(&published), meters.last(&left)), (0.0, 2.0));
        assert_eq!(meters.values(PUBLISH_SECONDS), []);
        log.refuse(None);
        reaches(&meters, &published, 2.0).await;
        assert_eq!(meters.last(&left), 0.0, "it does not wait for the next commit to say so");
        let seconds = meters.values(PUBLISH_SECONDS);
        assert!(seconds.len() == 2 && seconds.iter().all(|seconds| (3.0..5.0).contains(seconds)), "{seconds:?}");
        life.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_standby_reads_of_publishing_counts_for_its_owner_only() {
    measured(async |log, meters| {
        let standby = begin_as(Role::Standby, "b", &log, &Disk::default());
        let owner = begin_as(Role::Active, "a", &log, &Disk::default());
        owner.reaches(|status| status.is_owner()).await;
        owner.put("a", None).await.unwrap();
        owner.put("b", None).await.unwrap();
        owner.stop().await;
        let end = all(&log.memory, "notebook-changelog").len() as u64;
        standby.reaches(|status| status.applied_offset == end).await;
        standby.stop().await;
        assert_eq!(meters.values(PUBLISH_SECONDS).len(), 2, "both are in this process");
        assert_eq!(meters.last(&of("ordermesh_published_records_total")), 2.0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_tells_who_waits() {
    measured(async |log, meters| {
        let life = begin(&log, notebook());
        life.put("first", None).await.unwrap();
        let (calls, waits) = (of("ordermesh_task_calls_waiting"), of("ordermesh_task_waits"));
        log.refuse(Some("notebook-changelog"));
        let put = |key: &'static str| {
            let handle = life.handle.clone();
            spawn_local(async move { handle.execute(put_command(key, None)).await })
        };
        let in_flight = put("in flight");
        sleep(Duration::from_millis(1)).await;
        let queued = ["b", "c", "d"].map(put);
        reaches(&meters, &calls, 3.0).await;
        log.refuse(None);
        in_flight.await.unwrap().unwrap();
        for call in queued {
            call.await.unwrap().unwrap();
        }
        reaches(&meters, &calls, 0.0).await;
        let handle = life.handle.clone();
        let waiting = spawn_local(async move { handle.wait(ROWS, b"never", |_| None::<()>).await });
        reaches(&meters, &waits, 1.0).await;
        life.stop().await;
        assert!(waiting.await.unwrap().is_err());
        assert_eq!(meters.last(&waits), 0.0, "nobody waits for a task that has ended");
    })
    .await;
}
