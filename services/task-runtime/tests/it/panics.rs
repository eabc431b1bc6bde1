//! A panic outside of a handler ends its task where everybody can see it, whatever the other tasks of its thread do.

use std::sync::Arc;
use std::time::Duration;

use event_log::MemoryLog;
use state_store::MemoryStore;
use task_runtime::{CallError, Consistency, Runtime, Start, Storage, TaskState};

use crate::fixture::notebook;

/// Both partitions on one thread, their stores made by `make`.
async fn start(make: impl Fn(&str) -> MemoryStore + Send + Sync + 'static) -> Runtime {
    let start = Start::new(Arc::new(MemoryLog::default()), Storage::Memory(Arc::new(make)), 2);
    Runtime::start(start, vec![notebook()]).await.unwrap()
}

async fn failed(runtime: &Runtime) -> String {
    tokio::time::timeout(Duration::from_secs(10), runtime.failed()).await.expect("somebody hears of it")
}

#[tokio::test]
async fn a_task_that_panics_while_it_works_has_failed_at_once_and_the_others_go_on() {
    let runtime = start(|_| MemoryStore::default()).await;
    runtime.running().await.unwrap();
    let tasks = runtime.tasks("notebook").unwrap();
    let read = tasks.for_partition(1).unwrap().read(Consistency::Strong, |_| panic!("what it is asked cannot be"));
    assert!(matches!(read.await, Err::<((), _), _>(CallError::Stopped { .. })));
    assert_eq!(failed(&runtime).await, "task notebook/1: a panic: what it is asked cannot be");
    let states: Vec<_> = runtime.states().map(|(_, state)| matches!(state, TaskState::Failed(_))).collect();
    assert_eq!(states, [false, true]);
    tasks.for_partition(0).unwrap().read(Consistency::Strong, |_| ()).await.unwrap();
    assert!(runtime.stop(Duration::from_secs(10)).await, "the others end in good order");
}

#[tokio::test]
async fn a_task_whose_store_panics_when_it_is_opened_has_failed() {
    let make = |task: &str| if task == "notebook/1" { panic!("no store") } else { MemoryStore::default() };
    let runtime = start(make).await;
    assert_eq!(failed(&runtime).await, "task notebook/1: a panic: no store");
    assert_eq!(runtime.running().await.unwrap_err(), "task notebook/1: a panic: no store");
    assert!(runtime.stop(Duration::from_secs(10)).await, "the others end in good order");
}
