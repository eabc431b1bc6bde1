//! What the runtime itself costs, on a log and stores in memory: commands through one task and through a chain of two.
//!
//! `cargo bench -p task-runtime`

use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use event_log::{MemoryLog, SharedLog};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use state_store::MemoryStore;
use task_runtime::{Command, Definition, Reply, Runtime, Start, Storage, StoreId, Tasks};

const ROWS: StoreId = StoreId::new(1, "rows");

fn first() -> Definition {
    Definition::new("first").store(ROWS).output("hops").command("Put", |context, command| {
        context.put(ROWS, &command.key, command.payload.clone());
        context.emit("hops", &command.key, command.payload.clone())?;
        Ok(Reply(command.key.clone()))
    })
}

fn second() -> Definition {
    Definition::new("second").store(ROWS).input("hops", |context, input| {
        let key = input.record.key.clone().unwrap_or_default();
        context.put(ROWS, &key, input.value()?.clone());
        Ok(())
    })
}

fn command(number: u64) -> Command {
    Command {
        name: "Put",
        key: Bytes::from(format!("key-{number}")),
        request_id: Some(format!("request-{number}")),
        payload: Bytes::from(vec![7; 200]),
        attachment: Bytes::new(),
        time_ms: 1,
        traceparent: None,
    }
}

async fn put(tasks: &Tasks, number: u64) {
    let command = command(number);
    let handle = tasks.for_key(&command.key).expect("all partitions are here");
    handle.execute(command).await.expect("the task runs");
}

fn through_the_runtime(criterion: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let log: SharedLog = Arc::new(MemoryLog::default());
    let storage = Storage::Memory(Arc::new(|_| MemoryStore::default()));
    let started = Runtime::start(Start::new(log, storage, 2), vec![first(), second()]);
    let mesh = runtime.block_on(started).expect("the log is in memory");
    runtime.block_on(mesh.running()).expect("tasks start");
    let tasks = mesh.tasks("first").expect("it was started");
    let mut number = 0;

    let mut group = criterion.benchmark_group("command");
    group.bench_function("one at a time", |bencher| {
        bencher.iter(|| {
            number += 1;
            runtime.block_on(put(&tasks, number));
        });
    });
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("1,000 at once", |bencher| {
        bencher.iter(|| {
            let from = number;
            number += 1_000;
            runtime.block_on(async {
                let mut puts: FuturesUnordered<_> = (from..from + 1_000).map(|n| put(&tasks, n + 1)).collect();
                while puts.next().await.is_some() {}
            });
        });
    });
    group.finish();
}

criterion_group!(benches, through_the_runtime);
criterion_main!(benches);
