//! What a store holds, against what its changelog says.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event_log::{MemoryLog, SharedLog};
use state_store::{MemoryStore, Store};
use task_runtime::{Assignment, Config, Handle, Role, Runtime, Start, Storage, rebuild};

use crate::fixture::{notebook, put_command};

fn start(log: &MemoryLog, instance: &str, role: Role) -> Start {
    let storage = Storage::Memory(Arc::new(|_| MemoryStore::default()));
    Start {
        config: Config { snapshot_after_records: 10, snapshot_part_bytes: 100, ..Config::default() },
        instance: instance.to_owned(),
        assignment: Assignment::Managed(role),
        ..Start::new(Arc::new(log.clone()) as SharedLog, storage, 1)
    }
}

async fn begin(start: Start) -> (Runtime, Handle) {
    let runtime = Runtime::start(start, vec![notebook()]).await.unwrap();
    runtime.running().await.unwrap();
    let handle = runtime.tasks("notebook").unwrap().for_partition(0).unwrap().clone();
    (runtime, handle)
}

#[tokio::test]
async fn owner_standby_and_a_rebuilt_store_hold_the_same_at_the_same_offset() {
    let log = MemoryLog::default();
    let (one, owner) = begin(start(&log, "one", Role::Active)).await;
    let (two, standby) = begin(start(&log, "two", Role::Standby)).await;
    let mut last = 0;
    for number in 0..60 {
        last = owner.execute(put_command(&format!("row-{number}"), None)).await.unwrap().position.offset;
    }
    let caught_up = async {
        while standby.digest().await.unwrap().offset < last {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), caught_up).await.unwrap();
    for handle in [&owner, &standby] {
        let found = handle.digest().await.unwrap();
        let rebuilt = rebuild(start(&log, "judge", Role::Idle), notebook(), 0, vec![found.offset]).await.unwrap();
        assert_eq!((rebuilt[0].digest, rebuilt[0].offset), (found.digest, found.offset));
        assert!(rebuilt[0].snapshot_offset.is_some(), "the beginning of the changelog is trimmed");
    }
    assert!(one.stop(Duration::from_secs(10)).await && two.stop(Duration::from_secs(10)).await);
}

#[tokio::test]
async fn a_store_that_holds_something_else_is_found() {
    let log = MemoryLog::default();
    let with_a_stray_row = Storage::Memory(Arc::new(|_| {
        let mut store = MemoryStore::default();
        let rows = [Ok((Bytes::from_static(b"\x81stray"), Bytes::from_static(b"row")))];
        // No checkpoint that can be read: the runtime takes it for empty.
        store.bulk_load(Box::new(rows.into_iter()), b"").unwrap();
        store
    }));
    let (one, owner) = begin(Start { storage: with_a_stray_row, ..start(&log, "one", Role::Active) }).await;
    owner.execute(put_command("a", None)).await.unwrap();
    let found = owner.digest().await.unwrap();
    let rebuilt = rebuild(start(&log, "judge", Role::Idle), notebook(), 0, vec![found.offset]).await.unwrap();
    assert_ne!(rebuilt[0].digest, found.digest);
    assert!(one.stop(Duration::from_secs(10)).await);
}
