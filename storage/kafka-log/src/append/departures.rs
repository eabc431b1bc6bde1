//! Where the appends to the partitions of one broker meet. A request costs a broker and us far more than what is in it: so
//! only a few are under way at once, and what gathers meanwhile goes together. There is no timer: the busier a broker is,
//! the more goes into one request.
//!
//! What finds nobody to share with goes alone, through rskafka. What goes together goes over the protocol: rskafka has no
//! request for several partitions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use event_log::{Error, Offset, Record, TopicPartition};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::meters::Meters;
use super::outcome::{self, Outcome};
use crate::wire::cluster::{Cluster, Led};
use crate::wire::{self, chain, produce};

/// Requests to one broker that may be under way at once.
const UNDER_WAY_MAX: usize = 4;
/// Bytes that go into one request at the most; an append that is larger goes all the same.
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// Appends that wait for one broker; more wait in front of it.
const WAITING_MAX: usize = 4_096;

/// How an append left.
pub(super) enum Left {
    /// By itself: whoever asked sends it, and keeps the place, if it has one, while it is under way.
    Alone(Option<OwnedSemaphorePermit>),
    /// With others, and this is what became of it.
    Together(Result<Offset, Outcome>),
}

/// The records of one append request to one partition.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) records: Arc<[Record]>,
    /// Bytes of them, with a little framing.
    pub(super) size: usize,
}

struct Waiting {
    partition: TopicPartition,
    load: Load,
    /// Set by whoever is first: the request that takes it along, or the one who has given up waiting for one.
    decided: Arc<AtomicBool>,
    reply: oneshot::Sender<Left>,
}

/// The meeting points of all brokers.
pub(super) struct Departures {
    cluster: Arc<Cluster>,
    meters: Arc<Meters>,
    brokers: Mutex<HashMap<String, mpsc::Sender<Waiting>>>,
}

impl Departures {
    pub(super) fn new(cluster: Arc<Cluster>, meters: Arc<Meters>) -> Self {
        Self { cluster, meters, brokers: Mutex::default() }
    }

    /// Waits for the next request to the partition's leader, until the deadline at the most.
    pub(super) async fn leave(&self, partition: &TopicPartition, load: &Load, deadline: Instant) -> Left {
        let Led::At(broker) = self.cluster.metadata().leader(partition) else { return Left::Alone(None) };
        let decided = Arc::new(AtomicBool::new(false));
        let (reply, left) = oneshot::channel();
        let (partition, load) = (partition.clone(), load.clone());
        let waiting = Waiting { partition, load, decided: decided.clone(), reply };
        if timeout_at(deadline, self.broker(&broker).send(waiting)).await.is_ok() {
            match timeout_at(deadline, left).await {
                Ok(Ok(left)) => return left,
                Ok(Err(_)) => return Left::Together(Err(Outcome::unknown("the log was closed meanwhile"))),
                Err(_) if decided.swap(true, Ordering::Relaxed) => {
                    return Left::Together(Err(Outcome::unknown(format!("{broker} has not answered in time"))));
                }
                Err(_) => {}
            }
        }
        Left::Together(Err(Outcome::NotAppended(format!("{broker} has too many requests under way"))))
    }

    fn broker(&self, address: &str) -> mpsc::Sender<Waiting> {
        let mut brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(broker) = brokers.get(address) {
            return broker.clone();
        }
        let (sender, waiting) = mpsc::channel(WAITING_MAX);
        let shared = Arc::new(Shared {
            address: address.to_owned(),
            cluster: self.cluster.clone(),
            meters: self.meters.clone(),
        });
        let places = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        self.cluster.runtime.spawn(Broker { shared, waiting, next: None, places }.run());
        brokers.insert(address.to_owned(), sender.clone());
        sender
    }
}

/// The meeting point of one broker.
struct Broker {
    shared: Arc<Shared>,
    waiting: mpsc::Receiver<Waiting>,
    /// Taken, but too much for the request before.
    next: Option<Waiting>,
    places: Arc<Semaphore>,
}

impl Broker {
    /// Ends when the log is dropped and everything that was taken has left.
    async fn run(mut self) {
        loop {
            let first = match self.next.take() {
                Some(waiting) => waiting,
                None => match self.waiting.recv().await {
                    Some(waiting) => waiting,
                    None => return,
                },
            };
            let Ok(place) = self.places.clone().acquire_owned().await else { return };
            // Those that the same commit has woken come along.
            tokio::task::yield_now().await;
            let mut together = self.gather(first);
            match together.len() {
                0 => {}
                1 => drop(together.remove(0).reply.send(Left::Alone(Some(place)))),
                _ => {
                    let shared = self.shared.clone();
                    tokio::spawn(async move {
                        shared.send(together).await;
                        drop(place);
                    });
                }
            }
        }
    }

    /// What waits, as far as it fits into one request, without those who wait no more.
    fn gather(&mut self, first: Waiting) -> Vec<Waiting> {
        let (mut together, mut size) = (Vec::new(), 0);
        let mut next = Some(first);
        while let Some(waiting) = next.take().or_else(|| self.waiting.try_recv().ok()) {
            if !together.is_empty() && size + waiting.load.size > REQUEST_BYTES_MAX {
                self.next = Some(waiting);
                break;
            }
            if !waiting.decided.swap(true, Ordering::Relaxed) {
                size += waiting.load.size;
                together.push(waiting);
            }
        }
        together
    }
}

/// What the requests to one broker share.
struct Shared {
    address: String,
    cluster: Arc<Cluster>,
    meters: Arc<Meters>,
}

impl Shared {
    async fn send(&self, together: Vec<Waiting>) {
        let (mut batches, mut senders) = (Vec::with_capacity(together.len()), Vec::with_capacity(together.len()));
        for waiting in together {
            match produce::batch(&waiting.load.records) {
                Ok(batch) => {
                    batches.push((waiting.partition.clone(), batch));
                    senders.push(waiting);
                }
                Err(why) => {
                    let failed = Outcome::Told(Error::Failed(format!("{}: {why}", waiting.partition)));
                    drop(waiting.reply.send(Left::Together(Err(failed))));
                }
            }
        }
        match self.exchange(&batches, &senders).await {
            Ok(answers) => {
                let limit = self.cluster.config.append_bytes_max;
                for (waiting, answer) in senders.into_iter().zip(answers) {
                    let result = match answer {
                        Some(Ok(base)) => Ok(base),
                        Some(Err((code, said))) => {
                            Err(outcome::of_code(code, &said, &waiting.partition, (waiting.load.size, limit)))
                        }
                        None => Err(Outcome::unknown(format!("{} says nothing of it", self.address))),
                    };
                    let _ = waiting.reply.send(Left::Together(result));
                }
            }
            Err(outcome) => {
                for waiting in senders {
                    let _ = waiting.reply.send(Left::Together(Err(outcome.clone())));
                }
            }
        }
    }

    async fn exchange(
        &self,
        batches: &[(TopicPartition, Bytes)],
        senders: &[Waiting],
    ) -> Result<Vec<Option<produce::Answer>>, Outcome> {
        let mut lent = match self.cluster.take_idle(&self.address) {
            Some(lent) => lent,
            None => self.cluster.lend(&self.address).await.map_err(|error| Outcome::NotAppended(chain(&error)))?,
        };
        let begun = Instant::now();
        let within = self.cluster.config.request_timeout;
        match timeout(within, produce::produce(&mut lent.connection, batches, within)).await {
            Ok(Ok(produce::Produced { answers, throttled })) => {
                if !throttled.is_zero() {
                    self.meters.throttled(&self.address, throttled);
                }
                self.cluster.give_back(lent);
                let records = senders.iter().map(|waiting| waiting.load.records.len()).sum();
                let bytes = senders.iter().map(|waiting| waiting.load.size).sum();
                self.meters.appended(records, bytes, begun.elapsed());
                Ok(answers)
            }
            // Nothing was sent, and nothing ever will be.
            Ok(Err(error @ wire::Error::Version { .. })) => Err(Outcome::Told(Error::Failed(chain(&error)))),
            Ok(Err(error)) => {
                // The others that are idle may be as broken, and would make more outcomes unknown.
                self.cluster.forget_idle(&self.address);
                Err(Outcome::unknown(chain(&error)))
            }
            Err(_) => {
                self.cluster.forget_idle(&self.address);
                Err(Outcome::unknown(format!("{} has no answer within {within:?}", self.address)))
            }
        }
    }
}
