//! The event-log port on Kafka.

use std::sync::Arc;

use async_trait::async_trait;
use event_log::{Error, EventLog, FetchFrom, FetchLimits, Fetched, Offset, Record, TopicPartition, TopicSpec};

use crate::append::Appends;
use crate::wire::cluster::Cluster;
use crate::wire::offsets::{self, At};
use crate::wire::{Dial, fetch, quotas, topics};
use crate::{Config, ConnectError};

/// A log on Kafka's brokers, for any number of processes. Clones share its connections, which end with the last of them.
#[derive(Debug, Clone)]
pub struct KafkaLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    cluster: Arc<Cluster>,
    appends: Appends,
    fetches: fetch::Shared,
}

impl KafkaLog {
    /// Reaches the brokers, and looks whether they treat this client in a way that a log can be built on.
    ///
    /// # Errors
    /// A setting makes no sense, no broker can be reached in time, the login is refused, or a quota applies.
    pub async fn connect(config: Config) -> Result<Self, ConnectError> {
        let dial = Dial::new(&config)?;
        let cluster = Cluster::connect(dial, Arc::new(config)).await.map_err(ConnectError::Brokers)?;
        if let Some(quota) = quotas::delaying(&cluster).await.map_err(ConnectError::Brokers)? {
            return Err(ConnectError::Refused(quota));
        }
        let cluster = Arc::new(cluster);
        let appends = Appends::new(cluster.clone());
        Ok(Self { shared: Arc::new(Shared { cluster, appends, fetches: fetch::Shared::new() }) })
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    async fn ensure_topic(&self, spec: &TopicSpec) -> Result<(), Error> {
        topics::ensure(&self.shared.cluster, spec).await
    }

    async fn topics(&self) -> Result<Vec<TopicSpec>, Error> {
        topics::list(&self.shared.cluster).await
    }

    async fn append(&self, partition: &TopicPartition, records: Vec<Record>) -> Result<Offset, Error> {
        self.shared.appends.append(partition, records).await
    }

    async fn fetch(&self, from: &[FetchFrom], limits: FetchLimits) -> Result<Vec<Fetched>, Error> {
        Ok(fetch::fetch(&self.shared.cluster, &self.shared.fetches, from, limits).await)
    }

    async fn earliest(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        offsets::offset(&self.shared.cluster, partition, At::Earliest).await
    }

    async fn latest(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        offsets::offset(&self.shared.cluster, partition, At::Latest).await
    }

    async fn delete_before(&self, partition: &TopicPartition, offset: Offset) -> Result<(), Error> {
        offsets::delete_before(&self.shared.cluster, partition, offset).await?;
        self.shared.fetches.tails.removed(partition, offset);
        Ok(())
    }
}
