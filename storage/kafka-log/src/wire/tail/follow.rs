//! The job that keeps a request under way at one broker.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_log::{Offset, TopicName, TopicPartition};
use kafka_protocol::ResponseError;
use kafka_protocol::error::ParseResponseErrorCode;
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::session::{Session, Wanted};
use super::{Group, MOVING_WITHIN, Pace, State, lock};
use crate::wire::batches::{self, Read};
use crate::wire::cluster::{Cluster, Lent};
use crate::wire::meters::Meters;
use crate::wire::{Error, chain};

/// Longest wait of one request: a partition that is new to it comes into the next.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Most bytes of one partition, and of one answer.
const PARTITION_BYTES_MAX: usize = 256 * 1024;
const ANSWER_BYTES_MAX: i32 = 16 << 20;
/// First and longest pause after a request that failed.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Reads ahead from one broker.
pub(super) struct Follower {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) meters: Meters,
    pub(super) group: Group,
    /// Told when somebody wants something new.
    pub(super) wake: Arc<Notify>,
}

impl Follower {
    /// Goes on until it is aborted.
    pub(super) async fn run(self) {
        let mut pause = PAUSE;
        loop {
            let why = match self.follow().await {
                Ok(()) => {
                    pause = PAUSE;
                    continue;
                }
                Err(error) => chain(&error),
            };
            tracing::debug!(broker = &*self.group.broker, why, "reading ahead is interrupted");
            let begun = Instant::now();
            lock(&self.state).forget_all(&self.group);
            // The readers ask for themselves now; it may be another broker by this time. Unknown, they will find out.
            drop(self.cluster.refresh(begun).await);
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One connection and its session, until nobody wants anything or a request fails.
    async fn follow(&self) -> Result<(), Error> {
        let mut session = Session::default();
        let mut wanted = lock(&self.state).wanted(&self.group, true);
        if wanted.is_empty() {
            self.wake.notified().await;
            return Ok(());
        }
        let wait = WAIT_MAX.min(self.cluster.config.poll_wait);
        let mut connection = self.cluster.lend(&self.group.broker).await?;
        loop {
            let request = FetchRequest::default()
                .with_replica_id((-1).into())
                .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX))
                .with_min_bytes(1)
                .with_max_bytes(ANSWER_BYTES_MAX);
            let request = session.add_to(request, wanted, PARTITION_BYTES_MAX);
            if session.is_empty() {
                return Ok(());
            }
            let as_of = Instant::now();
            self.meters.asked();
            let answer = self.ask(&mut connection, &request, wait).await?;
            match answer.error_code.err() {
                None => session.answered(answer.session_id),
                // The broker has many sessions and keeps the newest.
                Some(ResponseError::FetchSessionIdNotFound | ResponseError::InvalidFetchSessionEpoch) => session.lost(),
                Some(code) => {
                    return Err(Error::Refused { broker: self.group.broker.to_string(), code, message: None });
                }
            }
            let brought = read(answer, &session);
            let mut state = lock(&self.state);
            for (partition, from, brought) in brought {
                self.meters.brought(brought.as_ref().map_or(0, |(_, read)| read.records.len()));
                if let Some(end) = state.absorb(&self.group, (&partition, from), brought, as_of) {
                    self.cluster.end(&partition).reaches(end);
                }
            }
            state.sweep(Instant::now());
            wanted = state.wanted(&self.group, session.is_new());
        }
    }

    async fn ask(&self, connection: &mut Lent, request: &FetchRequest, wait: Duration) -> Result<FetchResponse, Error> {
        let within = wait + self.cluster.config.request_timeout;
        let answer = timeout(within, connection.connection.call(request, 7..=12)).await;
        answer.unwrap_or_else(|_| Err(Error::Timeout { broker: self.group.broker.to_string(), after: within }))
    }
}

/// What an answer has of one partition: the high watermark, the records and where to go on. None for an error of any kind.
pub(super) type Brought = Option<(Offset, Read)>;

/// Decodes an answer, by where each partition was asked from.
fn read(answer: FetchResponse, session: &Session) -> Vec<(TopicPartition, Offset, Brought)> {
    let mut all = Vec::new();
    for topic in answer.responses {
        let name = TopicName::new(topic.topic.as_str());
        for data in topic.partitions {
            let Ok(partition) = u32::try_from(data.partition_index) else { continue };
            let partition = TopicPartition { topic: name.clone(), partition };
            let Some(from) = session.asked_from(&partition) else { continue };
            let brought = match data.error_code.err() {
                None => batches::read(data.records.unwrap_or_default(), from).ok(),
                Some(_) => None,
            };
            all.push((partition, from, brought.map(|read| (read.high_watermark(data.high_watermark), read))));
        }
    }
    all
}

impl State {
    /// Takes what a request that was sent at `as_of` brought of a partition, from the offset that it asked for. Returns how far
    /// the partition is seen to reach, if there were records.
    pub(super) fn absorb(
        &mut self,
        group: &Group,
        (partition, from): (&TopicPartition, Offset),
        brought: Brought,
        as_of: Instant,
    ) -> Option<Offset> {
        // It may have been forgotten meanwhile, and begun again elsewhere.
        let tail = self.tails.get_mut(partition);
        let tail = tail.filter(|tail| tail.is_asked_with(group) && tail.next() == from)?;
        let Some((high_watermark, read)) = brought else {
            self.forget(partition);
            return None;
        };
        let reaches = (!read.records.is_empty()).then_some(high_watermark);
        tail.take(read.records, read.next, (high_watermark, as_of));
        if reaches.is_some() && tail.is_moving(Instant::now(), MOVING_WITHIN) && tail.group.pace == Pace::Still {
            let moving = tail.group.moving();
            self.move_to(moving, partition);
        }
        self.change(group, partition);
        reaches
    }

    /// What has changed of what is wanted of a broker, or everything, for a request that is then sent.
    pub(super) fn wanted(&mut self, group: &Group, all: bool) -> Vec<Wanted> {
        let mut partitions = self.changed.get_mut(group).map(std::mem::take).unwrap_or_default();
        if all {
            let ours = self.tails.iter().filter(|(_, tail)| tail.is_asked_with(group));
            partitions = ours.map(|(partition, _)| partition.clone()).collect();
        }
        let mut wanted: Vec<Wanted> = Vec::new();
        for partition in partitions {
            let from = match self.tails.get_mut(&partition) {
                Some(tail) if tail.group == *group => {
                    let left = tail.leaving.take();
                    tail.follow(tail.wanted().is_some());
                    let from = tail.wanted();
                    left.into_iter().for_each(|left| self.change(&left, &partition));
                    from
                }
                Some(tail) if tail.leaving.as_ref() == Some(group) => tail.wanted(),
                _ => None,
            };
            if from.is_some() || !all {
                wanted.push((partition, from));
            }
        }
        wanted
    }
}
