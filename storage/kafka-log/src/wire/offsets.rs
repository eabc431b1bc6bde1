//! Where a partition begins and ends, and removing its beginning: requests to whoever leads it.

use std::time::Duration;

use event_log::{Error, Offset, TopicPartition};
use kafka_protocol::ResponseError;
use kafka_protocol::error::ParseResponseErrorCode;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{DeleteRecordsRequest, ListOffsetsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, Led};
use crate::error::{Meaning, meaning};

/// Which offset of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// The first that can be read.
    Earliest,
    /// The high watermark.
    Latest,
}

/// First and longest pause before a partition's leader is looked for again.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How long a partition must be unknown to be believed so: a broker that has just started hears of it a little late.
const UNKNOWN_FOR: Duration = Duration::from_millis(400);

/// How many answers that a partition ends before what it is known to reach it takes to believe that.
const EARLIER_MIN: u32 = 4;

/// Looks for the leader of one partition until there is one, the partition turns out not to exist, or time is over.
pub(crate) struct Search<'a> {
    cluster: &'a Cluster,
    partition: &'a TopicPartition,
    deadline: Instant,
    pause: Duration,
    unknown_since: Option<Instant>,
    last: String,
}

impl<'a> Search<'a> {
    pub(crate) fn new(cluster: &'a Cluster, partition: &'a TopicPartition) -> Self {
        let deadline = Instant::now() + cluster.config.operation_timeout;
        Self { cluster, partition, deadline, pause: PAUSE, unknown_since: None, last: "no broker answered".to_owned() }
    }

    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Address of the leader.
    pub(crate) async fn leader(&mut self) -> Result<String, Error> {
        if i32::try_from(self.partition.partition).is_err() {
            return Err(self.unknown());
        }
        loop {
            match self.cluster.metadata().leader(self.partition) {
                Led::At(address) => return Ok(address),
                Led::Nobody => self.again(Meaning::Elsewhere, "nobody leads the partition").await?,
                Led::Unknown => self.again(Meaning::Unknown, "the partition is unknown").await?,
            }
        }
    }

    /// Waits a little, after something that may pass, and asks the brokers anew.
    pub(crate) async fn again(&mut self, meaning: Meaning, why: impl Into<String>) -> Result<(), Error> {
        self.last = why.into();
        let begun = Instant::now();
        if meaning == Meaning::Unknown {
            let since = *self.unknown_since.get_or_insert(begun);
            if since.elapsed() >= UNKNOWN_FOR {
                return Err(self.unknown());
            }
        }
        if self.left() <= self.pause {
            return Err(self.unavailable());
        }
        // The first look is free: what is known may only be old.
        if self.pause > PAUSE || meaning != Meaning::Unknown {
            sleep(self.pause).await;
        }
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        match tokio::time::timeout(self.left(), self.cluster.refresh(begun)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                self.last = super::chain(&error);
                Ok(())
            }
            Err(_) => Err(self.unavailable()),
        }
    }

    pub(crate) fn unknown(&self) -> Error {
        Error::UnknownTopic(self.partition.to_string())
    }

    pub(crate) fn unavailable(&self) -> Error {
        Error::Unavailable(format!("{}: {}", self.partition, self.last))
    }
}

/// One end of a partition.
pub(crate) async fn offset(cluster: &Cluster, partition: &TopicPartition, at: At) -> Result<Offset, Error> {
    let mut search = Search::new(cluster, partition);
    let mut earlier = 0;
    loop {
        let leader = search.leader().await?;
        let request = list_offsets(partition, at);
        let answer = cluster.ask(&leader, &request, 1..=7, search.left().min(cluster.config.request_timeout)).await;
        let answer = match answer {
            Ok(answer) => answer.topics.into_iter().flat_map(|topic| topic.partitions).next(),
            Err(error) => {
                search.again(Meaning::Later, super::chain(&error)).await?;
                continue;
            }
        };
        let Some(found) = answer else {
            return Err(Error::Failed(format!("{leader} says nothing about {partition}")));
        };
        let Some(code) = found.error_code.err() else {
            let offset = u64::try_from(found.offset).map(Offset);
            let offset = offset.map_err(|_| Error::Failed(format!("{leader} ends {partition} at {}", found.offset)))?;
            if at == At::Earliest {
                return Ok(offset);
            }
            let known = cluster.end(partition);
            if offset < known.get() {
                // Either this broker has been deposed, and the next look finds the one that leads; or records are lost,
                // which is believed once all had time to say otherwise.
                let why = format!("{leader} ends it at {offset}, before {}", known.get());
                earlier += 1;
                match search.again(Meaning::Elsewhere, why).await {
                    Ok(()) => continue,
                    Err(error) if earlier < EARLIER_MIN => return Err(error),
                    Err(_) => known.believe(offset),
                }
            }
            known.reaches(offset);
            return Ok(offset);
        };
        match meaning(code) {
            Meaning::Refused => {
                return Err(Error::Failed(format!("{leader} refused the offsets of {partition}: {code:?}")));
            }
            meaning => search.again(meaning, format!("{leader} answers {code:?}")).await?,
        }
    }
}

/// Both ends, as an error about an offset that does not lie between them.
pub(crate) async fn out_of_range(cluster: &Cluster, partition: &TopicPartition, offset: Offset) -> Error {
    let ends = futures::try_join!(
        self::offset(cluster, partition, At::Earliest),
        self::offset(cluster, partition, At::Latest)
    );
    match ends {
        Ok((earliest, latest)) => Error::OffsetOutOfRange { partition: partition.clone(), offset, earliest, latest },
        Err(error) => error,
    }
}

/// Removes everything below an offset.
pub(crate) async fn delete_before(cluster: &Cluster, partition: &TopicPartition, offset: Offset) -> Result<(), Error> {
    let mut search = Search::new(cluster, partition);
    let Ok(wanted) = i64::try_from(offset.0) else {
        search.leader().await?;
        return Err(out_of_range(cluster, partition, offset).await);
    };
    loop {
        let leader = search.leader().await?;
        let within = search.left().min(cluster.config.request_timeout);
        let request = delete_records(partition, wanted, within);
        let answer = match cluster.ask(&leader, &request, 0..=2, within).await {
            Ok(answer) => answer.topics.into_iter().flat_map(|topic| topic.partitions).next(),
            Err(error) => {
                search.again(Meaning::Later, super::chain(&error)).await?;
                continue;
            }
        };
        let Some(code) = answer.map_or(Some(ResponseError::UnknownServerError), |found| found.error_code.err()) else {
            return Ok(());
        };
        if code == ResponseError::OffsetOutOfRange {
            let error = out_of_range(cluster, partition, offset).await;
            // Below the start, that of a moment ago or of now, there is nothing to remove.
            let passed = matches!(error, Error::OffsetOutOfRange { latest, .. } if latest >= offset);
            return if passed { Ok(()) } else { Err(error) };
        }
        match meaning(code) {
            Meaning::Refused => {
                return Err(Error::Failed(format!("{leader} does not remove from {partition}: {code:?}")));
            }
            meaning => search.again(meaning, format!("{leader} answers {code:?}")).await?,
        }
    }
}

fn list_offsets(partition: &TopicPartition, at: At) -> ListOffsetsRequest {
    let timestamp = match at {
        At::Latest => -1,
        At::Earliest => -2,
    };
    let wanted = ListOffsetsPartition::default().with_partition_index(index(partition)).with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default().with_name(name(&partition.topic)).with_partitions(vec![wanted]);
    ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic])
}

fn delete_records(partition: &TopicPartition, offset: i64, within: Duration) -> DeleteRecordsRequest {
    let wanted = DeleteRecordsPartition::default().with_partition_index(index(partition)).with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(name(&partition.topic)).with_partitions(vec![wanted]);
    let timeout_ms = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(timeout_ms)
}

pub(crate) fn name(topic: &event_log::TopicName) -> TopicName {
    TopicName(StrBytes::from_string(topic.as_str().to_owned()))
}

pub(crate) fn index(partition: &TopicPartition) -> i32 {
    i32::try_from(partition.partition).expect("a search refuses partitions beyond Kafka's numbers")
}
