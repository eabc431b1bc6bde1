//! Single lives of tasks on a log in memory, in simulated time, with a hand on what happens to the log between two steps.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use event_log::{
    Error, EventLog, FetchFrom, FetchLimits, Fetched, MemoryLog, Offset, Record, StoredRecord, TopicPartition,
    TopicSpec,
};
use futures::FutureExt;
use task_runtime::changelog::{Body, Chain, Chunk, Entry, OwnerId, Read};
use task_runtime::{
    Assignment, CallError, Clock, Command, Committed, Config, Consistency, Definition, Handle, Reply, Role, Roster,
    Start, Storage, StoreId, TaskError, TaskStatus, simulated, topics,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::disk::Disk;

pub(crate) const ROWS: StoreId = StoreId::new(1, "rows");

type Hook = Box<dyn FnOnce(&MemoryLog) + Send>;

/// A log in memory that does something else just before an append to a topic.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) memory: MemoryLog,
    pub(crate) begin: Instant,
    /// How far the clock of the tasks is ahead, in milliseconds.
    ahead_ms: Arc<AtomicI64>,
    /// Whether an append takes time.
    slow: Arc<AtomicBool>,
    /// Whether the log is away.
    away: Arc<AtomicBool>,
    /// A topic that takes nothing.
    refused: Arc<Mutex<Option<&'static str>>>,
    hooks: Arc<Mutex<VecDeque<(&'static str, Hook)>>>,
    /// What happens just before the next fetch from a topic.
    fetched: Arc<Mutex<Option<(&'static str, Hook)>>>,
    /// The last offset that anybody has fetched from, by topic.
    fetched_from: Arc<Mutex<BTreeMap<String, u64>>>,
    /// What the next who asks for the end of a topic is told.
    end: Arc<Mutex<Option<(&'static str, Offset)>>>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}

impl Log {
    /// A log with the topics of a definition, in one partition each.
    pub(crate) async fn with(definition: &Definition) -> Self {
        let log = Self {
            memory: MemoryLog::default(),
            begin: Instant::now(),
            ahead_ms: Arc::default(),
            slow: Arc::default(),
            away: Arc::default(),
            refused: Arc::default(),
            hooks: Arc::default(),
            fetched: Arc::default(),
            fetched_from: Arc::default(),
            end: Arc::default(),
        };
        for spec in topics(std::slice::from_ref(definition), 1) {
            log.memory.ensure_topic(&spec).await.unwrap();
        }
        log
    }

    /// From now on appends take time.
    pub(crate) fn slow_down(&self) {
        self.slow.store(true, Ordering::Relaxed);
    }

    /// Puts the clock of the tasks so far ahead of the true time.
    pub(crate) fn put_the_clock_ahead(&self, by_ms: i64) {
        self.ahead_ms.store(by_ms, Ordering::Relaxed);
    }

    /// The same log over a connection that fails on its own.
    pub(crate) fn elsewhere(&self) -> Self {
        Self { away: Arc::default(), ..self.clone() }
    }

    /// From now on this topic takes nothing; or all do again.
    pub(crate) fn refuse(&self, topic: Option<&'static str>) {
        *self.refused.lock().unwrap() = topic;
    }

    /// From now on nobody learns what stands in the log.
    pub(crate) fn hang_up(&self) {
        self.away.store(true, Ordering::Relaxed);
    }

    pub(crate) fn answer_again(&self) {
        self.away.store(false, Ordering::Relaxed);
    }

    async fn answer(&self) -> Result<(), Error> {
        if !self.away.load(Ordering::Relaxed) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        Err(Error::Unavailable("it was told to be away".to_owned()))
    }

    /// The last offset of a topic that anybody has fetched from.
    pub(crate) fn fetched_from(&self, topic: &str) -> Option<u64> {
        self.fetched_from.lock().unwrap().get(topic).copied()
    }

    /// Tells the next who asks for the end of a topic that it is here, and that late: as if the answer had been on its way for long.
    pub(crate) fn end_once(&self, topic: &'static str, end: Offset) {
        *self.end.lock().unwrap() = Some((topic, end));
    }

    /// Does this just before the next append to a topic.
    pub(crate) fn before_next_append(&self, topic: &'static str, hook: impl FnOnce(&MemoryLog) + Send + 'static) {
        self.hooks.lock().unwrap().push_back((topic, Box::new(hook)));
    }

    /// Does this just before the next fetch from a topic.
    pub(crate) fn before_next_fetch(&self, topic: &'static str, hook: impl FnOnce(&MemoryLog) + Send + 'static) {
        *self.fetched.lock().unwrap() = Some((topic, Box::new(hook)));
    }
}

pub(crate) fn at(topic: &str) -> TopicPartition {
    TopicPartition::new(topic, 0)
}

/// Appends a value to a topic, at once.
pub(crate) fn put(log: &MemoryLog, topic: &str, value: impl Into<Bytes>) -> Offset {
    let record = Record { value: Some(value.into()), ..Record::default() };
    log.append(&at(topic), vec![record]).now_or_never().unwrap().unwrap()
}

/// All records of a topic.
pub(crate) fn all(log: &MemoryLog, topic: &str) -> Vec<StoredRecord> {
    let earliest = log.earliest(&at(topic)).now_or_never().unwrap().unwrap();
    let from = [FetchFrom { partition: at(topic), offset: earliest }];
    let limits = FetchLimits { max_bytes_per_partition: usize::MAX, max_wait: Duration::ZERO };
    let fetched = log.fetch(&from, limits).now_or_never().unwrap().unwrap().pop();
    fetched.map_or_else(Vec::new, |fetched| fetched.result.unwrap().records)
}

/// Reads a changelog: what counts, and the reader behind it.
pub(crate) fn reading(log: &MemoryLog, topic: &str) -> (Vec<Body>, Chain) {
    let (mut chain, mut bodies) = (Chain::default(), Vec::new());
    for stored in all(log, topic) {
        if let Read::Committed(body) = chain.read(&stored.record.value.unwrap()).unwrap() {
            bodies.push(*body);
        }
    }
    (bodies, chain)
}

/// A claim by someone else.
pub(crate) fn claim(incarnation: u128, epoch: u64, life: u64) -> Bytes {
    let owner = OwnerId { instance: "rival".to_owned(), life };
    Entry::Claim { incarnation, epoch, owner }.encode()
}

/// The next commit behind what a chain has read, in parts of at most this size.
pub(crate) fn commit(chain: &Chain, body: &Body, part_bytes: usize) -> Vec<Bytes> {
    let whole = body.encode();
    let parts = whole.len().div_ceil(part_bytes);
    let entry = |part: usize| {
        Entry::Commit(Chunk {
            incarnation: chain.incarnation.unwrap(),
            epoch: chain.epoch,
            life: chain.owner.as_ref().unwrap().life,
            number: chain.number + 1,
            prev_hash: chain.hash,
            body_hash: xxhash_rust::xxh3::xxh3_128(&whole),
            part: u32::try_from(part).unwrap(),
            parts: u32::try_from(parts).unwrap(),
            bytes: whole.slice(part * part_bytes..whole.len().min((part + 1) * part_bytes)),
        })
        .encode()
    };
    (0..parts).map(entry).collect()
}

/// One life of a task.
pub(crate) struct Life {
    pub(crate) handle: Handle,
    pub(crate) roster: Roster,
    pub(crate) shutdown: CancellationToken,
    pub(crate) job: JoinHandle<Result<(), TaskError>>,
}

pub(crate) fn begin(log: &Log, definition: Definition) -> Life {
    begin_with(log, definition, Config::default(), &Disk::default())
}

pub(crate) fn begin_with(log: &Log, definition: Definition, config: Config, disk: &Disk) -> Life {
    begin_at("local", Assignment::Alone, log, definition, config, disk)
}

/// A task of the instance `at` that plays this role until it is told otherwise.
pub(crate) fn begin_as(role: Role, at: &str, log: &Log, disk: &Disk) -> Life {
    begin_at(at, Assignment::Managed(role), log, notebook(), Config::default(), disk)
}

pub(crate) fn begin_at(
    instance: &str,
    assignment: Assignment,
    log: &Log,
    definition: Definition,
    config: Config,
    disk: &Disk,
) -> Life {
    let storage = Storage::Simulated(Arc::new(disk.clone()));
    let clock = Arc::new(SimulatedClock(log.begin, log.ahead_ms.clone()));
    let instance = instance.to_owned();
    let start = Start { config, clock, instance, assignment, ..Start::new(Arc::new(log.clone()), storage, 1) };
    let shutdown = CancellationToken::new();
    let mut number = 100;
    let random = Box::new(move || {
        number += 1;
        number
    });
    let (handle, roster, task) = simulated(&start, &definition, 0, shutdown.clone(), random);
    Life { handle, roster, shutdown, job: tokio::task::spawn_local(task) }
}

impl Life {
    /// Adds a row by the command `Put`.
    pub(crate) async fn put(&self, key: &str, request_id: Option<&str>) -> Result<Committed, CallError> {
        self.handle.execute(put_command(key, request_id)).await
    }

    /// Gives the task another role.
    pub(crate) fn assign(&self, role: Role) {
        assert!(self.roster.assign("notebook", 0, role), "the task is known");
    }

    pub(crate) fn status(&self) -> TaskStatus {
        self.roster.status_of("notebook", 0).unwrap()
    }

    /// Waits until the task's status is like this.
    pub(crate) async fn reaches(&self, what: impl Fn(&TaskStatus) -> bool) {
        let mut changes = self.roster.watch();
        let reached = async {
            while !what(&self.status()) {
                // Numbers change without a word: look now and then.
                let _ = tokio::time::timeout(Duration::from_millis(20), changes.changed()).await;
            }
        };
        let reached = tokio::time::timeout(Duration::from_secs(60), reached).await;
        assert!(reached.is_ok(), "it stays {:?}", self.status());
    }

    /// Whether a row is there, as fresh as this.
    pub(crate) async fn sees(&self, key: &'static str, consistency: Consistency) -> Result<(bool, Role), CallError> {
        let read =
            self.handle.read(consistency, |view| (view.get(ROWS, key.as_bytes()).unwrap().is_some(), view.role()));
        read.await.map(|(found, _)| found)
    }

    /// Whether a row is there, for certain.
    pub(crate) async fn has(&self, key: &'static str) -> Result<bool, CallError> {
        let read = self.handle.read(Consistency::Strong, |view| view.get(ROWS, key.as_bytes()).unwrap().is_some());
        read.await.map(|(found, _)| found)
    }

    /// Waits until a row is there.
    pub(crate) async fn waits_for(&self, key: &'static str) -> Result<(), CallError> {
        let wait = self.handle.wait(ROWS, key.as_bytes(), |view| view.get(ROWS, key.as_bytes()).unwrap());
        wait.await.map(|_| ())
    }

    /// The error that the life ends with by itself.
    pub(crate) async fn error(self) -> TaskError {
        self.job.await.unwrap().expect_err("it cannot go on")
    }

    /// Ends the life in good order once it has restored its state.
    pub(crate) async fn stop_when_running(self) {
        self.handle.read(Consistency::Strong, |_| ()).await.unwrap();
        self.stop().await;
    }

    /// Ends the life in good order.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.job.await.unwrap().unwrap();
    }
}

pub(crate) fn put_command(key: &str, request_id: Option<&str>) -> Command {
    Command {
        name: "Put",
        key: Bytes::copy_from_slice(key.as_bytes()),
        request_id: request_id.map(str::to_owned),
        payload: Bytes::new(),
        attachment: Bytes::new(),
        time_ms: 1_000,
        traceparent: None,
    }
}

/// A service that puts rows by command, tells of each on the topic `told`, and puts a row for each record of `inbox`.
pub(crate) fn notebook() -> Definition {
    Definition::new("notebook")
        .store(ROWS)
        .output("told")
        .command("Put", |context, command| {
            context.put(ROWS, &command.key, "by command");
            context.emit("told", &command.key, command.key.clone())?;
            Ok(Reply(command.key.clone()))
        })
        .input("inbox", |context, input| {
            let value = input.value()?.clone();
            context.put(ROWS, &value, "by record");
            Ok(())
        })
}

/// Waits until a row is there.
pub(crate) async fn arrives(life: &Life, key: &'static str) {
    tokio::time::timeout(Duration::from_secs(60), life.waits_for(key)).await.expect("it arrives").unwrap();
}

/// Begins in the first second of 1970 and moves with simulated time, unless it was put ahead.
#[derive(Debug)]
struct SimulatedClock(Instant, Arc<AtomicI64>);

#[async_trait]
impl Clock for SimulatedClock {
    fn now_ms(&self) -> i64 {
        1_000 + self.monotonic_ms() + self.1.load(Ordering::Relaxed)
    }

    fn monotonic_ms(&self) -> i64 {
        i64::try_from(self.0.elapsed().as_millis()).unwrap()
    }

    async fn sleep_until(&self, at_ms: i64) {
        let millis = u64::try_from(at_ms - self.monotonic_ms()).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

#[async_trait]
impl EventLog for Log {
    async fn ensure_topic(&self, spec: &TopicSpec) -> Result<(), Error> {
        self.memory.ensure_topic(spec).await
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, Error> {
        EventLog::topics(&self.memory).await
    }

    async fn append(&self, partition: &TopicPartition, records: Vec<Record>) -> Result<Offset, Error> {
        let hook = {
            let mut hooks = self.hooks.lock().unwrap();
            let is_next = hooks.front().is_some_and(|(topic, _)| *topic == partition.topic.as_str());
            if is_next { hooks.pop_front() } else { None }
        };
        if let Some((_, hook)) = hook {
            hook(&self.memory);
        }
        if self.refused.lock().unwrap().is_some_and(|refused| refused == partition.topic.as_str()) {
            return Err(Error::Unavailable("it was told to refuse".to_owned()));
        }
        if self.slow.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.memory.append(partition, records).await
    }

    async fn fetch(&self, from: &[FetchFrom], limits: FetchLimits) -> Result<Vec<Fetched>, Error> {
        self.answer().await?;
        for from in from {
            self.fetched_from.lock().unwrap().insert(from.partition.topic.as_str().to_owned(), from.offset.0);
        }
        let is_from = |topic: &str| from.iter().any(|from| from.partition.topic.as_str() == topic);
        let hook = self.fetched.lock().unwrap().take_if(|(topic, _)| is_from(topic));
        if let Some((_, hook)) = hook {
            hook(&self.memory);
        }
        self.memory.fetch(from, limits).await
    }

    async fn earliest(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        self.memory.earliest(partition).await
    }

    async fn latest(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        self.answer().await?;
        let told = self.end.lock().unwrap().take_if(|(topic, _)| *topic == partition.topic.as_str());
        if let Some((_, end)) = told {
            tokio::time::sleep(Duration::from_millis(2)).await;
            return Ok(end);
        }
        self.memory.latest(partition).await
    }

    async fn delete_before(&self, partition: &TopicPartition, offset: Offset) -> Result<(), Error> {
        self.memory.delete_before(partition, offset).await
    }
}
