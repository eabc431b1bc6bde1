//! Two services, a topic between them, real threads: from a command to state two hops away.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event_log::{MemoryLog, SharedLog};
use state_store::MemoryStore;
use task_runtime::{
    CallError, Command, Consistency, Context, Definition, ProcessError, Reply, Runtime, Start, Storage, StoreId, Tasks,
    Timer,
};

const COUNTS: StoreId = StoreId::new(1, "counts");
const SEEN: StoreId = StoreId::new(1, "seen");

fn count(context: &mut Context<'_>, command: &Command) -> Result<Reply, ProcessError> {
    if command.payload.as_ref() == b"poison" {
        context.put(COUNTS, &command.key, "never");
        return Err(ProcessError::poison("asked to"));
    }
    let before = context.get(COUNTS, &command.key)?.map_or(0, |value| value[0]);
    context.put(COUNTS, &command.key, vec![before + 1]);
    context.emit("counted", &command.key, vec![before + 1])?;
    context.schedule("remind", &command.key, context.now_ms() + 20);
    Ok(Reply(Bytes::from(vec![before + 1])))
}

fn remind(context: &mut Context<'_>, timer: &Timer<'_>) -> Result<(), ProcessError> {
    context.emit("counted", timer.key, "r")
}

fn counter() -> Definition {
    Definition::new("counter").store(COUNTS).output("counted").command("Count", count).timer("remind", remind)
}

fn watcher() -> Definition {
    Definition::new("watcher").store(SEEN).input("counted", |context, input| {
        let key = input.record.key.clone().unwrap_or_default();
        let mut seen = context.get(SEEN, &key)?.unwrap_or_default().to_vec();
        seen.extend_from_slice(input.value()?);
        context.put(SEEN, &key, seen);
        Ok(())
    })
}

fn command(tasks: &Tasks, key: &str, request_id: Option<&str>, payload: &'static str) -> Command {
    Command {
        name: "Count",
        key: Bytes::copy_from_slice(key.as_bytes()),
        request_id: request_id.map(str::to_owned),
        payload: Bytes::from_static(payload.as_bytes()),
        attachment: Bytes::new(),
        time_ms: tasks.now_ms(),
        traceparent: None,
    }
}

async fn start(log: &SharedLog) -> Runtime {
    let storage = Storage::Memory(Arc::new(|_| MemoryStore::default()));
    let runtime = Runtime::start(Start::new(log.clone(), storage, 3), vec![counter(), watcher()]).await.unwrap();
    runtime.running().await.unwrap();
    runtime
}

async fn seen(watcher: &Tasks, key: &str, wanted: &'static [u8]) -> Bytes {
    let key_bytes = Bytes::copy_from_slice(key.as_bytes());
    let wait = watcher.for_key(key.as_bytes()).unwrap().wait(SEEN, key.as_bytes(), move |view| {
        view.get(SEEN, &key_bytes).unwrap().filter(|seen| seen.as_ref() == wanted)
    });
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("the state is reached").unwrap().0
}

#[tokio::test]
async fn a_command_takes_effect_two_hops_away_and_after_a_restart() {
    let log: SharedLog = Arc::new(MemoryLog::default());
    let runtime = start(&log).await;
    let (counter, watcher) = (runtime.tasks("counter").unwrap(), runtime.tasks("watcher").unwrap());
    let handle = counter.for_key(b"a").unwrap();
    let first = handle.execute(command(&counter, "a", Some("one"), "")).await.unwrap();
    let again = handle.execute(command(&counter, "a", Some("one"), "")).await.unwrap();
    assert_eq!((first.reply.as_ref(), again.reply.as_ref()), (&[1][..], &[1][..]));
    let reused = handle.execute(command(&counter, "a", Some("one"), "other")).await;
    assert_eq!(reused.unwrap_err(), CallError::RequestIdReused);
    assert_eq!(seen(&watcher, "a", b"\x01r").await.as_ref(), b"\x01r");
    assert!(runtime.stop(Duration::from_secs(10)).await);

    let runtime = start(&log).await;
    let (counter, watcher) = (runtime.tasks("counter").unwrap(), runtime.tasks("watcher").unwrap());
    let handle = counter.for_key(b"a").unwrap();
    let again = handle.execute(command(&counter, "a", Some("one"), "")).await.unwrap();
    assert_eq!(again.reply.as_ref(), &[1]);
    let second = handle.execute(command(&counter, "a", Some("two"), "")).await.unwrap();
    assert_eq!(second.reply.as_ref(), &[2]);
    assert_eq!(seen(&watcher, "a", b"\x01r\x02r").await.as_ref(), b"\x01r\x02r");
    assert!(runtime.stop(Duration::from_secs(10)).await);
}

#[tokio::test]
async fn a_poisoned_command_is_refused_and_leaves_nothing_behind() {
    let log: SharedLog = Arc::new(MemoryLog::default());
    let runtime = start(&log).await;
    let counter = runtime.tasks("counter").unwrap();
    let handle = counter.for_key(b"p").unwrap();
    let refused = handle.execute(command(&counter, "p", None, "poison")).await;
    assert_eq!(refused.unwrap_err(), CallError::Poison("asked to".to_owned()));
    let (value, _) = handle.read(Consistency::Strong, |view| view.get(COUNTS, b"p").unwrap()).await.unwrap();
    assert_eq!(value, None);
    assert!(runtime.stop(Duration::from_secs(10)).await);
}
