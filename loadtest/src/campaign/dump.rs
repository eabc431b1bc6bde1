//! Reads all topics from their beginning to their end, through the port of logs; changelogs by the reader rule of the mesh.

use std::time::Duration;

use anyhow::Context;
use event_log::{EventLog, FetchFrom, FetchLimits, Offset, StoredRecord, TopicPartition, TopicSpec};

use super::changelogs::{Entry, Reader};
use super::topics::TopicRecord;

/// The header that numbers the records of a sender.
const SOURCE_HEADER: &str = "ordermesh-source";
const LIMITS: FetchLimits = FetchLimits { max_bytes_per_partition: 1 << 20, max_wait: Duration::from_secs(5) };

/// What stands in the topics.
#[derive(Debug, Default)]
pub struct Dump {
    /// All records of all topics but those that are the mesh's own affair.
    pub records: Vec<TopicRecord>,
    /// What the changelogs say of owners.
    pub changelogs: Vec<Entry>,
}

/// Reads everything.
///
/// # Errors
/// When the log does not answer, or does not begin at its beginning any more.
pub async fn all(log: &dyn EventLog) -> anyhow::Result<Dump> {
    let mut dump = Dump::default();
    for TopicSpec { name, partitions, .. } in log.topics().await? {
        // Names that begin with an underscore are the broker's own.
        if name.as_str().ends_with("-snapshots") || name.as_str().starts_with('_') {
            continue;
        }
        let service = name.as_str().strip_suffix("-changelog");
        for number in 0..partitions {
            let partition = TopicPartition::new(name.clone(), number);
            let mut changelog = service.map(|service| Reader::new(&format!("{service}/{number}")));
            let take = |stored: &StoredRecord| match &mut changelog {
                Some(changelog) => changelog.read(stored, &mut dump.changelogs),
                None => dump.records.push(topic_record(&partition, stored)),
            };
            read(log, &partition, take).await.with_context(|| format!("{partition} cannot be read"))?;
        }
    }
    Ok(dump)
}

fn topic_record(partition: &TopicPartition, stored: &StoredRecord) -> TopicRecord {
    let source = stored.record.header(SOURCE_HEADER).map(|value| String::from_utf8_lossy(value).into_owned());
    let value = stored.record.value.as_deref().unwrap_or_default();
    let (topic, source) = (partition.topic.as_str(), source.unwrap_or_default());
    TopicRecord::new(topic, partition.partition, stored.offset.0, &source, value)
}

async fn read(
    log: &dyn EventLog,
    partition: &TopicPartition,
    mut take: impl FnMut(&StoredRecord),
) -> anyhow::Result<()> {
    anyhow::ensure!(log.earliest(partition).await? == Offset::ZERO, "it was trimmed");
    let latest = log.latest(partition).await?;
    let mut next = Offset::ZERO;
    while next < latest {
        let from = [FetchFrom { partition: partition.clone(), offset: next }];
        let before = next;
        for fetched in log.fetch(&from, LIMITS).await? {
            let batch = fetched.result?;
            batch.records.iter().for_each(&mut take);
            next = batch.records.last().map_or(next, |last| last.offset.next());
        }
        anyhow::ensure!(next > before, "nothing came from offset {before} of {latest}");
    }
    Ok(())
}
