//! The brokers as a whole: who leads which partition, and connections to them that are used again and again.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_log::{Offset, TopicName, TopicPartition};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
use kafka_protocol::protocol::Request;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{Connection, Dial, Error};
use crate::config::Config;

/// Connections that nobody uses, for each broker, and how long they are kept: less than brokers keep theirs (10 minutes).
const IDLE_MAX: usize = 64;
const IDLE_FOR: Duration = Duration::from_secs(120);

/// What the brokers say about themselves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metadata {
    pub(crate) brokers: BTreeMap<i32, String>,
    pub(crate) controller: Option<i32>,
    /// Leader of each partition of each topic, where there is one. Without the brokers' own topics.
    pub(crate) topics: HashMap<TopicName, Vec<Option<i32>>>,
    /// Replicas of each of these topics, of the partition that has the fewest.
    pub(crate) replicas: HashMap<TopicName, usize>,
}

/// Where a partition is led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Led {
    /// By the broker with this address.
    At(String),
    /// By nobody at present.
    Nobody,
    /// There is no such partition.
    Unknown,
}

impl Metadata {
    pub(crate) fn leader(&self, partition: &TopicPartition) -> Led {
        let Some(leaders) = self.topics.get(&partition.topic) else { return Led::Unknown };
        match leaders.get(partition.partition as usize) {
            None => Led::Unknown,
            Some(leader) => {
                leader.and_then(|id| self.brokers.get(&id)).map_or(Led::Nobody, |address| Led::At(address.clone()))
            }
        }
    }
}

/// The brokers of one configuration.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// The runtime that the log was connected on. Callers may come from others, which need not know sockets and may be
    /// busy: connections are made, and what goes on by itself runs, on this one.
    pub(crate) runtime: Handle,
    dial: Dial,
    pub(crate) config: Arc<Config>,
    known: Mutex<(Arc<Metadata>, Instant)>,
    /// Held while somebody asks, so that one answer serves all who want one.
    asking: tokio::sync::Mutex<()>,
    idle: Mutex<HashMap<String, Vec<Idle>>>,
    permits: Arc<Semaphore>,
    turn: AtomicUsize,
    ends: Mutex<HashMap<TopicPartition, End>>,
}

/// A connection that nobody uses.
#[derive(Debug)]
struct Idle {
    lent: Lent,
    since: Instant,
}

/// A connection that somebody keeps. Dropped it ends; [given back](Cluster::give_back) others may use it.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(crate) connection: Connection,
    _permit: OwnedSemaphorePermit,
}

/// How far a partition is known to reach. A broker that was deposed and has not heard of it still answers as its leader,
/// with an end that lies before records that were acknowledged by the next one.
#[derive(Debug, Clone, Default)]
pub(crate) struct End(Arc<AtomicU64>);

impl End {
    /// Notes an offset that the partition reaches.
    pub(crate) fn reaches(&self, end: Offset) {
        self.0.fetch_max(end.0, Ordering::Relaxed);
    }

    /// Believes an earlier end: the partition has lost records, or has begun anew.
    pub(crate) fn believe(&self, end: Offset) {
        self.0.store(end.0, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Offset {
        Offset(self.0.load(Ordering::Relaxed))
    }
}

impl Cluster {
    /// Asks the brokers of the configuration who they are. From then on one at least is known.
    pub(crate) async fn connect(dial: Dial, config: Arc<Config>) -> Result<Self, Error> {
        let cluster = Self {
            runtime: Handle::current(),
            dial,
            known: Mutex::new((Arc::default(), Instant::now())),
            asking: tokio::sync::Mutex::default(),
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(config.connections_max)),
            turn: AtomicUsize::new(0),
            ends: Mutex::default(),
            config,
        };
        cluster.refresh(Instant::now()).await?;
        Ok(cluster)
    }

    pub(crate) fn dial(&self) -> &Dial {
        &self.dial
    }

    /// How far a partition is known to reach.
    pub(crate) fn end(&self, partition: &TopicPartition) -> End {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = ends.get(partition) {
            return end.clone();
        }
        ends.entry(partition.clone()).or_default().clone()
    }

    /// What is known. It may be old.
    pub(crate) fn metadata(&self) -> Arc<Metadata> {
        self.known().0.clone()
    }

    fn known(&self) -> MutexGuard<'_, (Arc<Metadata>, Instant)> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the brokers say, asked after `since`. It names one broker at least.
    pub(crate) async fn refresh(&self, since: Instant) -> Result<Arc<Metadata>, Error> {
        let _asking = self.asking.lock().await;
        let (metadata, asked) = self.known().clone();
        if asked > since && !metadata.brokers.is_empty() {
            return Ok(metadata);
        }
        let mut last = None;
        for address in self.addresses(&metadata) {
            let begun = Instant::now();
            // No topics named: all of them, so that one answer serves everybody.
            let request = MetadataRequest::default().with_topics(None).with_allow_auto_topic_creation(false);
            let answer = self.ask(&address, &request, 1..=8, self.config.connect_timeout).await;
            // A broker that the controller has not let in again after its start names nobody, not even itself. With that
            // nobody could go on: another one is asked, and what was known before stays.
            let answer = answer.and_then(|answer| match answer.brokers.is_empty() {
                true => Err(Error::Malformed { broker: address.clone(), reason: "it names no brokers".to_owned() }),
                false => Ok(answer),
            });
            match answer {
                Ok(answer) => {
                    let metadata = Arc::new(read(answer));
                    *self.known() = (metadata.clone(), begun);
                    return Ok(metadata);
                }
                Err(error) => {
                    tracing::debug!(broker = address, error = super::chain(&error), "a broker does not say who leads");
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or(Error::Timeout { broker: "any broker".to_owned(), after: Duration::ZERO }))
    }

    /// The brokers that are known, then those of the configuration; another one first each time, so that one that hangs
    /// does not stand in front of the others for ever.
    fn addresses(&self, metadata: &Metadata) -> Vec<String> {
        let mut addresses: Vec<String> = metadata.brokers.values().cloned().collect();
        if !addresses.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let count = addresses.len();
            addresses.rotate_left(turn % count);
        }
        for bootstrap in &self.config.brokers {
            if !addresses.contains(bootstrap) {
                addresses.push(bootstrap.clone());
            }
        }
        addresses
    }

    /// Sends a request that may be sent twice to a broker, and gives it this long. A connection that had been lying idle
    /// and turns out to be closed is replaced once.
    pub(crate) async fn ask<R: Request>(
        &self,
        broker: &str,
        request: &R,
        versions: RangeInclusive<i16>,
        within: Duration,
    ) -> Result<R::Response, Error> {
        let exchange = async {
            if let Some(mut lent) = self.take_idle(broker) {
                match lent.connection.call(request, versions.clone()).await {
                    Err(Error::Io { .. }) => self.forget_idle(broker),
                    result => {
                        self.give_back(lent);
                        return result;
                    }
                }
            }
            let permit = self.permit()?;
            let mut lent = Lent { connection: self.open(broker).await?, _permit: permit };
            let result = lent.connection.call(request, versions).await;
            self.give_back(lent);
            result
        };
        let answer = timeout(within, exchange).await;
        answer.unwrap_or_else(|_| {
            // The others would be waited for in vain as well.
            self.forget_idle(broker);
            Err(Error::Timeout { broker: broker.to_owned(), after: within })
        })
    }

    /// A new connection for somebody who keeps it.
    pub(crate) async fn lend(&self, broker: &str) -> Result<Lent, Error> {
        let permit = self.permit()?;
        let connection = timeout(self.config.connect_timeout, self.open(broker)).await;
        let late = || Error::Timeout { broker: broker.to_owned(), after: self.config.connect_timeout };
        Ok(Lent { connection: connection.unwrap_or_else(|_| Err(late()))?, _permit: permit })
    }

    /// The right to one more connection. As long as some lie idle there is one: they end for it.
    fn permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        loop {
            if let Ok(permit) = self.permits.clone().try_acquire_owned() {
                return Ok(permit);
            }
            if !self.end_idlest() {
                return Err(Error::Exhausted(self.config.connections_max));
            }
        }
    }

    /// Ends the connection that has lain idle for longest, if any does.
    fn end_idlest(&self) -> bool {
        let mut idle = self.idle();
        // Each list is in the order in which they came to lie idle.
        let idlest = idle.values_mut().filter(|list| !list.is_empty()).min_by_key(|list| list[0].since);
        idlest.map(|list| list.remove(0)).is_some()
    }

    async fn open(&self, broker: &str) -> Result<Connection, Error> {
        let (dial, address) = (self.dial.clone(), broker.to_owned());
        let opening = AbortOnDropHandle::new(self.runtime.spawn(async move { dial.connect(&address).await }));
        let ended = || Error::Io { broker: broker.to_owned(), source: std::io::ErrorKind::Interrupted.into() };
        opening.await.unwrap_or_else(|_| Err(ended()))
    }

    /// One that lies idle.
    pub(crate) fn take_idle(&self, broker: &str) -> Option<Lent> {
        let mut idle = self.idle();
        let connections = idle.get_mut(broker)?;
        // The one that was used last: what is not needed at the bottom grows old.
        let Idle { lent, since } = connections.pop()?;
        if since.elapsed() > IDLE_FOR {
            connections.clear();
            return None;
        }
        Some(lent)
    }

    /// Takes back a connection that was lent. One that is of no use ends.
    pub(crate) fn give_back(&self, lent: Lent) {
        if !lent.connection.is_usable() {
            return;
        }
        let mut idle = self.idle();
        let connections = idle.entry(lent.connection.broker().to_owned()).or_default();
        connections.retain(|idle| idle.since.elapsed() <= IDLE_FOR);
        if connections.len() < IDLE_MAX {
            connections.push(Idle { lent, since: Instant::now() });
        }
    }

    /// Ends those that lie idle: another one to the same broker is broken.
    pub(crate) fn forget_idle(&self, broker: &str) {
        self.idle().remove(broker);
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<String, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(answer: MetadataResponse) -> Metadata {
    let brokers = answer.brokers.iter().map(|broker| {
        let host = broker.host.as_str();
        let bare = host.contains(':') && !host.starts_with('[');
        let address = if bare { format!("[{host}]:{}", broker.port) } else { format!("{host}:{}", broker.port) };
        (broker.node_id.0, address)
    });
    let mut metadata = Metadata {
        brokers: brokers.collect(),
        controller: (answer.controller_id.0 >= 0).then_some(answer.controller_id.0),
        topics: HashMap::with_capacity(answer.topics.len()),
        replicas: HashMap::with_capacity(answer.topics.len()),
    };
    for topic in answer.topics {
        let Some(name) = topic.name.filter(|_| !topic.is_internal && topic.error_code == 0) else { continue };
        let mut leaders = Vec::with_capacity(topic.partitions.len());
        let replicas = topic.partitions.iter().map(|partition| partition.replica_nodes.len()).min();
        for partition in topic.partitions {
            let Ok(index) = usize::try_from(partition.partition_index) else { continue };
            // Partitions are numbered densely: a number above all counts is not believed.
            if index < PARTITIONS_MAX {
                leaders.resize(leaders.len().max(index + 1), None);
                leaders[index] = (partition.leader_id.0 >= 0).then_some(partition.leader_id.0);
            }
        }
        let name = TopicName::new(name.0.as_str());
        metadata.replicas.insert(name.clone(), replicas.unwrap_or(0));
        metadata.topics.insert(name, leaders);
    }
    metadata
}

const PARTITIONS_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests;
