//! The brokers under test: where they are, one test at a time for those that are harmed, and a hand on single nodes.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use event_log::{
    Cleanup, Error, EventLog, FetchFrom, FetchLimits, Offset, Record, StoredRecord, TopicPartition, TopicSpec,
};
use kafka_log::{Config, KafkaLog};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::{Instant, sleep, timeout};

/// Longest time for anything that must happen at last: a broker that was killed comes back, a leader is elected.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

static IN_USE: RwLock<()> = RwLock::const_new(());

/// Others may use the brokers, too, but nobody harms them.
pub(crate) async fn shared() -> RwLockReadGuard<'static, ()> {
    IN_USE.read().await
}

/// Nobody else uses the brokers.
pub(crate) async fn alone() -> RwLockWriteGuard<'static, ()> {
    IN_USE.write().await
}

#[expect(clippy::disallowed_methods, reason = "tests that need a broker are told where it is")]
pub(crate) fn directory() -> PathBuf {
    let named = std::env::var("ORDERMESH_TEST_KAFKA_DIR");
    named.expect("needs a Kafka broker: tools/kafka.sh start DIR, ORDERMESH_TEST_KAFKA_DIR=DIR").into()
}

/// A file that `tools/kafka.sh` wrote into its directory.
pub(crate) fn file(name: &str) -> String {
    let path = directory().join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim().to_owned()
}

/// Waits longer for what comes than a mesh would: test machines are busy, and brokers that were killed slow for a while.
pub(crate) fn config() -> Config {
    patient(file("bootstrap").split(',').map(str::to_owned).collect())
}

pub(crate) fn patient(brokers: Vec<String>) -> Config {
    Config {
        connect_timeout: Duration::from_secs(20),
        request_timeout: Duration::from_secs(30),
        operation_timeout: PATIENCE,
        ..Config::new(brokers)
    }
}

/// Waits less for what does not come, so that tests of that do not take long.
pub(crate) fn hasty() -> Config {
    Config {
        connect_timeout: Duration::from_millis(700),
        request_timeout: Duration::from_secs(1),
        operation_timeout: Duration::from_millis(1_500),
        poll_wait: Duration::from_secs(1),
        ..config()
    }
}

pub(crate) async fn log() -> KafkaLog {
    KafkaLog::connect(config()).await.unwrap()
}

/// A log that waits little, once the brokers answer at all.
pub(crate) async fn hasty_log(brokers: Vec<String>) -> KafkaLog {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match KafkaLog::connect(Config { brokers: brokers.clone(), ..hasty() }).await {
            Ok(log) => return log,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

/// A name that no other test and no other run uses.
pub(crate) fn unique(name: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    #[expect(clippy::disallowed_methods, reason = "runs are told apart by when they were")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    format!("{name}-{now}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn spec(name: &str, partitions: u32, cleanup: Cleanup) -> TopicSpec {
    TopicSpec { name: name.into(), partitions, cleanup }
}

/// A new topic of one partition.
pub(crate) async fn topic(name: &str) -> TopicPartition {
    let name = unique(name);
    log().await.ensure_topic(&spec(&name, 1, Cleanup::Never)).await.unwrap();
    TopicPartition::new(name.as_str(), 0)
}

pub(crate) fn record(value: impl Into<String>) -> Record {
    Record { value: Some(value.into().into()), ..Record::default() }
}

/// Runs a command of `tools/kafka.sh`.
pub(crate) fn control(arguments: &[&str]) -> String {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tools/kafka.sh");
    let output = Command::new(script).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Does something to one node: kill, pause, resume, restart.
pub(crate) fn node(action: &str, number: i32) {
    control(&[action, directory().to_str().unwrap(), &number.to_string()]);
}

/// Appends until the log takes it, as the runtime does. Every try may have been appended.
pub(crate) async fn append_at_last(log: &KafkaLog, partition: &TopicPartition, value: &str) -> Offset {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match log.append(partition, vec![record(value)]).await {
            Ok(offset) => return offset,
            Err(error) if error.is_retryable() && Instant::now() < deadline => sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{value} cannot be appended: {error}"),
        }
    }
}

/// Everything in a partition, once it can be read.
pub(crate) async fn all(log: &KafkaLog, partition: &TopicPartition) -> Vec<StoredRecord> {
    let read = async {
        let end = loop {
            match log.latest(partition).await {
                Ok(end) => break end,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        };
        let mut records: Vec<StoredRecord> = Vec::new();
        while records.last().map_or(Offset::ZERO, |last| last.offset.next()) < end {
            let offset = records.last().map_or(Offset::ZERO, |last| last.offset.next());
            match fetch(log, partition, offset.0, Duration::from_secs(1)).await {
                Some(Ok(some)) => records.extend(some),
                Some(Err(error)) => assert!(error.is_retryable(), "{error}"),
                None => {}
            }
        }
        records
    };
    timeout(PATIENCE, read).await.expect("the partition can be read in time")
}

/// One fetch of one partition.
pub(crate) async fn fetch(
    log: &KafkaLog,
    partition: &TopicPartition,
    offset: u64,
    max_wait: Duration,
) -> Option<Result<Vec<StoredRecord>, Error>> {
    let from = [FetchFrom { partition: partition.clone(), offset: Offset(offset) }];
    let limits = FetchLimits { max_bytes_per_partition: 1 << 20, max_wait };
    let fetched = log.fetch(&from, limits).await.unwrap().pop()?;
    Some(fetched.result.map(|batch| batch.records))
}

/// Values in the order of their offsets.
pub(crate) fn values(records: &[StoredRecord]) -> Vec<String> {
    let value = |stored: &StoredRecord| String::from_utf8_lossy(stored.record.value.as_ref().unwrap()).into_owned();
    records.iter().map(value).collect()
}

/// Fails if something takes longer than it may.
pub(crate) async fn within<T>(limit: Duration, what: &str, act: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let result = timeout(limit, act).await.unwrap_or_else(|_| panic!("{what} takes longer than {limit:?}"));
    eprintln!("{what}: {:?}", begun.elapsed());
    result
}
