//! The direct door: the event-log port, served by the engine in the same process.

use std::sync::Arc;

use async_trait::async_trait;
use event_log::{
    Error, EventLog, FetchFrom, FetchLimits, Fetched, FetchedBatch, Offset, Record, StoredRecord, TopicPartition,
    TopicSpec,
};
use tokio::time::Instant;

use crate::batch::{self, Batch, Encoded};
use crate::disk::Direct;
use crate::engine::{Engine, Running};
use crate::partition::{Found, Partition};
use crate::wake::Reader;
use crate::{Config, Stats};

/// A log in a directory of this machine, for one process. Clones share it.
///
/// It is closed by [`close`](Self::close), or by dropping the last clone, which loses nothing either but leaves more to look
/// at when it is opened again.
#[derive(Debug, Clone)]
pub struct EmbeddedLog {
    running: Arc<Running>,
}

impl EmbeddedLog {
    /// Opens the log. Blocks on the disk: milliseconds, or about a second for each GB that was being written when a
    /// process died.
    ///
    /// # Errors
    /// When the directory is in use, was written by a newer version, is damaged, or cannot be read or written. A damaged
    /// partition is no error: its own calls are answered with [`Error::Failed`].
    pub fn open(config: Config) -> Result<Self, crate::Error> {
        Self::open_on(config, Arc::new(Direct))
    }

    pub(crate) fn open_on(config: Config, disk: Arc<dyn crate::disk::Disk>) -> Result<Self, crate::Error> {
        Ok(Self { running: Arc::new(Running::start(config, disk)?) })
    }

    /// Makes everything durable and gives the directory back. From now on all calls are answered with
    /// [`Error::Unavailable`], those that wait too.
    pub async fn close(&self) {
        let running = self.running.clone();
        // Once the runtime takes no more work, dropping the log does what matters.
        let _ = tokio::task::spawn_blocking(move || running.close()).await;
    }

    /// Totals since the log was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.engine().meters().stats(self.engine().budget().bytes())
    }

    /// Calls of fsync since the log was opened.
    #[must_use]
    pub fn fsync_count(&self) -> u64 {
        self.stats().fsyncs
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        self.running.engine()
    }

    /// Does what blocks on the disk on a thread that may.
    async fn blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        // The job keeps the directory locked even when this future and the log are dropped meanwhile.
        let running = self.running.clone();
        match tokio::task::spawn_blocking(move || act(running.engine())).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Error::Unavailable("the process is shutting down".to_owned())),
        }
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    async fn ensure_topic(&self, spec: &TopicSpec) -> Result<(), Error> {
        let spec = spec.clone();
        self.blocking(move |engine| engine.ensure_topic(&spec)).await
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, Error> {
        self.engine().check_open()?;
        Ok(self.engine().specs())
    }

    async fn append(&self, partition: &TopicPartition, records: Vec<Record>) -> Result<Offset, Error> {
        let engine = self.engine();
        let target = engine.partition(partition)?;
        if records.is_empty() {
            return Err(Error::Failed(format!("an append to {partition} has no records")));
        }
        let (size, limit) = (batch::encoded_size(&records), engine.config().max_batch_bytes);
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        let appended = target.append(engine, Encoded::new(&records))?;
        if let Some(durable) = appended.durable {
            let lost = |_| Err(Error::UnknownOutcome("the log was dropped during the append".to_owned()));
            durable.await.unwrap_or_else(lost)?;
        }
        Ok(Offset(appended.base))
    }

    async fn fetch(&self, from: &[FetchFrom], limits: FetchLimits) -> Result<Vec<Fetched>, Error> {
        // None when the wait is so long that it has no end.
        let deadline = Instant::now().checked_add(limits.max_wait);
        let targets = self.engine().lookup(from.iter().map(|wanted| &wanted.partition));
        let asked: Vec<Asked<'_>> = from.iter().zip(targets).map(|(wanted, target)| Asked { wanted, target }).collect();
        // Under load there is something already, and nobody has to be enlisted.
        let found = self.look(&asked, limits).await?;
        if !found.is_empty() || limits.max_wait.is_zero() {
            return Ok(found);
        }
        let reader = Reader::enlist(asked.iter().filter_map(|asked| asked.target.as_ref().ok().cloned()).collect());
        loop {
            let found = self.look(&asked, limits).await?;
            if !found.is_empty() {
                return Ok(found);
            }
            match deadline {
                None => reader.woken().await,
                Some(deadline) => {
                    if tokio::time::timeout_at(deadline, reader.woken()).await.is_err() {
                        return Ok(found);
                    }
                }
            }
        }
    }

    async fn earliest(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        self.engine().check_open()?;
        self.engine().partition(partition)?.earliest()
    }

    async fn latest(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        self.engine().check_open()?;
        self.engine().partition(partition)?.latest()
    }

    async fn delete_before(&self, partition: &TopicPartition, offset: Offset) -> Result<(), Error> {
        let partition = partition.clone();
        self.blocking(move |engine| engine.delete_before(&partition, offset.0)).await
    }
}

/// A partition of a fetch.
struct Asked<'a> {
    wanted: &'a FetchFrom,
    target: Result<Arc<Partition>, Error>,
}

impl Asked<'_> {
    fn find(&self, engine: &Engine, limits: FetchLimits) -> Result<Option<Found>, Error> {
        let target = self.target.as_ref().map_err(Clone::clone)?;
        target.find(engine, self.wanted.offset.0, limits.max_bytes_per_partition)
    }

    /// The records of batches in memory, from the offset asked for.
    fn records(&self, batches: &[Arc<Batch>]) -> Result<Vec<StoredRecord>, Error> {
        let mut records = Vec::new();
        for batch in batches {
            let decoded = batch.records().map_err(|damage| {
                Error::Failed(format!(
                    "the batch at {} of {} cannot be read: {damage}",
                    batch.base(),
                    self.wanted.partition
                ))
            })?;
            let skip = decoded.partition_point(|stored| stored.offset < self.wanted.offset);
            records.extend_from_slice(&decoded[skip..]);
        }
        Ok(records)
    }
}

impl EmbeddedLog {
    /// What there is now: an entry for each partition that has records or an error.
    async fn look(&self, asked: &[Asked<'_>], limits: FetchLimits) -> Result<Vec<Fetched>, Error> {
        let engine = self.engine();
        engine.check_open()?;
        let as_of = Instant::now();
        let mut answer = Vec::new();
        let mut on_disk = Vec::new();
        for asked in asked {
            let result = match asked.find(engine, limits) {
                Ok(None) => continue,
                Ok(Some(Found::Head { batches, high_watermark })) => {
                    asked.records(&batches).map(|records| FetchedBatch { records, high_watermark, as_of })
                }
                Ok(Some(Found::Disk(read))) => {
                    on_disk.push((answer.len(), read));
                    Ok(FetchedBatch { records: Vec::new(), high_watermark: asked.wanted.offset, as_of })
                }
                Err(error) => Err(error),
            };
            answer.push(Fetched { partition: asked.wanted.partition.clone(), result });
        }
        if !on_disk.is_empty() {
            // One hop for all of them.
            let run = move |engine: &Engine| {
                Ok(on_disk.into_iter().map(|(at, read)| (at, read.run(engine, as_of))).collect::<Vec<_>>())
            };
            for (at, result) in self.blocking(run).await? {
                answer[at].result = result;
            }
        }
        Ok(answer)
    }
}
