//! What a task takes from its inputs: each output of each life of each sender once and in order, everything of others as it
//! comes, and nothing that stops it.

use bytes::Bytes;
use event_log::{EventLog, Header, MemoryLog, Record};
use futures::FutureExt;
use task_runtime::{Assignment, Config, Definition, ProcessError, Role, SOURCE_HEADER, Source, StoreId, TaskError};
use tokio::task::LocalSet;

use crate::disk::Disk;
use crate::fixture::{Life, Log, all, arrives, at, begin, begin_with, notebook, put, reading};

const SEEN: StoreId = StoreId::new(1, "seen");

/// Counts how often it was given each value; refuses what begins with `bad`.
fn counter() -> Definition {
    Definition::new("counter").store(SEEN).input("inbox", |context, input| {
        let value = input.value()?.clone();
        if value.starts_with(b"bad") {
            return Err(ProcessError::poison("it is bad"));
        }
        let before = context.get(SEEN, &value)?.map_or(0, |times| times[0]);
        context.put(SEEN, &value, vec![before + 1]);
        Ok(())
    })
}

fn send(log: &MemoryLog, headers: Vec<Header>, value: &'static str) {
    let record = Record { value: Some(Bytes::from(value)), headers, ..Record::default() };
    log.append(&at("inbox"), vec![record]).now_or_never().unwrap().unwrap();
}

fn from(incarnation: u128, sequence: u64) -> Vec<Header> {
    vec![Header::new(SOURCE_HEADER, Source { task: "sender/0", incarnation, sequence }.to_value())]
}

/// How often each of these was taken once `last` is there.
async fn times<const N: usize>(log: &Log, values: [&'static str; N], last: &'static str) -> [u8; N] {
    times_in(begin(log, counter()), values, last).await
}

async fn times_in<const N: usize>(life: Life, values: [&'static str; N], last: &'static str) -> [u8; N] {
    arrives(&life, last).await;
    let read = life.handle.read(task_runtime::Consistency::Strong, move |view| {
        values.map(|value| view.get(SEEN, value.as_bytes()).unwrap().map_or(0, |times| times[0]))
    });
    let (times, _) = read.await.unwrap();
    life.stop().await;
    times
}

#[tokio::test(start_paused = true)]
async fn records_of_a_sender_are_taken_once_and_in_order() {
    let run = async {
        let log = Log::with(&counter()).await;
        for (sequence, value) in [(1, "one"), (1, "one"), (2, "two"), (1, "one"), (2, "two"), (3, "three")] {
            send(&log.memory, from(7, sequence), value);
        }
        send(&log.memory, from(7, 4), "end");
        assert_eq!(times(&log, ["one", "two", "three"], "end").await, [1, 1, 1]);
    };
    LocalSet::new().run_until(run).await;
}

/// A sender sends in order and one after the other, so that what is missing was there.
#[tokio::test(start_paused = true)]
async fn records_that_were_lost_before_they_were_read_stop_the_task() {
    let run = async {
        let log = Log::with(&counter()).await;
        for (sequence, value) in [(1, "one"), (4, "four"), (5, "end")] {
            send(&log.memory, from(7, sequence), value);
        }
        let error = begin(&log, counter()).error().await;
        let TaskError::InputLost { offset, sender, first, last, .. } = &error else { panic!("{error:?}") };
        assert_eq!((offset.0, sender.as_str(), *first, *last), (1, "sender/0", 2, 3));
        let again = begin(&log, counter()).error().await;
        assert_eq!(again.to_string(), error.to_string(), "it forgets nothing by being started again");
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_told_to_accept_a_loss_goes_on_without_what_is_lost() {
    let run = async {
        let log = Log::with(&counter()).await;
        for (sequence, value) in [(1, "one"), (4, "four"), (3, "late"), (4, "four"), (5, "end")] {
            send(&log.memory, from(7, sequence), value);
        }
        let config = Config { accept_input_loss: true, ..Config::default() };
        let life = begin_with(&log, counter(), config, &Disk::default());
        assert_eq!(times_in(life, ["one", "four", "late"], "end").await, [1, 1, 0]);
        // Once it has gone on, it need not be told any more.
        assert_eq!(times(&log, ["one", "four", "late"], "end").await, [1, 1, 0]);
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_begins_a_new_life_begins_to_count_anew() {
    let run = async {
        let log = Log::with(&counter()).await;
        send(&log.memory, from(7, 1), "old");
        send(&log.memory, from(8, 1), "new");
        // What the old life sent late still counts for the old life.
        send(&log.memory, from(7, 2), "late");
        send(&log.memory, from(7, 1), "old");
        send(&log.memory, from(8, 2), "end");
        assert_eq!(times(&log, ["old", "new", "late"], "end").await, [1, 1, 1]);
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn records_from_outside_are_taken_as_often_as_they_stand_there() {
    let run = async {
        let log = Log::with(&counter()).await;
        send(&log.memory, Vec::new(), "plain");
        send(&log.memory, Vec::new(), "plain");
        for damaged in [&b""[..], b"sender/0", b"sender/0;zz;1", b"\xff\xff;1;1"] {
            send(&log.memory, vec![Header::new(SOURCE_HEADER, damaged)], "damaged");
        }
        send(&log.memory, Vec::new(), "end");
        assert_eq!(times(&log, ["plain", "damaged"], "end").await, [2, 4]);
        // And not again by the next life.
        send(&log.memory, Vec::new(), "end of the next");
        assert_eq!(times(&log, ["plain", "damaged"], "end of the next").await, [2, 4]);
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_poisoned_record_goes_to_the_dead_letters_with_its_reason_and_place() {
    let run = async {
        let log = Log::with(&counter()).await;
        send(&log.memory, from(7, 1), "bad");
        send(&log.memory, from(7, 2), "good");
        assert_eq!(times(&log, ["bad", "good"], "good").await, [0, 1]);
        let letters = all(&log.memory, "counter-dead-letters");
        assert_eq!(letters.len(), 1);
        let header = |name: &str| letters[0].record.header(name).unwrap().clone();
        assert_eq!(header("ordermesh-dead-letter-reason"), "it is bad");
        assert_eq!(header("ordermesh-dead-letter-source"), "inbox/0/0");
        assert_eq!(Source::of(&letters[0].record).unwrap().task, "counter/0");
        assert_eq!(letters[0].record.value.as_deref(), Some(&b"bad"[..]));
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn a_poisoned_record_as_large_as_the_log_takes_does_not_stop_the_task() {
    let run = async {
        let log = Log::with(&counter()).await;
        let large = [&b"bad"[..], &vec![b'x'; 1_048_000]].concat();
        let headers = vec![Header::new("trace", vec![b'h'; 300])];
        let record = Record { value: Some(Bytes::from(large)), headers, ..Record::default() };
        log.memory.append(&at("inbox"), vec![record]).await.unwrap();
        put(&log.memory, "inbox", "good");
        assert_eq!(times(&log, ["good"], "good").await, [1]);
        let letters = all(&log.memory, "counter-dead-letters");
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].record.header("ordermesh-dead-letter-cut").unwrap(), "1048003");
        assert!(letters[0].record.value.as_ref().unwrap().starts_with(b"badx"));
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn records_are_not_starved_by_commands() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let config = Config { batch_items_max: 4, calls_waiting_max: 64, ..Config::default() };
        let life = begin_with(&log, notebook(), config, &Disk::default());
        assert_eq!(life.has("r").await, Ok(false));
        log.slow_down();
        log.before_next_append("notebook-changelog", |log| {
            put(log, "inbox", "r");
        });
        let keys: Vec<String> = (0..40).map(|number| format!("c{number}")).collect();
        futures::future::join_all(keys.iter().map(|key| life.put(key, None))).await;
        arrives(&life, "r").await;
        life.stop().await;
        let (bodies, _) = reading(&log.memory, "notebook-changelog");
        let with_record = bodies.iter().position(|body| !body.positions.is_empty()).unwrap();
        assert!((1..4).contains(&with_record), "the record came with commit {with_record} of {}", bodies.len());
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_forgotten_when_its_time_is_over() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let disk = Disk::default();
        let config = Config { request_memory: std::time::Duration::from_secs(60), ..Config::default() };
        let life = begin_with(&log, notebook(), config.clone(), &disk);
        life.put("a", Some("one")).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(50)).await;
        life.put("a", Some("one")).await.unwrap();
        assert_eq!((disk.rows(2), disk.rows(3)), (1, 1));
        life.job.abort();
        // The next owner forgets it too, without anyone asking for anything.
        let life = begin_with(&log, notebook(), config, &disk);
        tokio::time::sleep(std::time::Duration::from_secs(50)).await;
        assert_eq!((disk.rows(2), disk.rows(3)), (0, 0));
        life.put("a", Some("one")).await.unwrap();
        let (bodies, _) = reading(&log.memory, "notebook-changelog");
        assert_eq!(bodies.iter().flat_map(|body| &body.outputs).count(), 2, "a repeat after that is a new request");
        life.stop().await;
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn a_topic_with_another_number_of_partitions_is_refused() {
    let log: event_log::SharedLog = std::sync::Arc::new(MemoryLog::default());
    let storage = || task_runtime::Storage::Memory(std::sync::Arc::new(|_| state_store::MemoryStore::default()));
    let first = task_runtime::Start::new(log.clone(), storage(), 2);
    let runtime = task_runtime::Runtime::start(first, vec![counter()]).await.unwrap();
    runtime.running().await.unwrap();
    assert!(runtime.stop(std::time::Duration::from_secs(10)).await);
    let other = task_runtime::Start::new(log, storage(), 3);
    let refused = task_runtime::Runtime::start(other, vec![counter()]).await.unwrap_err();
    assert!(matches!(refused, event_log::Error::TopicMismatch { .. }), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_changelog_that_is_gone_or_made_anew_refuses_the_start_of_what_has_written_before() {
    let log = std::sync::Arc::new(MemoryLog::default());
    let storage = || task_runtime::Storage::Memory(std::sync::Arc::new(|_| state_store::MemoryStore::default()));
    let start = || task_runtime::Start::new(log.clone(), storage(), 1);
    let letters =
        event_log::TopicSpec { name: counter().dead_letters(), partitions: 1, cleanup: event_log::Cleanup::Never };
    log.ensure_topic(&letters).await.unwrap();
    let partition = event_log::TopicPartition::new(letters.name.clone(), 0);
    log.append(&partition, vec![event_log::Record::default()]).await.unwrap();
    let refused = task_runtime::Runtime::start(start(), vec![counter()]).await.unwrap_err().to_string();
    assert!(refused.contains("counter-changelog is missing"), "{refused}");
    // Nor does it help to make it anew.
    let changelog = event_log::TopicSpec { name: counter().changelog(), ..letters };
    log.ensure_topic(&changelog).await.unwrap();
    let refused = task_runtime::Runtime::start(start(), vec![counter()]).await.unwrap_err().to_string();
    assert!(refused.contains("counter-changelog is empty"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_changelog_that_another_instance_has_begun_meanwhile_is_not_taken_for_one_that_is_gone() {
    let run = async {
        let log = Log::with(&notebook()).await;
        let first = begin(&log, notebook());
        first.put("a", None).await.unwrap();
        arrives(&first, "a").await;
        // It was looked at before that.
        log.end_once("notebook-changelog", event_log::Offset::ZERO);
        let storage = task_runtime::Storage::Memory(std::sync::Arc::new(|_| state_store::MemoryStore::default()));
        let start = task_runtime::Start::new(std::sync::Arc::new(log.clone()), storage, 1);
        let start = task_runtime::Start { assignment: Assignment::Managed(Role::Idle), ..start };
        task_runtime::Runtime::start(start, vec![notebook()]).await.unwrap();
        first.stop().await;
    };
    LocalSet::new().run_until(run).await;
}

/// How often the commits of a `kind` of reader took records, of one that comes alone and of four that come every 10 ms behind it.
async fn takings(definition: Definition) -> Vec<usize> {
    let log = Log::with(&definition).await;
    let life = begin(&log, definition);
    put(&log.memory, "inbox", "alone");
    let begun = tokio::time::Instant::now();
    arrives(&life, "alone").await;
    assert_eq!(begun.elapsed().as_millis(), 0, "it waits for nobody");
    for value in ["b", "c", "d", "e"] {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        put(&log.memory, "inbox", value);
    }
    arrives(&life, "e").await;
    assert!(begun.elapsed() <= Config::default().patience, "the last waits no longer than patience lasts");
    life.stop().await;
    let (bodies, _) = reading(&log.memory, "reader-changelog");
    bodies.iter().map(|body| body.changes.len()).filter(|taken| *taken > 0).collect()
}

#[tokio::test(start_paused = true)]
async fn a_patient_input_is_taken_at_once_when_it_comes_alone_and_together_under_load() {
    let read = |context: &mut task_runtime::Context<'_>, input: &task_runtime::Input<'_>| {
        let value = input.value()?.clone();
        context.put(SEEN, &value, "taken");
        context.emit("told", &value, value.clone())
    };
    LocalSet::new()
        .run_until(async move {
            let reader = || Definition::new("reader").store(SEEN).output("told");
            assert_eq!(takings(reader().input("inbox", read)).await, [1, 1, 1, 1, 1]);
            assert_eq!(takings(reader().patient("inbox", read)).await, [1, 4]);
        })
        .await;
}
