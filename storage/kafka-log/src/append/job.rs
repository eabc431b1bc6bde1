//! The one who appends to one partition.

use std::sync::Arc;
use std::time::Duration;

use event_log::{Error, Offset, Record, TopicPartition};
use rskafka::client::partition::{Compression, PartitionClient};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::departures::{Left, Load};
use super::outcome::{Outcome, classify};
use super::producer::{Producer, record};
use crate::wire::cluster::End;

/// What is put together into one request: enough to carry the load, too little to be too large.
const TOGETHER_RECORDS_MAX: usize = 2_048;
const TOGETHER_BYTES_MAX: usize = 512 * 1024;
/// First and longest pause before another try.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// No try begins in the last part of an append's time, which is one in so many: an answer that comes too late makes an unknown
/// outcome of what would have been none, and costs the connection.
const LAST_PART: u32 = 10;

/// An append that waits, and who waits for it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) records: Vec<Record>,
    pub(super) size: usize,
    /// When its call should end.
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Result<Offset, Error>>,
}

/// Sends what waits, one request at a time.
pub(super) struct Job {
    producer: Arc<Producer>,
    partition: TopicPartition,
    queue: mpsc::Receiver<Waiting>,
    /// Taken from the queue, but too much for the request before.
    next: Option<Waiting>,
    client: Option<PartitionClient>,
    end: End,
}

impl Job {
    pub(super) fn new(producer: Arc<Producer>, partition: TopicPartition, queue: mpsc::Receiver<Waiting>) -> Self {
        let end = producer.cluster().end(&partition);
        Self { producer, partition, queue, next: None, client: None, end }
    }

    /// Ends when the log is dropped and everything that was taken has its answer.
    pub(super) async fn run(mut self) {
        while let Some(mut appends) = self.gather().await {
            let result = self.send(&mut appends).await;
            if appends.len() > 1 && matches!(result, Err(Error::TooLarge { .. })) {
                // Together they are too large for this broker; each for itself may not be.
                for waiting in appends {
                    let mut alone = vec![waiting];
                    let result = self.send(&mut alone).await;
                    answer(alone, result);
                }
            } else {
                answer(appends, result);
            }
        }
    }

    async fn gather(&mut self) -> Option<Vec<Waiting>> {
        let first = match self.next.take() {
            Some(waiting) => waiting,
            None => self.queue.recv().await?,
        };
        let bytes_max = TOGETHER_BYTES_MAX.min(self.producer.config().append_bytes_max);
        let (mut count, mut size) = (first.records.len(), first.size);
        let mut appends = vec![first];
        while let Ok(waiting) = self.queue.try_recv() {
            count += waiting.records.len();
            size += waiting.size;
            if count > TOGETHER_RECORDS_MAX || size > bytes_max {
                self.next = Some(waiting);
                break;
            }
            appends.push(waiting);
        }
        Some(appends)
    }

    /// Sends one request until it is answered, refused, or of unknown outcome. Leaves those whom that concerns: others have
    /// been told before that their time is over.
    async fn send(&mut self, appends: &mut Vec<Waiting>) -> Result<Offset, Error> {
        let (mut pause, mut why) = (PAUSE, "too much waits in front of it".to_owned());
        loop {
            let begun = Instant::now();
            self.end(appends, begun + self.producer.config().operation_timeout / LAST_PART, &why);
            // The last one's time counts: cut short for the first one, the request would be of unknown outcome for all.
            let Some(deadline) = appends.iter().map(|waiting| waiting.deadline).max() else {
                return Err(self.unavailable(&why));
            };
            why = match self.try_once(&load(appends), deadline).await {
                Ok(base) => return Ok(base),
                Err(Outcome::Told(error)) => {
                    if matches!(error, Error::UnknownOutcome(_)) {
                        self.producer.meters.unclear();
                    }
                    return Err(error);
                }
                Err(Outcome::NotAppended(why)) => why,
                Err(Outcome::UnknownThere) => "the broker does not know it".to_owned(),
            };
            self.end(appends, Instant::now() + pause, &why);
            if appends.is_empty() {
                return Err(self.unavailable(&why));
            }
            tracing::debug!(partition = %self.partition, why, "an append is tried again");
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            self.producer.look_again(begun, deadline).await;
        }
    }

    /// Answers those whose time is over by then. Only while no request has them: nothing of theirs was appended.
    fn end(&self, appends: &mut Vec<Waiting>, by: Instant, why: &str) {
        let late = appends.extract_if(.., |waiting| waiting.deadline <= by).collect();
        answer(late, Err(self.unavailable(why)));
    }

    fn unavailable(&self, why: &str) -> Error {
        Error::Unavailable(format!("{}: {why}", self.partition))
    }

    async fn try_once(&mut self, load: &Load, deadline: Instant) -> Result<Offset, Outcome> {
        let result = match self.producer.departures.leave(&self.partition, load, deadline).await {
            Left::Together(result) => result,
            Left::Alone(place) => self.send_alone(load, place, deadline).await,
        };
        let base = match result {
            Err(Outcome::UnknownThere) => return Err(self.producer.unknown_there(&self.partition, deadline).await),
            result => result?,
        };
        self.end.reaches(Offset(base.0 + load.records.len() as u64));
        Ok(base)
    }

    async fn send_alone(
        &mut self,
        load: &Load,
        place: Option<OwnedSemaphorePermit>,
        deadline: Instant,
    ) -> Result<Offset, Outcome> {
        let (client, _place) = match self.client.take() {
            Some(client) => (client, place),
            None => {
                // The others need not wait until this one is connected.
                drop(place);
                (self.producer.open(&self.partition, deadline).await?, None)
            }
        };
        let records = load.records.iter().map(record).collect();
        let begun = Instant::now();
        let left = deadline.saturating_duration_since(Instant::now()).min(self.producer.config().request_timeout);
        // Whatever happens but a clean answer, the client goes: its connection may still get the answer to this.
        match timeout(left, client.produce(records, Compression::NoCompression)).await {
            Ok(Ok(offsets)) => {
                self.client = Some(client);
                let base = offsets.first().copied().and_then(|base| u64::try_from(base).ok());
                let base = base.map(Offset).ok_or_else(|| Outcome::unknown("the broker gives no offset"))?;
                self.producer.meters.appended(offsets.len(), load.size, begun.elapsed());
                Ok(base)
            }
            Ok(Err(error)) => {
                let limit = self.producer.config().append_bytes_max;
                let (outcome, connected) = classify(&error, &self.partition, (load.size, limit));
                if connected {
                    self.client = Some(client);
                }
                Err(outcome)
            }
            Err(_) => {
                self.producer.suspect().await;
                Err(Outcome::unknown(format!("{} has no answer within {left:?}", self.partition)))
            }
        }
    }
}

/// What these appends put together into one request.
fn load(appends: &[Waiting]) -> Load {
    let records = appends.iter().flat_map(|waiting| waiting.records.iter().cloned()).collect();
    Load { records, size: appends.iter().map(|waiting| waiting.size).sum() }
}

fn answer(appends: Vec<Waiting>, result: Result<Offset, Error>) {
    let mut next = result;
    for waiting in appends {
        let own = next.clone();
        if let Ok(base) = &mut next {
            base.0 += waiting.records.len() as u64;
        }
        // Who has dropped the append does not want to know.
        let _ = waiting.reply.send(own);
    }
}
