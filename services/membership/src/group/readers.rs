//! Tells the brokers how far services have read their inputs, for people: `kafka-consumer-groups --describe` shows their lag.
//!
//! Several services read one topic, and a group has one offset for each partition. So each service has a group beside that of
//! the mesh, `<group>.<service>`, which has offsets and no members. It is advice: tasks go on from what is in their commits,
//! and nobody reads these offsets but tools.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_log::wire::{Connection, Dial, Error};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::{GroupId, OffsetCommitRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::GroupConfig;
use super::coordinator::Finder;
use super::wire::text;

/// How often offsets are told again that have not changed: brokers forget those that are days old.
const AGAIN: Duration = Duration::from_secs(3_600);

/// How far a task of this process has read one of its inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRead {
    /// The service.
    pub service: &'static str,
    /// The topic that it reads.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// Offset of the next record.
    pub next_offset: u64,
}

/// Offsets by topic and partition.
type Offsets = BTreeMap<(String, i32), i64>;

/// Commits offsets for the services of a process.
#[derive(Debug)]
pub struct Readers {
    config: GroupConfig,
    finder: Finder,
    readers: BTreeMap<&'static str, Reader>,
}

/// What was told for one service.
#[derive(Debug, Default)]
struct Reader {
    coordinator: Option<Connection>,
    told: Offsets,
    told_all: Option<Instant>,
}

impl Readers {
    /// For the groups beside this one.
    #[must_use]
    pub fn new(config: GroupConfig, dial: Dial) -> Self {
        Self { finder: Finder::new(dial, &config), config, readers: BTreeMap::new() }
    }

    /// Tells what `read` says whenever it has changed, until `shutdown`.
    pub async fn run(mut self, read: impl Fn() -> Vec<InputRead> + Send, shutdown: CancellationToken) {
        let mut ticks = interval(self.config.advice_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let mut by_service: BTreeMap<&'static str, Offsets> = BTreeMap::new();
            for InputRead { service, topic, partition, next_offset } in read() {
                if let (Ok(partition), Ok(offset)) = (i32::try_from(partition), i64::try_from(next_offset)) {
                    by_service.entry(service).or_default().insert((topic, partition), offset);
                }
            }
            self.readers.retain(|service, _| by_service.contains_key(service));
            for (service, offsets) in by_service {
                let told = tokio::select! {
                    () = shutdown.cancelled() => return,
                    told = self.tell(service, offsets) => told,
                };
                if let Err(error) = told {
                    tracing::debug!(service, error = %service_host::Chain(&error), "offsets are not committed");
                }
            }
        }
    }

    async fn tell(&mut self, service: &'static str, offsets: Offsets) -> Result<(), Error> {
        let reader = self.readers.entry(service).or_default();
        let is_due = reader.told_all.is_none_or(|told| told.elapsed() >= AGAIN);
        // What others own now is theirs to tell.
        reader.told.retain(|place, _| offsets.contains_key(place));
        let is_news = |(place, offset): &(&(String, i32), &i64)| is_due || reader.told.get(*place) != Some(*offset);
        let news: Offsets = offsets.iter().filter(is_news).map(|(place, offset)| (place.clone(), *offset)).collect();
        if news.is_empty() {
            return Ok(());
        }
        let group = format!("{}.{service}", self.config.group);
        let mut connection = match reader.coordinator.take() {
            Some(connection) => connection,
            None => self.finder.find(&group).await?,
        };
        commit(&mut connection, &group, &news, self.config.request_timeout).await?;
        // Kept only while it does what it should: another one is looked for otherwise.
        reader.coordinator = Some(connection);
        if is_due {
            reader.told_all = Some(Instant::now());
        }
        reader.told.extend(news);
        Ok(())
    }
}

async fn commit(connection: &mut Connection, group: &str, offsets: &Offsets, after: Duration) -> Result<(), Error> {
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for ((topic, partition), offset) in offsets {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(*offset)
            .with_committed_metadata(Some(StrBytes::default()));
        topics.entry(topic).or_default().push(partition);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        OffsetCommitRequestTopic::default().with_name(TopicName(text(topic))).with_partitions(partitions)
    });
    // No member and no generation: that is how one commits who is not in the group.
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(topics.collect());
    let broker = connection.broker().to_owned();
    let answer = timeout(after, connection.call(&request, 7..=9)).await;
    let answer = answer.map_err(|_| Error::Timeout { broker, after })??;
    let codes = answer.topics.iter().flat_map(|topic| topic.partitions.iter().map(|partition| partition.error_code));
    codes.into_iter().try_for_each(|code| connection.check(code, None))
}
