//! The publisher's side of a task: outputs of certified commits, sent to each partition in sequence, one append in flight
//! for each, everything that waits for a partition in one append. After a failure it goes back and sends again; receivers
//! drop what they have taken before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use event_log::{Error, Header, Record, SharedLog, TopicName, TopicPartition};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::changelog::{Body, Output, PublishedUpto};
use crate::config::Config;
use crate::metrics::TaskMetrics;
use crate::progress::{Destination, Progress};
use crate::{SOURCE_HEADER, Schema, Source};

/// Records and bytes of one append to an output.
const APPEND_RECORDS_MAX: usize = 512;
const APPEND_BYTES_MAX: usize = 512 * 1024;

/// A commit some of whose outputs are not yet known to be published.
#[derive(Debug)]
struct Unpublished {
    first: u64,
    last: u64,
    body_hash: u128,
    left: usize,
    /// When this process learned that it counts.
    since: Instant,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(u64, Output)>,
    in_flight: usize,
    /// Tries of the append in flight that did not end well, and how many records one append may have after TooLarge.
    failed: u32,
    append_records_max: Option<usize>,
    /// Last sequence that the log has acknowledged, and whether a commit says so yet.
    acknowledged: u64,
    recorded: bool,
}

/// An append that the log has taken, or will never take.
pub(crate) struct Sent {
    destination: Destination,
    result: Result<(), Error>,
}

/// Outputs on their way.
pub(crate) struct Outbox {
    log: SharedLog,
    config: Arc<Config>,
    task: Arc<str>,
    /// Value of the source header up to the sequence.
    source_prefix: String,
    /// What each record says of its value. That is not part of commits: it is the same for all records of a topic.
    schemas: Arc<BTreeMap<TopicName, Schema>>,
    queues: BTreeMap<Destination, Queue>,
    commits: BTreeMap<u64, Unpublished>,
    waiting: usize,
    metrics: TaskMetrics,
    pub(crate) sending: FuturesUnordered<BoxFuture<'static, Sent>>,
}

impl Outbox {
    pub(crate) fn new(
        log: SharedLog,
        config: Arc<Config>,
        task: &str,
        schemas: Arc<BTreeMap<TopicName, Schema>>,
        metrics: TaskMetrics,
    ) -> Self {
        Self {
            log,
            config,
            task: Arc::from(task),
            source_prefix: Source::prefix(task, 0),
            schemas,
            queues: BTreeMap::new(),
            commits: BTreeMap::new(),
            waiting: 0,
            metrics,
            sending: FuturesUnordered::new(),
        }
    }

    /// The life of the changelog, which names our records to receivers.
    pub(crate) fn set_incarnation(&mut self, incarnation: u128) {
        self.source_prefix = Source::prefix(&self.task, incarnation);
    }

    /// Takes over what a commit says: its outputs wait from now on, and what it records as published does not any more.
    pub(crate) fn absorb(&mut self, body: &mut Body, first: u64, last: u64, body_hash: u128, progress: &Progress) {
        let mut left = 0;
        for output in std::mem::take(&mut body.outputs) {
            let destination = (output.topic.clone(), output.partition);
            let queue = self.queues.entry(destination).or_insert_with_key(|destination| Queue {
                acknowledged: progress.published(destination),
                recorded: true,
                ..Queue::default()
            });
            if output.sequence > queue.acknowledged {
                queue.waiting.push_back((first, output));
                left += 1;
            }
        }
        self.waiting += left;
        if left > 0 {
            self.commits.insert(first, Unpublished { first, last, body_hash, left, since: Instant::now() });
        }
        for upto in &body.published {
            // Whoever wrote the commit has published it, and has said so.
            self.acknowledge(&(upto.topic.clone(), upto.partition), upto.sequence, |_, _| {});
        }
    }

    /// After a store's list has been brought back: what is not on it was published, also where no commit says so yet.
    /// Otherwise a destination that came to rest just before a crash would be sent to again by every later rebuild.
    pub(crate) fn know_the_rest(&mut self, progress: &Progress) {
        for (destination, dealt) in &progress.sequences {
            let queue = self.queues.get(destination);
            let first = queue.and_then(|queue| queue.waiting.front()).map(|(_, output)| output.sequence);
            let known = first.map_or(*dealt, |first| first - 1);
            if known > progress.published(destination) {
                let queue = self.queues.entry(destination.clone()).or_default();
                queue.acknowledged = known;
                queue.recorded = false;
            }
        }
    }

    /// Whether so much waits that the task should not add to it.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting >= self.config.outbox_records_max
    }

    /// Whether everything has been published.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Whether something has been published that no commit records yet.
    pub(crate) fn has_unrecorded(&self) -> bool {
        self.queues.values().any(|queue| !queue.recorded)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// What has been published since the last commit that said so.
    pub(crate) fn take_unrecorded(&mut self) -> Vec<PublishedUpto> {
        let mut news = Vec::new();
        for ((topic, partition), queue) in &mut self.queues {
            if !std::mem::replace(&mut queue.recorded, true) {
                let (topic, partition) = (topic.clone(), *partition);
                news.push(PublishedUpto { topic, partition, sequence: queue.acknowledged });
            }
        }
        // Destinations at rest cost nothing: the progress remembers them.
        self.queues.retain(|_, queue| !queue.waiting.is_empty() || queue.in_flight > 0);
        news
    }

    /// Commits that must stay readable until their outputs are published.
    pub(crate) fn unpublished(&self) -> Vec<(u64, u64, u128)> {
        self.commits.values().map(|commit| (commit.first, commit.last, commit.body_hash)).collect()
    }

    /// The first entry that must stay readable until its outputs are published.
    pub(crate) fn first_unpublished(&self) -> Option<u64> {
        self.commits.keys().next().copied()
    }

    /// Starts an append for every destination that has something waiting and nothing in flight.
    pub(crate) fn send(&mut self) {
        for (destination, queue) in &mut self.queues {
            if queue.in_flight > 0 || queue.waiting.is_empty() {
                continue;
            }
            let mut bytes = 0;
            let count = queue.append_records_max.unwrap_or(APPEND_RECORDS_MAX);
            let schema = self.schemas.get(&destination.0);
            let records: Vec<Record> = (queue.waiting.iter().take(count))
                .map_while(|(_, output)| {
                    (bytes < APPEND_BYTES_MAX).then(|| {
                        let record = record(output, &self.source_prefix, schema);
                        bytes += record.approximate_size();
                        record
                    })
                })
                .collect();
            queue.in_flight = records.len();
            let pause = (queue.failed > 0).then(|| self.config.pause_after(queue.failed));
            self.sending.push(Box::pin(send(self.log.clone(), destination.clone(), records, pause)));
        }
    }

    /// Lets go of what is being sent, for another owner publishes from now on. What becomes of it is not known here.
    pub(crate) fn stop_sending(&mut self) {
        self.sending.clear();
        let destinations: Vec<Destination> = self.queues.keys().cloned().collect();
        for destination in destinations {
            if let Some(queue) = self.queues.get_mut(&destination) {
                queue.in_flight = 0;
                queue.failed = 0;
                // What was acknowledged while an append was in flight may go now.
                let upto = queue.acknowledged;
                self.acknowledge(&destination, upto, |_, _| {});
            }
        }
    }

    /// Notes an append that has ended. One that failed is made again from what waits: sending again what may have been
    /// appended is safe, since receivers take each sequence once.
    pub(crate) fn sent(&mut self, sent: Sent) -> Result<(), Error> {
        let queue = self.queues.get_mut(&sent.destination).expect("a destination with an append in flight stays");
        let count = std::mem::take(&mut queue.in_flight);
        match sent.result {
            Ok(()) => {
                queue.failed = 0;
                queue.recorded = false;
                let last = queue.waiting.get(count.saturating_sub(1)).map_or(0, |(_, output)| output.sequence);
                let before = self.waiting;
                self.acknowledge(&sent.destination, last, |metrics, commit| {
                    metrics.published_all(commit.since.elapsed());
                });
                self.metrics.published(before - self.waiting, self.waiting);
                Ok(())
            }
            Err(Error::TooLarge { .. }) if count > 1 => {
                queue.append_records_max = Some(count / 2);
                Ok(())
            }
            Err(error) if error.is_retryable() => {
                let (topic, partition) = &sent.destination;
                tracing::warn!(%topic, partition, %error, "publishing is delayed");
                queue.failed = queue.failed.saturating_add(1);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Lets go of what is published, and shows the commits that have nothing left to publish.
    fn acknowledge(&mut self, destination: &Destination, upto: u64, mut gone: impl FnMut(&TaskMetrics, &Unpublished)) {
        let Some(queue) = self.queues.get_mut(destination) else { return };
        queue.acknowledged = queue.acknowledged.max(upto);
        if queue.in_flight > 0 {
            return;
        }
        while queue.waiting.front().is_some_and(|(_, output)| output.sequence <= queue.acknowledged) {
            let (commit, _) = queue.waiting.pop_front().expect("looked at just now");
            self.waiting -= 1;
            if let Some(entry) = self.commits.get_mut(&commit) {
                entry.left -= 1;
                if entry.left == 0 {
                    gone(&self.metrics, entry);
                    self.commits.remove(&commit);
                }
            }
        }
    }
}

fn record(output: &Output, source_prefix: &str, schema: Option<&Schema>) -> Record {
    let mut headers = Vec::with_capacity(output.headers.len() + 2);
    headers.push(Header::new(SOURCE_HEADER, Source::value(source_prefix, output.sequence)));
    headers.extend(output.headers.iter().map(|(name, value)| Header { name: name.clone(), value: value.clone() }));
    let (key, value) = (output.key.clone(), output.value.clone());
    let mut record = Record { key, value, headers, timestamp_ms: output.timestamp_ms };
    if let Some(schema) = schema {
        schema.label(&mut record);
    }
    record
}

async fn send(log: SharedLog, destination: Destination, records: Vec<Record>, pause: Option<Duration>) -> Sent {
    if let Some(pause) = pause {
        tokio::time::sleep(pause).await;
    }
    let partition = TopicPartition { topic: destination.0.clone(), partition: destination.1 };
    let result = log.append(&partition, records).await.map(|_| ());
    Sent { destination, result }
}
