//! The publisher's side of a task: outputs of certified commits, sent to each partition in sequence, one append in flight
//! for each, everything that waits for a partition in one append. After a failure it goes back and sends again; receivers
//! drop what they have taken before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use event_log::{Error, Header, Record, SharedLog, TopicPartition};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use crate::changelog::{Body, Output, PublishedUpto};
use crate::config::{Backoff, Config};
use crate::progress::{Destination, Progress};
use crate::{SOURCE_HEADER, Source};

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
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(u64, Output)>,
    in_flight: usize,
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
    incarnation: u128,
    queues: BTreeMap<Destination, Queue>,
    commits: BTreeMap<u64, Unpublished>,
    waiting: usize,
    pub(crate) sending: FuturesUnordered<BoxFuture<'static, Sent>>,
}

impl Outbox {
    pub(crate) fn new(log: SharedLog, config: Arc<Config>, task: &str) -> Self {
        Self {
            log,
            config,
            task: Arc::from(task),
            incarnation: 0,
            queues: BTreeMap::new(),
            commits: BTreeMap::new(),
            waiting: 0,
            sending: FuturesUnordered::new(),
        }
    }

    /// The life of the changelog, which names our records to receivers.
    pub(crate) fn set_incarnation(&mut self, incarnation: u128) {
        self.incarnation = incarnation;
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
            self.commits.insert(first, Unpublished { first, last, body_hash, left });
        }
        for upto in &body.published {
            self.acknowledge(&(upto.topic.clone(), upto.partition), upto.sequence);
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

    /// Starts an append for every destination that has something waiting and nothing in flight.
    pub(crate) fn send(&mut self) {
        for (destination, queue) in &mut self.queues {
            if queue.in_flight > 0 || queue.waiting.is_empty() {
                continue;
            }
            let mut bytes = 0;
            let records: Vec<Record> = (queue.waiting.iter().take(APPEND_RECORDS_MAX))
                .map_while(|(_, output)| {
                    let fits = bytes == 0 || bytes < APPEND_BYTES_MAX;
                    fits.then(|| {
                        let record = record(output, &self.task, self.incarnation);
                        bytes += record.approximate_size();
                        record
                    })
                })
                .collect();
            queue.in_flight = records.len();
            let send = send_in_order(self.log.clone(), self.config.clone(), destination.clone(), records);
            self.sending.push(Box::pin(send));
        }
    }

    /// Notes an append that is through.
    pub(crate) fn sent(&mut self, sent: Sent) -> Result<(), Error> {
        sent.result?;
        let queue = self.queues.get_mut(&sent.destination).expect("a destination with an append in flight stays");
        let last = queue.waiting.get(queue.in_flight.saturating_sub(1)).map_or(0, |(_, output)| output.sequence);
        queue.in_flight = 0;
        queue.recorded = false;
        self.acknowledge(&sent.destination, last);
        Ok(())
    }

    fn acknowledge(&mut self, destination: &Destination, upto: u64) {
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
                    self.commits.remove(&commit);
                }
            }
        }
    }
}

fn record(output: &Output, task: &str, incarnation: u128) -> Record {
    let source = Source { task, incarnation, sequence: output.sequence };
    let mut headers = Vec::with_capacity(output.headers.len() + 1);
    headers.push(Header::new(SOURCE_HEADER, source.to_value()));
    headers.extend(output.headers.iter().map(|(name, value)| Header { name: name.clone(), value: value.clone() }));
    Record { key: output.key.clone(), value: output.value.clone(), headers, timestamp_ms: output.timestamp_ms }
}

/// Appends the records, in order and until the log has them. Sending again what may have been appended is safe: receivers
/// take each sequence once.
async fn send_in_order(log: SharedLog, config: Arc<Config>, destination: Destination, records: Vec<Record>) -> Sent {
    let partition = TopicPartition { topic: destination.0.clone(), partition: destination.1 };
    let mut backoff = Backoff::new(&config);
    let mut step = records.len();
    let mut rest = &records[..];
    while !rest.is_empty() {
        let (next, behind) = rest.split_at(step.min(rest.len()));
        match log.append(&partition, next.to_vec()).await {
            Ok(_) => rest = behind,
            Err(Error::TooLarge { .. }) if next.len() > 1 => step = next.len() / 2,
            Err(error) if error.is_retryable() => {
                tracing::warn!(%partition, %error, "publishing is delayed");
                backoff.pause().await;
            }
            Err(error) => return Sent { destination, result: Err(error) },
        }
    }
    Sent { destination, result: Ok(()) }
}
