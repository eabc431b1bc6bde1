//! The rskafka client that the jobs share: made when it is needed, made anew when it may be stuck, told to look again when
//! leaders move.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use event_log::{Error, Record, TopicPartition};
use rskafka::BackoffConfig;
use rskafka::chrono::DateTime;
use rskafka::client::partition::{PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout, timeout_at};

use super::departures::Departures;
use super::meters::Meters;
use super::nodelay;
use super::outcome::{Outcome, classify, innermost};
use crate::config::{Config, Mechanism};
use crate::wire::cluster::Cluster;
use crate::wire::offsets::Search;

/// Makes connections for appends.
pub(super) struct Producer {
    cluster: Arc<Cluster>,
    shared: Mutex<Shared>,
    pub(super) departures: Departures,
    pub(super) meters: Arc<Meters>,
}

#[derive(Default)]
struct Shared {
    client: Option<Arc<Client>>,
    /// When the client last heard from the brokers, and when it last failed to, with the reason.
    looked: Option<Instant>,
    failed: Option<(Instant, String)>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Producer {
    pub(super) fn new(cluster: Arc<Cluster>) -> Self {
        let meters = Arc::new(Meters::new());
        let departures = Departures::new(cluster.clone(), meters.clone());
        Self { cluster, shared: Mutex::default(), departures, meters }
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(super) fn config(&self) -> &Config {
        &self.cluster.config
    }

    /// A connection to the leader of a partition.
    pub(super) async fn open(&self, partition: &TopicPartition, deadline: Instant) -> Result<PartitionClient, Outcome> {
        let client = timeout_at(deadline, self.client(Instant::now())).await;
        let client = client.unwrap_or_else(|_| Err("no client in time".to_owned())).map_err(Outcome::NotAppended)?;
        let index = i32::try_from(partition.partition);
        let index = index.map_err(|_| Outcome::Told(Error::UnknownTopic(partition.to_string())))?;
        let left = deadline.saturating_duration_since(Instant::now()).min(self.config().connect_timeout);
        let opening = client.partition_client(partition.topic.as_str(), index, UnknownTopicHandling::Error);
        let opened = match timeout(left, opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return Err(self.not_opened(&error, partition)),
            Err(_) => {
                self.suspect().await;
                return Err(Outcome::NotAppended(format!("no connection within {left:?}")));
            }
        };
        nodelay::set(&self.cluster.metadata());
        Ok(opened)
    }

    /// What it means that a broker does not know a partition: it may not have heard of it yet. Unknown it is when all say so
    /// for a while.
    pub(super) async fn unknown_there(&self, partition: &TopicPartition, deadline: Instant) -> Outcome {
        match timeout_at(deadline, Search::new(&self.cluster, partition).leader()).await {
            Ok(Err(error @ Error::UnknownTopic(_))) => Outcome::Told(error),
            _ => Outcome::NotAppended("it is not known everywhere yet".to_owned()),
        }
    }

    fn not_opened(&self, error: &rskafka::client::error::Error, partition: &TopicPartition) -> Outcome {
        match classify(error, partition, (0, self.config().append_bytes_max)).0 {
            // Nothing of the append was sent, whatever the error.
            Outcome::Told(Error::UnknownOutcome(why)) => Outcome::NotAppended(why),
            other => {
                tracing::debug!(%partition, error = %innermost(error), "a connection for appends is not made");
                other
            }
        }
    }

    /// Asks again who leads what, and makes the client do so, unless somebody has since `since`. A client whose own connection
    /// hangs or is broken is given up, and so is one that has no time left to answer.
    pub(super) async fn look_again(&self, since: Instant, deadline: Instant) {
        let limit = || deadline.min(Instant::now() + self.config().connect_timeout);
        // Refused or late, what is known stays, and the next try tells.
        let _ = timeout_at(limit(), self.cluster.refresh(since)).await;
        let Ok(mut shared) = timeout_at(deadline, self.shared.lock()).await else { return };
        if shared.looked.is_some_and(|looked| looked > since) {
            return;
        }
        let Some(client) = shared.client.clone() else { return };
        let begun = Instant::now();
        match timeout_at(limit(), client.list_topics()).await {
            Ok(Ok(_)) => shared.looked = Some(begun),
            Ok(Err(_)) | Err(_) => shared.client = None,
        }
    }

    /// Gives the client up: a request had no answer, and its own connection may lead to the same broker.
    pub(super) async fn suspect(&self) {
        self.shared.lock().await.client = None;
    }

    async fn client(&self, wanted: Instant) -> Result<Arc<Client>, String> {
        let mut shared = self.shared.lock().await;
        if let Some(client) = &shared.client {
            return Ok(client.clone());
        }
        // Many partitions want one at once: what one has just found out serves those that waited behind it.
        if let Some((_, why)) = shared.failed.as_ref().filter(|(failed, _)| *failed > wanted) {
            return Err(why.clone());
        }
        let begun = Instant::now();
        let built = timeout(self.config().connect_timeout, self.builder().build()).await;
        let why = match built {
            Ok(Ok(client)) => {
                let client = Arc::new(client);
                shared.client = Some(client.clone());
                shared.looked = Some(begun);
                return Ok(client);
            }
            Ok(Err(error)) => innermost(&error).to_string(),
            Err(_) => format!("no broker answers within {:?}", self.config().connect_timeout),
        };
        shared.failed = Some((Instant::now(), why.clone()));
        Err(why)
    }

    fn builder(&self) -> ClientBuilder {
        let config = self.config();
        // The brokers that are known lead on when those of the configuration are gone.
        let mut brokers: Vec<String> = self.cluster.metadata().brokers.values().cloned().collect();
        brokers.extend(config.brokers.iter().filter(|broker| !brokers.contains(broker)).cloned().collect::<Vec<_>>());
        // No hidden retries: what was sent once is sent again only by whoever knows that this is safe.
        let once = BackoffConfig { deadline: Some(Duration::from_nanos(1)), ..BackoffConfig::default() };
        let mut builder = ClientBuilder::new(brokers).client_id(config.client_id.as_str()).backoff_config(once);
        if let Some(tls) = self.cluster.dial().tls() {
            builder = builder.tls_config(tls.clone());
        }
        if let Some(sasl) = &config.sasl {
            let credentials = Credentials::new(sasl.username.clone(), sasl.password.expose().to_owned());
            builder = builder.sasl_config(match sasl.mechanism {
                Mechanism::Plain => SaslConfig::Plain(credentials),
                Mechanism::ScramSha256 => SaslConfig::ScramSha256(credentials),
                Mechanism::ScramSha512 => SaslConfig::ScramSha512(credentials),
            });
        }
        builder
    }
}

/// A record as rskafka takes it. Its headers are a map: of a repeated name, the first value stays.
pub(super) fn record(record: &Record) -> rskafka::record::Record {
    let mut headers = BTreeMap::new();
    for header in &record.headers {
        let name = String::from_utf8_lossy(&header.name).into_owned();
        headers.entry(name).or_insert_with(|| header.value.to_vec());
    }
    rskafka::record::Record {
        key: record.key.as_ref().map(|key| key.to_vec()),
        value: record.value.as_ref().map(|value| value.to_vec()),
        headers,
        timestamp: DateTime::from_timestamp_millis(record.timestamp_ms).unwrap_or_default(),
    }
}
