//! Asking for partitions wherever a reader stands, and following them when they move.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use event_log::{Error, FetchedBatch, Offset, TopicPartition};
use futures::FutureExt;
use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use kafka_protocol::ResponseError;
use kafka_protocol::error::ParseResponseErrorCode;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_response::PartitionData;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::parked::{Answer, Key, Poll, Shared};
use super::wanted;
use crate::error::{Meaning, meaning};
use crate::wire::batches;
use crate::wire::cluster::{Cluster, Led};
use crate::wire::offsets::{self, Search};

/// Most bytes asked of one broker in one answer.
const ANSWER_BYTES_MAX: i32 = 48 << 20;
/// First and longest pause before a partition that moved is looked for.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Where to read on in each partition.
pub(super) type Positions = Vec<(TopicPartition, Offset)>;
/// What was found, by the place of the partition in the list that was asked.
pub(super) type Found = BTreeMap<usize, Result<FetchedBatch, Error>>;

/// One fetch. Partitions are named by their place in the list that was asked.
pub(super) struct Direct<'a> {
    cluster: &'a Arc<Cluster>,
    shared: &'a Shared,
    bytes: usize,
    deadline: Instant,
    /// Moves on over offsets that a compacted topic no longer has.
    positions: Positions,
    found: Found,
    /// Since when partitions have been looked for in vain, and the next pause.
    moving: Option<(Instant, Duration)>,
}

/// Partitions that each broker leads.
type Placed = BTreeMap<String, Vec<usize>>;

impl<'a> Direct<'a> {
    pub(super) fn new(
        cluster: &'a Arc<Cluster>,
        shared: &'a Shared,
        bytes: usize,
        deadline: Instant,
        positions: Positions,
    ) -> Self {
        Self { cluster, shared, bytes, deadline, positions, found: BTreeMap::new(), moving: None }
    }

    /// Asks until something is there or the time is over. Returns what was found, and where to read on.
    pub(super) async fn run(mut self) -> (Found, Positions) {
        loop {
            let placed = self.place().await;
            let moved = self.round(placed).await;
            if !moved.is_empty() && self.found.is_empty() {
                self.follow(moved).await;
            } else if !self.found.is_empty() || Instant::now() >= self.deadline {
                if !moved.is_empty() {
                    // The next fetch finds them, and does not keep waiting what is there already.
                    self.look_again();
                }
                return (self.found, self.positions);
            }
        }
    }

    /// Finds out who leads what. A partition that nobody leads has its error, and does not keep the others waiting.
    async fn place(&mut self) -> Placed {
        let mut placed = Placed::new();
        let mut metadata = self.cluster.metadata();
        let led = |metadata: &crate::wire::cluster::Metadata, (partition, _): &(TopicPartition, Offset)| {
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
        self.shared.meters.asked();
        let (tell, waiting) = oneshot::channel();
        let (cluster, broker, request) = (self.cluster.clone(), broker.to_owned(), self.request(partitions, wait));
        let asking = async move {
            let as_of = Instant::now();
            let answer = cluster.ask(&broker, &request, 4..=12, within).await;
            // Nobody may be left to hear it.
            let _ = tell.send((as_of, answer));
        };
        drop(self.cluster.runtime.spawn(asking));
        (key, waiting)
    }

    fn request(&self, partitions: &[usize], wait: Duration) -> FetchRequest {
        // Another partition first each time: only the first is sure to get a batch that is larger than the limit.
        let turn = self.shared.turn() % partitions.len().max(1);
        let (later, sooner) = partitions.split_at(turn);
        let positions = sooner.iter().chain(later).map(|at| &self.positions[*at]);
        FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX))
            .with_min_bytes(1)
            .with_max_bytes(ANSWER_BYTES_MAX)
            .with_session_epoch(-1)
            .with_topics(wanted(positions, self.bytes))
    }

    async fn absorb(&mut self, broker: &str, partitions: &[usize], answer: Answer, moved: &mut Vec<usize>) {
        let (as_of, answer) = answer;
        let answer = answer.and_then(|answer| match answer.error_code.err() {
            None => Ok(answer),
            Some(code) => Err(crate::wire::Error::Refused { broker: broker.to_owned(), code, message: None }),
        });
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let why = crate::wire::chain(&error);
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
                self.absorb_partition((broker, as_of), at, data, moved).await;
            }
        }
    }

    /// Has the brokers asked who leads what, without waiting for it.
    fn look_again(&self) {
        let cluster = self.cluster.clone();
        drop(self.cluster.runtime.spawn(async move { drop(cluster.refresh(Instant::now()).await) }));
    }

    async fn absorb_partition(
        &mut self,
        (broker, as_of): (&str, Instant),
        at: usize,
        data: PartitionData,
        moved: &mut Vec<usize>,
    ) {
        let (partition, offset) = &self.positions[at];
        let result = match data.error_code.err() {
            None => match batches::read(data.records.unwrap_or_default(), *offset) {
                Ok(read) if read.records.is_empty() => {
                    self.positions[at].1 = read.next;
                    return;
                }
                Ok(read) => {
                    let high_watermark = read.high_watermark(data.high_watermark);
                    self.cluster.end(partition).reaches(high_watermark);
                    self.shared.meters.brought(read.records.len());
                    Ok(FetchedBatch { records: read.records, high_watermark, as_of })
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
            tracing::debug!(error = crate::wire::chain(&error), "no broker says who leads");
        }
    }
}
