//! Appends: for each partition one queue and one job with one request under way, what gathered meanwhile in the next. The
//! jobs of the partitions that one broker leads meet (`departures`): what waits there at the same time is one request.
//!
//! What always holds: a request is sent once. Only after an answer that says that nothing was appended is it sent again,
//! within the time of one call. Whatever else goes wrong ends the connection, and is told as what it is.
//!
//! The time of a call begins when it is made. What has waited for so long before a request took it, or between two of them, was
//! not appended and never will be. What is in a request waits for its answer, at most until the time of the last append in it
//! is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use event_log::{Error, Offset, Record, TopicPartition};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::wire::cluster::Cluster;
use crate::wire::offsets::Search;

mod departures;
mod job;
mod meters;
mod nodelay;
mod outcome;
mod producer;

use job::{Job, Waiting};
use producer::Producer;

#[cfg(test)]
mod tests;

/// Appends that wait for one partition; more wait in front of its queue.
const QUEUE_MAX: usize = 1_024;

/// The queues of all partitions that something was appended to.
#[derive(Debug)]
pub(crate) struct Appends {
    producer: Arc<Producer>,
    queues: Mutex<HashMap<TopicPartition, mpsc::Sender<Waiting>>>,
}

impl Appends {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { producer: Arc::new(Producer::new(cluster)), queues: Mutex::default() }
    }

    /// Appends as [`event_log::EventLog::append`] says.
    pub(crate) async fn append(&self, partition: &TopicPartition, records: Vec<Record>) -> Result<Offset, Error> {
        if records.is_empty() {
            return Err(Error::Failed("there is nothing to append".to_owned()));
        }
        let size = records.iter().map(Record::approximate_size).sum();
        let limit = self.producer.config().append_bytes_max;
        if size > limit {
            return Err(Error::TooLarge { size, limit });
        }
        for name in records.iter().flat_map(|record| &record.headers).map(|header| &header.name) {
            if let Err(error) = std::str::from_utf8(name) {
                return Err(Error::Failed(format!("a header's name is not text: {error}")));
            }
        }
        let deadline = Instant::now() + self.producer.config().operation_timeout;
        let queue = self.queue(partition).await?;
        let (reply, outcome) = oneshot::channel();
        let waiting = Waiting { records, size, deadline, reply };
        let ended = || Error::Unavailable("the log is closed".to_owned());
        let late = |_| Error::Unavailable(format!("{partition}: too much waits in front of it"));
        timeout_at(deadline, queue.send(waiting)).await.map_err(late)?.map_err(|_| ended())?;
        // The job answers everything that it has taken, unless its runtime is gone.
        outcome.await.unwrap_or_else(|_| Err(Error::UnknownOutcome("the log was closed meanwhile".to_owned())))
    }

    async fn queue(&self, partition: &TopicPartition) -> Result<mpsc::Sender<Waiting>, Error> {
        if let Some(queue) = self.queues().get(partition) {
            return Ok(queue.clone());
        }
        // A job for a partition that does not exist would stay for nothing.
        Search::new(self.producer.cluster(), partition).leader().await?;
        let mut queues = self.queues();
        if let Some(queue) = queues.get(partition) {
            return Ok(queue.clone());
        }
        let (queue, appends) = mpsc::channel(QUEUE_MAX);
        queues.insert(partition.clone(), queue.clone());
        self.producer.cluster().runtime.spawn(Job::new(self.producer.clone(), partition.clone(), appends).run());
        Ok(queue)
    }

    fn queues(&self) -> std::sync::MutexGuard<'_, HashMap<TopicPartition, mpsc::Sender<Waiting>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
