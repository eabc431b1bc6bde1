//! Reading many partitions in one wait: one request for each broker that leads some of them, all waiting at once.
//!
//! What always holds: records, or an error, end the wait at once. A request that is then still waiting at another broker
//! goes on by itself, and the next fetch from the same offsets takes it over instead of asking again. A fetch from a single
//! broker that is dropped closes its connection; nobody is kept waiting behind it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use event_log::{Error, FetchFrom, FetchLimits, Fetched, FetchedBatch, Offset, TopicPartition};
use futures::FutureExt;
use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use kafka_protocol::ResponseError;
use kafka_protocol::error::ParseResponseErrorCode;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use super::batches;
use super::cluster::{Cluster, Led};
use super::offsets::{self, Search};
use crate::error::{Meaning, meaning};

mod parked;

pub(crate) use parked::Shared;
use parked::{Answer, Key, Poll};

/// Most bytes asked of one partition, and of one broker, in one answer.
const PARTITION_BYTES_MAX: usize = 16 << 20;
const ANSWER_BYTES_MAX: i32 = 48 << 20;
/// First and longest pause before a partition that moved is looked for.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Reads as [`event_log::EventLog::fetch`] says.
pub(crate) async fn fetch(
    cluster: &Arc<Cluster>,
    shared: &Shared,
    from: &[FetchFrom],
    limits: FetchLimits,
) -> Vec<Fetched> {
    let deadline = Instant::now() + limits.max_wait;
    let positions: Vec<_> = from.iter().map(|from| (from.partition.clone(), from.offset)).collect();
    let bytes = limits.max_bytes_per_partition.clamp(1, PARTITION_BYTES_MAX);
    let mut fetching = Fetching { cluster, shared, bytes, deadline, positions, found: BTreeMap::new(), moving: None };
    while !from.is_empty() {
        let placed = fetching.place().await;
        let moved = fetching.round(placed).await;
        if !moved.is_empty() && fetching.found.is_empty() {
            fetching.follow(moved).await;
        } else if !fetching.found.is_empty() || Instant::now() >= deadline {
            if !moved.is_empty() {
                // The next fetch finds them, and does not keep waiting what is there already.
                fetching.look_again();
            }
            let found = fetching.found.into_iter();
            return found.map(|(at, result)| Fetched { partition: from[at].partition.clone(), result }).collect();
        }
    }
    sleep_until(deadline).await;
    Vec::new()
}

/// One fetch under way. Partitions are named by their place in the list that was asked.
struct Fetching<'a> {
    cluster: &'a Arc<Cluster>,
    shared: &'a Shared,
    bytes: usize,
    deadline: Instant,
    /// Moves on over offsets that a compacted topic no longer has.
    positions: Vec<(TopicPartition, Offset)>,
    found: BTreeMap<usize, Result<FetchedBatch, Error>>,
    /// Since when partitions have been looked for in vain, and the next pause.
    moving: Option<(Instant, Duration)>,
}

/// Partitions that each broker leads.
type Placed = BTreeMap<String, Vec<usize>>;

impl Fetching<'_> {
    /// Finds out who leads what. A partition that nobody leads has its error, and does not keep the others waiting.
    async fn place(&mut self) -> Placed {
        let mut placed = Placed::new();
        let mut metadata = self.cluster.metadata();
        let led = |metadata: &super::cluster::Metadata, (partition, _): &(TopicPartition, Offset)| {
            if i32::try_from(partition.partition).is_ok() { metadata.leader(partition) } else { Led::Unknown }
        };
        if self.positions.iter().any(|position| !matches!(led(&metadata, position), Led::At(_))) {
            let asked = self.cluster.refresh(Instant::now()).await;
            metadata = asked.unwrap_or(metadata);
        }
        let mut unknown = Vec::new();
        for (at, position) in self.positions.iter().enumerate() {
            if self.found.contains_key(&at) {
                continue;
            }
            match led(&metadata, position) {
                Led::At(address) => placed.entry(address).or_default().push(at),
                Led::Nobody => {
                    let why = format!("{}: nobody leads the partition", position.0);
                    self.found.insert(at, Err(Error::Unavailable(why)));
                }
                Led::Unknown => unknown.push(at),
            }
        }
        let searches =
            unknown.iter().map(|at| async { Search::new(self.cluster, &self.positions[*at].0).leader().await });
        for (at, result) in unknown.iter().zip(join_all(searches).await) {
            match result {
                Ok(address) => placed.entry(address).or_default().push(*at),
                Err(error) => drop(self.found.insert(*at, Err(error))),
            }
        }
        placed
    }

    /// Asks every broker once, until the first that has something. Returns the partitions that moved elsewhere.
    async fn round(&mut self, placed: Placed) -> Vec<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let wait = if self.found.is_empty() { left.min(self.cluster.config.poll_wait) } else { Duration::ZERO };
        let within = wait + self.cluster.config.request_timeout;
        let mut moved = Vec::new();
        if placed.len() == 1 {
            let (broker, partitions) = placed.into_iter().next().expect("there is one");
            let request = self.request(&partitions, wait);
            let answer = self.cluster.ask(&broker, &request, 4..=12, within).await;
            self.absorb(&broker, &partitions, answer, &mut moved).await;
            return moved;
        }
        let shared = self.shared;
        let mut polls: FuturesUnordered<_> = (placed.into_iter())
            .map(|(broker, partitions)| {
                let request = self.start(&broker, &partitions, wait, within);
                let poll = Poll::new(shared, request);
                async move { (broker, partitions, poll.answer().await) }
            })
            .collect();
        while let Some((broker, partitions, answer)) = polls.next().await {
            self.absorb(&broker, &partitions, answer, &mut moved).await;
            // Whatever else is there already comes along; nobody is waited for once there is something.
            while let Some(Some((broker, partitions, answer))) = polls.next().now_or_never() {
                self.absorb(&broker, &partitions, answer, &mut moved).await;
            }
            if !wait.is_zero() && (!self.found.is_empty() || !moved.is_empty()) {
                break;
            }
        }
        moved
    }

    /// Starts a request that goes on when this fetch ends before it, or takes over one that did.
    fn start(
        &self,
        broker: &str,
        partitions: &[usize],
        wait: Duration,
        within: Duration,
    ) -> (Key, oneshot::Receiver<Answer>) {
        let from = partitions.iter().map(|at| self.positions[*at].clone()).collect();
        let key = (broker.to_owned(), from, self.bytes);
        // Who does not want to wait wants to know what is there now.
        if let Some(waiting) = self.shared.take(&key).filter(|_| !wait.is_zero()) {
            return (key, waiting);
        }
        let (tell, waiting) = oneshot::channel();
        let (cluster, broker, request) = (self.cluster.clone(), broker.to_owned(), self.request(partitions, wait));
        let asking = async move {
            // Nobody may be left to hear it.
            let _ = tell.send(cluster.ask(&broker, &request, 4..=12, within).await);
        };
        drop(self.cluster.runtime.spawn(asking));
        (key, waiting)
    }

    fn request(&self, partitions: &[usize], wait: Duration) -> FetchRequest {
        let mut topics: Vec<FetchTopic> = Vec::new();
        // Another partition first each time: only the first is sure to get a batch that is larger than the limit.
        let turn = self.shared.turn() % partitions.len().max(1);
        let (later, sooner) = partitions.split_at(turn);
        for at in sooner.iter().chain(later) {
            let (partition, offset) = &self.positions[*at];
            let name = offsets::name(&partition.topic);
            let wanted = FetchPartition::default()
                .with_partition(offsets::index(partition))
                .with_fetch_offset(i64::try_from(offset.0).unwrap_or(i64::MAX))
                .with_partition_max_bytes(i32::try_from(self.bytes).unwrap_or(i32::MAX));
            match topics.iter_mut().find(|topic| topic.topic == name) {
                Some(topic) => topic.partitions.push(wanted),
                None => topics.push(FetchTopic::default().with_topic(name).with_partitions(vec![wanted])),
            }
        }
        FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(1)
            .with_max_bytes(ANSWER_BYTES_MAX)
            .with_session_epoch(-1)
            .with_topics(topics)
    }

    async fn absorb(&mut self, broker: &str, partitions: &[usize], answer: Answer, moved: &mut Vec<usize>) {
        let answer = answer.and_then(|answer| match answer.error_code.err() {
            None => Ok(answer),
            Some(code) => Err(super::Error::Refused { broker: broker.to_owned(), code, message: None }),
        });
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let why = super::chain(&error);
                for at in partitions {
                    self.found.insert(*at, Err(Error::Unavailable(why.clone())));
                }
                // The caller will try again; it should not be led to the same broker if there is a better one.
                self.look_again();
                return;
            }
        };
        for topic in answer.responses {
            for data in topic.partitions {
                let asked = |at: &&usize| {
                    let (partition, _) = &self.positions[**at];
                    i64::from(partition.partition) == i64::from(data.partition_index)
                        && partition.topic.as_str() == topic.topic.as_str()
                };
                let Some(at) = partitions.iter().find(asked).copied() else { continue };
                self.absorb_partition(broker, at, data, moved).await;
            }
        }
    }

    /// Has the brokers asked who leads what, without waiting for it.
    fn look_again(&self) {
        let cluster = self.cluster.clone();
        drop(self.cluster.runtime.spawn(async move { drop(cluster.refresh(Instant::now()).await) }));
    }

    async fn absorb_partition(&mut self, broker: &str, at: usize, data: PartitionData, moved: &mut Vec<usize>) {
        let (partition, offset) = &self.positions[at];
        let result = match data.error_code.err() {
            None => match batches::read(data.records.unwrap_or_default(), *offset) {
                Ok(read) if read.records.is_empty() => {
                    self.positions[at].1 = read.next;
                    return;
                }
                Ok(read) => {
                    let high_watermark = Offset(u64::try_from(data.high_watermark).unwrap_or(0));
                    self.cluster.end(partition).reaches(high_watermark);
                    Ok(FetchedBatch { records: read.records, high_watermark })
                }
                Err(unreadable) => Err(Error::Failed(format!("{partition}: {unreadable}"))),
            },
            Some(ResponseError::OffsetOutOfRange) => {
                let error = offsets::out_of_range(self.cluster, partition, *offset).await;
                // A leader that has just been elected may not know the end yet.
                let settled = matches!(&error, Error::OffsetOutOfRange { earliest, latest, .. }
                    if offset >= earliest && offset <= latest);
                if settled {
                    moved.push(at);
                    return;
                }
                Err(error)
            }
            Some(code) => match meaning(code) {
                Meaning::Refused => Err(Error::Failed(format!("{broker} does not let {partition} be read: {code:?}"))),
                Meaning::Unknown => match Search::new(self.cluster, partition).leader().await {
                    // Others know it: this broker will, too.
                    Ok(_) => return moved.push(at),
                    Err(error) => Err(error),
                },
                _ => return moved.push(at),
            },
        };
        self.found.insert(at, result);
    }

    /// Looks where partitions went, as long as one call may take.
    async fn follow(&mut self, moved: Vec<usize>) {
        let begun = Instant::now();
        let (since, pause) = *self.moving.get_or_insert((begun, PAUSE));
        if since.elapsed() > self.cluster.config.operation_timeout {
            for at in moved {
                let why = format!("{}: no leader is found", self.positions[at].0);
                self.found.insert(at, Err(Error::Unavailable(why)));
            }
            return;
        }
        sleep(pause).await;
        self.moving = Some((since, (pause * 2).min(PAUSE_MAX)));
        if let Err(error) = self.cluster.refresh(begun).await {
            tracing::debug!(error = super::chain(&error), "no broker says who leads");
        }
    }
}
