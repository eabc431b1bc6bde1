//! Reads all topics from their beginning to their end, through the port of logs.

use std::time::Duration;

use anyhow::Context;
use event_log::{EventLog, FetchFrom, FetchLimits, Offset, TopicPartition, TopicSpec};

use super::topics::TopicRecord;

/// The header that numbers the records of a sender.
const SOURCE_HEADER: &str = "ordermesh-source";
const LIMITS: FetchLimits = FetchLimits { max_bytes_per_partition: 1 << 20, max_wait: Duration::from_secs(5) };

/// All records of all topics but changelogs, whose form is the affair of the mesh.
///
/// # Errors
/// When the log does not answer, or does not begin at its beginning any more.
pub async fn all(log: &dyn EventLog) -> anyhow::Result<Vec<TopicRecord>> {
    let mut records = Vec::new();
    for TopicSpec { name, partitions, .. } in log.topics().await? {
        // Names that begin with an underscore are the broker's own.
        if name.as_str().ends_with("-changelog")
            || name.as_str().ends_with("-snapshots")
            || name.as_str().starts_with('_')
        {
            continue;
        }
        for partition in 0..partitions {
            let partition = TopicPartition::new(name.clone(), partition);
            read(log, &partition, &mut records).await.with_context(|| format!("{partition} cannot be read"))?;
        }
    }
    Ok(records)
}

async fn read(log: &dyn EventLog, partition: &TopicPartition, into: &mut Vec<TopicRecord>) -> anyhow::Result<()> {
    anyhow::ensure!(log.earliest(partition).await? == Offset::ZERO, "it was trimmed");
    let latest = log.latest(partition).await?;
    let mut next = Offset::ZERO;
    while next < latest {
        let from = [FetchFrom { partition: partition.clone(), offset: next }];
        let before = next;
        for fetched in log.fetch(&from, LIMITS).await? {
            let batch = fetched.result?;
            for stored in &batch.records {
                let source =
                    stored.record.header(SOURCE_HEADER).map(|value| String::from_utf8_lossy(value).into_owned());
                let value = stored.record.value.as_deref().unwrap_or_default();
                let (topic, source) = (partition.topic.as_str(), source.unwrap_or_default());
                into.push(TopicRecord::new(topic, partition.partition, stored.offset.0, &source, value));
            }
            next = batch.records.last().map_or(next, |last| last.offset.next());
        }
        anyhow::ensure!(next > before, "nothing came from offset {before} of {latest}");
    }
    Ok(())
}
