//! Tests with a disk that fails: what the caller is told, and what is in the log afterwards.

use std::fs::File;
use std::io::{self, Error as IoError};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use event_log::{Cleanup, Error, EventLog, FetchFrom, FetchLimits, Fetched, Offset, Record, TopicPartition, TopicSpec};
use rustix::io::Errno;

use crate::disk::{Direct, Disk};
use crate::{Config, EmbeddedLog, SyncPolicy};

mod files;

/// What goes wrong next.
#[derive(Debug, Default, Clone)]
struct Plan {
    /// The next write stops after this many bytes with this error.
    write: Option<(usize, Errno)>,
    /// The next read fails.
    read: Option<Errno>,
    /// The next file is not created.
    create: Option<Errno>,
    /// So many directories are not opened.
    open: Option<(u32, Errno)>,
    /// Files whose names end like this are not replaced.
    replace: Option<(&'static str, Errno)>,
    /// Every cut fails.
    cut: Option<Errno>,
    /// The next fsync fails.
    sync: Option<Errno>,
    /// Fsyncs wait until this is over.
    hold: bool,
    /// Fsyncs that need not wait.
    pass: u64,
    /// Fsyncs that have begun.
    syncs: u64,
}

#[derive(Debug, Default)]
struct Faulty {
    plan: Mutex<Plan>,
    changed: Condvar,
}

impl Faulty {
    fn plan(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.plan.lock().unwrap());
        self.changed.notify_all();
    }

    fn wait_for_syncs(&self, count: u64) {
        let plan = self.plan.lock().unwrap();
        let (_plan, late) =
            self.changed.wait_timeout_while(plan, Duration::from_secs(30), |plan| plan.syncs < count).unwrap();
        assert!(!late.timed_out(), "the fsync begins in time");
    }
}

impl Faulty {
    fn refuses(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let refused = self.plan.lock().unwrap().replace;
        let Some((_, errno)) = refused.filter(|(name, _)| path.to_str().unwrap().ends_with(name)) else {
            return Ok(());
        };
        // What a full disk leaves of it.
        std::fs::write(path.with_extension("tmp"), &content[..content.len() / 2])?;
        Err(errno.into())
    }
}

impl Disk for Faulty {
    fn read(&self, file: &File, bytes: &mut [u8], position: u64) -> io::Result<()> {
        match self.plan.lock().unwrap().read.take() {
            Some(errno) => Err(errno.into()),
            None => Direct.read(file, bytes, position),
        }
    }

    fn create(&self, path: &Path) -> io::Result<()> {
        match self.plan.lock().unwrap().create.take() {
            Some(errno) => Err(errno.into()),
            None => Direct.create(path),
        }
    }

    fn open_directory(&self, path: &Path) -> io::Result<File> {
        match &mut self.plan.lock().unwrap().open {
            Some((left @ 1.., errno)) => {
                *left -= 1;
                Err((*errno).into())
            }
            _ => Direct.open_directory(path),
        }
    }

    fn replace_durably(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.refuses(path, content)?;
        Direct.replace_durably(path, content)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.refuses(path, content)?;
        Direct.replace(path, content)
    }

    fn write(&self, file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
        if let Some((written, errno)) = self.plan.lock().unwrap().write.take() {
            file.write_all_at(&bytes[..written.min(bytes.len())], position)?;
            return Err(errno.into());
        }
        Direct.write(file, bytes, position)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let mut plan = self.plan.lock().unwrap();
        plan.syncs += 1;
        self.changed.notify_all();
        plan = self.changed.wait_while(plan, |plan| plan.hold && plan.pass == 0).unwrap();
        plan.pass = plan.pass.saturating_sub(1);
        if let Some(errno) = plan.sync.take() {
            return Err(errno.into());
        }
        drop(plan);
        Direct.sync(file)
    }

    fn cut(&self, file: &File, length: u64) -> io::Result<()> {
        match self.plan.lock().unwrap().cut {
            Some(errno) => Err(IoError::from(errno)),
            None => Direct.cut(file, length),
        }
    }
}

struct Bench {
    disk: Arc<Faulty>,
    config: Config,
    log: EmbeddedLog,
    partition: TopicPartition,
    directory: tempfile::TempDir,
}

impl Bench {
    async fn new(sync: SyncPolicy) -> Self {
        Self::with(sync, |_| {}).await
    }

    /// One with small segments, every read of which goes to the disk.
    async fn small(sync: SyncPolicy) -> Self {
        Self::with(sync, |config| (config.segment_bytes, config.tail_cache_bytes) = (1_500, 0)).await
    }

    async fn with(sync: SyncPolicy, change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::new(Faulty::default());
        let mut config = Config { sync, ..Config::new(directory.path()) };
        change(&mut config);
        let log = EmbeddedLog::open_on(config.clone(), disk.clone()).unwrap();
        let spec = TopicSpec { name: "events".into(), partitions: 2, cleanup: Cleanup::Never };
        log.ensure_topic(&spec).await.unwrap();
        Self { disk, config, log, partition: TopicPartition::new("events", 0), directory }
    }

    async fn append(&self, number: i64) -> Result<Offset, Error> {
        self.log.append(&self.partition, vec![record(number)]).await
    }

    /// The numbers of all records.
    async fn numbers(&self) -> Vec<i64> {
        let mut numbers = Vec::new();
        while let Some(fetched) = fetch(&self.log, &self.partition, numbers.len() as u64, Duration::ZERO).await.pop() {
            numbers.extend(fetched.result.unwrap().records.iter().map(|stored| stored.record.timestamp_ms));
        }
        numbers
    }

    /// Drops the log as a process that dies, and opens it on a sound disk.
    fn reopen(&mut self) {
        let elsewhere = Config::new(self.directory.path().join("elsewhere"));
        self.log = EmbeddedLog::open(elsewhere).unwrap();
        self.disk = Arc::default();
        self.log = EmbeddedLog::open_on(self.config.clone(), self.disk.clone()).unwrap();
    }
}

async fn fetch(log: &EmbeddedLog, partition: &TopicPartition, offset: u64, max_wait: Duration) -> Vec<Fetched> {
    let from = [FetchFrom { partition: partition.clone(), offset: Offset(offset) }];
    log.fetch(&from, FetchLimits { max_bytes_per_partition: 1 << 20, max_wait }).await.unwrap()
}

fn record(number: i64) -> Record {
    Record { value: Some(vec![b'x'; 500].into()), timestamp_ms: number, ..Record::default() }
}

async fn until(condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reached).await.expect("it happens in time");
}

const BOTH: [SyncPolicy; 2] = [SyncPolicy::Os, SyncPolicy::Group];

#[tokio::test]
async fn a_failed_write_leaves_no_trace() {
    for sync in BOTH {
        let mut bench = Bench::new(sync).await;
        bench.append(0).await.unwrap();
        for (written, errno) in
            [(0, Errno::NOSPC), (1, Errno::NOSPC), (300, Errno::DQUOT), (60, Errno::IO), (999, Errno::FBIG)]
        {
            bench.disk.plan(|plan| plan.write = Some((written, errno)));
            let refused = bench.append(-1).await;
            let retryable = matches!(errno, Errno::NOSPC | Errno::DQUOT);
            let as_promised = match &refused {
                Err(Error::Unavailable(message)) => retryable && message.contains("events/0"),
                Err(Error::Failed(message)) => !retryable && message.contains("events/0"),
                _ => false,
            };
            assert!(as_promised, "{errno}: {refused:?}");
            assert_eq!(bench.log.latest(&bench.partition).await.unwrap(), Offset(1));
            assert_eq!(bench.numbers().await, [0]);
            bench.reopen();
            assert_eq!(bench.numbers().await, [0]);
        }
        bench.disk.plan(|plan| plan.write = Some((100, Errno::NOSPC)));
        bench.append(-1).await.unwrap_err();
        assert_eq!(bench.append(1).await.unwrap(), Offset(1));
        bench.reopen();
        assert_eq!(bench.numbers().await, [0, 1]);
    }
}

#[tokio::test]
async fn a_write_that_cannot_be_taken_back_stops_the_partition() {
    for sync in BOTH {
        let mut bench = Bench::new(sync).await;
        bench.append(0).await.unwrap();
        bench.disk.plan(|plan| (plan.write, plan.cut) = (Some((300, Errno::NOSPC)), Some(Errno::IO)));
        for _ in 0..3 {
            let refused = bench.append(-1).await;
            assert!(matches!(refused, Err(Error::Failed(_))), "{refused:?}");
        }
        assert_eq!(bench.numbers().await, [0], "what is there can still be read");
        let other = TopicPartition { partition: 1, ..bench.partition.clone() };
        bench.log.append(&other, vec![record(5)]).await.unwrap();
        bench.reopen();
        assert_eq!(bench.numbers().await, [0]);
        assert_eq!(bench.append(1).await.unwrap(), Offset(1));
        assert_eq!(bench.numbers().await, [0, 1]);
    }
}

#[tokio::test]
async fn a_failed_fsync_is_not_tried_again() {
    let mut bench = Bench::new(SyncPolicy::Group).await;
    bench.append(0).await.unwrap();
    bench.disk.plan(|plan| plan.sync = Some(Errno::IO));
    let refused = bench.append(1).await;
    assert!(matches!(&refused, Err(Error::Failed(message)) if message.contains("fsync")), "{refused:?}");
    // The disk is sound again, but what the first fsync lost would be missing.
    let refused = bench.append(2).await;
    assert!(matches!(refused, Err(Error::Failed(_))), "{refused:?}");
    assert_eq!(bench.log.latest(&bench.partition).await.unwrap(), Offset(1));
    assert_eq!(bench.numbers().await, [0], "nobody reads what is not durable");
    let other = TopicPartition { partition: 1, ..bench.partition.clone() };
    bench.log.append(&other, vec![record(5)]).await.unwrap();
    bench.log.close().await;
    bench.reopen();
    let numbers = bench.numbers().await;
    assert_eq!(numbers, [0, 1], "the append was answered with an error and may be there");
    assert_eq!(bench.append(2).await.unwrap(), Offset(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_share_a_round_and_are_read_after_it() {
    let bench = Bench::new(SyncPolicy::Group).await;
    bench.append(0).await.unwrap();
    let before = bench.log.stats();
    bench.disk.plan(|plan| (plan.hold, plan.syncs) = (true, 0));
    let mut appends = Vec::new();
    let mut append = |number| {
        let (log, partition) = (bench.log.clone(), bench.partition.clone());
        appends.push(tokio::spawn(async move { log.append(&partition, vec![record(number)]).await }));
    };
    append(1);
    bench.disk.wait_for_syncs(1);
    // The first round runs; these gather meanwhile.
    (2..50).for_each(&mut append);
    until(|| bench.log.stats().appends == 50).await;
    assert_eq!(bench.log.latest(&bench.partition).await.unwrap(), Offset(1));
    assert!(fetch(&bench.log, &bench.partition, 1, Duration::from_millis(20)).await.is_empty());
    bench.disk.plan(|plan| plan.hold = false);
    for append in appends {
        append.await.unwrap().unwrap();
    }
    let after = bench.log.stats();
    assert_eq!(after.rounds - before.rounds, 2, "one for the first and one for all others");
    assert_eq!(after.fsyncs - before.fsyncs, 2);
    assert_eq!(bench.numbers().await.len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_of_a_round_are_synced_beside_each_other() {
    let bench = Bench::new(SyncPolicy::Group).await;
    let partitions = [0, 1].map(|partition| TopicPartition { partition, ..bench.partition.clone() });
    for partition in &partitions {
        bench.log.append(partition, vec![record(0)]).await.unwrap();
    }
    bench.disk.plan(|plan| (plan.hold, plan.syncs) = (true, 0));
    let append = |partition: &TopicPartition| {
        let (log, partition) = (bench.log.clone(), partition.clone());
        tokio::spawn(async move { log.append(&partition, vec![record(1)]).await })
    };
    let first = append(&partitions[0]);
    bench.disk.wait_for_syncs(1);
    // Both go into the round behind the one that runs.
    let others = [append(&partitions[0]), append(&partitions[1])];
    until(|| bench.log.engine().syncer().queued() == 2).await;
    bench.disk.plan(|plan| plan.pass = 1);
    first.await.unwrap().unwrap();
    bench.disk.wait_for_syncs(3);
    bench.disk.plan(|plan| plan.hold = false);
    for append in others {
        append.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_waits_for_the_round_that_runs() {
    let mut bench = Bench::new(SyncPolicy::Group).await;
    bench.disk.plan(|plan| plan.hold = true);
    let (log, partition) = (bench.log.clone(), bench.partition.clone());
    let append = tokio::spawn(async move { log.append(&partition, vec![record(0)]).await });
    bench.disk.wait_for_syncs(1);
    let log = bench.log.clone();
    let closing = tokio::spawn(async move { log.close().await });
    bench.disk.plan(|plan| plan.hold = false);
    append.await.unwrap().unwrap();
    closing.await.unwrap();
    bench.reopen();
    assert_eq!(bench.numbers().await, [0]);
}
