//! Watches: streams of what happens in one partition, which a client can leave and take up again without a gap or a repeat.
//!
//! What a watch tells comes from the service's own output topic by a feed that all watches share; a snapshot comes from the
//! owner's state, which says up to which record it accounts. Both meet at the numbers of the records, so that neither the
//! snapshot nor the owner has to wait for the other. A watch holds no events: one that reads too slowly is ended.

mod message;
mod serve;
mod snapshot;
mod stream;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use serde::{Deserialize, Serialize};
use task_runtime::{Decode, Feed, FeedConfig, FeedError, FeedPosition, Feeds, Interest, SharedLog};
use tokio::sync::Semaphore;
use tonic::metadata::MetadataMap;

pub use serve::{Typed, Watched};
pub use snapshot::{Row, Rows};

use crate::token::ResumeToken;
use crate::{Code, Owner, Problem, headers};
use stream::Watcher;

/// Encoded messages of a watch; an error is the last item.
pub type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, Problem>> + Send>>;

/// What watches may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchConfig {
    /// Watches of this process at one time; more are OVERLOADED. A watch of all partitions counts once for each.
    pub watches_max: usize,
    /// How long changes are gathered for one message.
    #[serde(with = "humantime_serde")]
    pub batch_interval: Duration,
    /// Bytes of changes or of a snapshot that make a message full.
    pub batch_bytes: usize,
    /// Longest silence of a watch: then it says that nothing happened, and where it stands.
    #[serde(with = "humantime_serde")]
    pub checkpoint_interval: Duration,
    /// Memory for the newest changes of one partition of one topic, while somebody watches it. A watch that falls back by
    /// more is cut off.
    pub buffer_bytes: usize,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            watches_max: 20_000,
            batch_interval: Duration::from_millis(20),
            batch_bytes: 64 << 10,
            checkpoint_interval: Duration::from_secs(5),
            buffer_bytes: 2 << 20,
        }
    }
}

impl WatchConfig {
    /// Whether watches can work with it.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn check(&self) -> Result<(), String> {
        let range = |name: &str, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(format!("watches.{name} is {value}; it must be {least} to {most}"))
        };
        range("watches_max", self.watches_max, 1, Semaphore::MAX_PERMITS)?;
        range("batch_bytes", self.batch_bytes, 1, 1 << 20)?;
        range("buffer_bytes", self.buffer_bytes, 1 << 10, 1 << 30)?;
        if self.checkpoint_interval < Duration::from_millis(1) {
            return Err("watches.checkpoint_interval must be at least 1ms".to_owned());
        }
        Ok(())
    }
}

/// The watches of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Watches {
    config: Arc<WatchConfig>,
    permits: Arc<Semaphore>,
    feeds: Feeds,
}

/// What one watch shall tell.
#[derive(Debug)]
pub struct Plan {
    /// The partition to watch.
    pub partition: u32,
    /// Which of its events.
    pub interest: Interest,
    /// The rows of the snapshot.
    pub rows: Rows,
    /// Whether a snapshot is wanted.
    pub snapshot: bool,
    /// Where to go on; none to begin now.
    pub token: Option<ResumeToken>,
    /// Of the request's other fields, which tokens are bound to.
    pub fingerprint: u64,
}

impl Plan {
    /// The partition that the gateway asks for, on watches of all partitions.
    ///
    /// # Errors
    /// INVALID_FIELD when none is named.
    pub fn partition_asked(metadata: &MetadataMap) -> Result<u32, Problem> {
        let partition = metadata.get(headers::PARTITION).and_then(|value| value.to_str().ok()?.parse().ok());
        partition.ok_or_else(|| {
            Problem::malformed_request("an owner watches one partition: ask the gateway for all of them")
        })
    }
}

impl Watches {
    /// Watches within these limits, of topics of this log that have so many partitions.
    pub fn new(config: WatchConfig, log: SharedLog, partitions: u32) -> Self {
        let permits = Arc::new(Semaphore::new(config.watches_max.min(Semaphore::MAX_PERMITS)));
        let feeds = FeedConfig { ring_bytes: config.buffer_bytes, ..FeedConfig::default() };
        Self { config: Arc::new(config), permits, feeds: Feeds::new(log, partitions, feeds) }
    }

    /// What reads topics beside the tasks.
    pub fn feeds(&self) -> &Feeds {
        &self.feeds
    }

    /// The feed of a topic that the tasks of `service` write, and nobody else. Watches of one topic share one feed.
    pub fn feed(&self, service: &'static str, topic: &'static str, decode: Decode) -> Feed {
        self.feeds.of(service, topic, decode)
    }

    /// Begins a watch of a partition that this process owns.
    ///
    /// # Errors
    /// OVERLOADED beyond the limit, TOKEN_EXPIRED for a token that is too old, what the row of a single key says when it is not
    /// there, and why the owner does not answer.
    pub async fn open(&self, owner: &Owner, feed: &Feed, plan: Plan) -> Result<Messages, Problem> {
        let permit = self.permits.clone().try_acquire_owned().map_err(|_| Problem::overloaded("the watches"))?;
        let Plan { partition, interest, rows, snapshot, token, fingerprint } = plan;
        // Before the read: whatever stands before this offset is in the state that is read.
        let end = feed.end(partition).await.map_err(|error| ended(owner, partition, &error))?;
        let budget = snapshot::Budget { bytes: self.config.batch_bytes, snapshot: token.is_none() && snapshot };
        let first = snapshot::read(owner, feed, partition, &rows, None, budget).await?;
        let incarnation = first.position.incarnation;
        let from = match &token {
            None => FeedPosition { incarnation, sequence: first.value.sent, offset: end },
            // One that has seen more than was ever sent was not given out here: it would hide from others what they miss.
            Some(token) if token.life == ResumeToken::life_of(incarnation) && token.sequence <= first.value.sent => {
                FeedPosition { incarnation, sequence: token.sequence, offset: token.offset }
            }
            Some(_) => {
                let earliest = feed.earliest(partition).await.map_err(|error| ended(owner, partition, &error))?;
                return Err(Problem::token_expired(earliest));
            }
        };
        let subscription = feed.subscribe(partition, from, interest).await;
        let mut subscription = subscription.map_err(|error| ended(owner, partition, &error))?;
        subscription.hold(permit);
        let watcher = Watcher {
            config: self.config.clone(),
            owner: owner.clone(),
            feed: feed.clone(),
            subscription,
            rows,
            partition,
            fingerprint,
            at: from,
            served_by: Some(owner.served_by(&first)),
            is_behind_snapshot: snapshot && token.as_ref().is_some_and(|token| token.snapshot_after.is_none()),
        };
        let page = (token.is_none() && snapshot).then_some(first.value);
        Ok(watcher.messages(token.and_then(|token| token.snapshot_after), page))
    }
}

/// What a client is told of a feed that ends.
fn ended(owner: &Owner, partition: u32, error: &FeedError) -> Problem {
    match error {
        FeedError::Expired { earliest } => Problem::token_expired(earliest),
        FeedError::Behind => {
            let message = "the caller reads more slowly than changes come; go on with the resume_token";
            Problem::new(Code::ResourceExhausted, "SLOW_READER", message)
        }
        FeedError::AnotherLife => Problem::rebalancing(owner.role(), partition),
        FeedError::Log(error) if error.is_retryable() => Problem::rebalancing(owner.role(), partition),
        FeedError::Log(error) => {
            tracing::error!(partition, %error, "the topic of a watch cannot be read");
            Problem::internal()
        }
    }
}
