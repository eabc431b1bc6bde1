//! What the topics say, read by the reader rule and the watermark rule and by nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use embedded_broker::EmbeddedLog;
use event_log::{EventLog, FetchFrom, FetchLimits, Offset, StoredRecord, TopicPartition};
use task_runtime::Source;
use task_runtime::changelog::{Chain, Output, Read};

use crate::supervisor::Book;
use crate::{life, mesh};

/// Rows of services: service, partition, store and key.
pub(crate) type Rows = BTreeMap<(usize, u32, u8, Bytes), Bytes>;

/// What was found.
pub(crate) struct Found {
    rows: Rows,
    pub(crate) void_entries: u64,
    pub(crate) repeated_outputs: u64,
}

/// Reads all changelogs and compares the outputs that they name with what stands in the output topics.
pub(crate) async fn read(log: &EmbeddedLog) -> Result<Found, String> {
    let mut found = Found { rows: Rows::new(), void_entries: 0, repeated_outputs: 0 };
    for service in 0..mesh::SERVICES.len() {
        for partition in 0..life::PARTITIONS {
            let changelog = TopicPartition::new(mesh::definition(service).changelog(), partition);
            let outputs = found.read_changelog(service, &changelog, &all(log, &changelog).await?)?;
            for (to, sent) in outputs {
                let task = format!("{}/{partition}", mesh::SERVICES[service]);
                found.compare(&task, &sent, &all(log, &to).await?).map_err(|why| format!("{to}: {why}"))?;
            }
        }
    }
    Ok(found)
}

type Outputs = BTreeMap<TopicPartition, Vec<Output>>;

impl Found {
    fn read_changelog(
        &mut self,
        service: usize,
        at: &TopicPartition,
        entries: &[StoredRecord],
    ) -> Result<Outputs, String> {
        let (mut chain, mut outputs) = (Chain::default(), Outputs::new());
        for entry in entries {
            let value = entry.record.value.clone().unwrap_or_default();
            let body = match chain.read(&value).map_err(|error| format!("{at} at {}: {error}", entry.offset))? {
                Read::Committed(body) => body,
                Read::Void(_) => {
                    self.void_entries += 1;
                    continue;
                }
                Read::Claimed | Read::Partial => continue,
            };
            for (key, value) in body.changes {
                // Rows of services begin at 0x80; below stand the runtime's own.
                let Some(store) = key[0].checked_sub(0x80) else { continue };
                let row = (service, at.partition, store, key.slice(1..));
                match value {
                    Some(value) => self.rows.insert(row, value),
                    None => self.rows.remove(&row),
                };
            }
            for output in body.outputs {
                outputs.entry(TopicPartition::new(output.topic.clone(), output.partition)).or_default().push(output);
            }
        }
        Ok(outputs)
    }

    /// A receiver by the watermark rule takes exactly the outputs, in order.
    fn compare(&mut self, task: &str, sent: &[Output], there: &[StoredRecord]) -> Result<(), String> {
        let mut taken: u64 = 0;
        for stored in there {
            let Some(source) = Source::of(&stored.record).filter(|source| source.task == task) else { continue };
            if source.sequence <= taken {
                self.repeated_outputs += 1;
                continue;
            }
            if source.sequence != taken + 1 {
                return Err(format!("{task} sent {} behind {taken}", source.sequence));
            }
            let output = usize::try_from(taken).ok().and_then(|index| sent.get(index));
            match output {
                Some(output) if output.value == stored.record.value && output.sequence == source.sequence => taken += 1,
                _ => return Err(format!("{task} sent {} which no commit says", source.sequence)),
            }
        }
        if taken == sent.len() as u64 { Ok(()) } else { Err(format!("{task} sent {taken} of {}", sent.len())) }
    }

    pub(crate) fn rows(&self) -> Rows {
        self.rows.clone()
    }

    /// Everything that was acknowledged is there as it was told, at every hop and once; and nothing else is.
    pub(crate) fn check(&self, book: &Book) -> Result<(), String> {
        let mut effects: BTreeMap<(usize, Bytes), (u8, u64)> = BTreeMap::new();
        for ((service, _, store, key), value) in &self.rows {
            if *store == 2 {
                let (times, count) = (mesh::times(value), value.get(1..).map_or(0, mesh::number));
                let effect = effects.entry((*service, key.clone())).or_default();
                *effect = (effect.0.saturating_add(times), count);
            }
        }
        let mut expected = 0;
        for (effect, (_, told)) in &book.acknowledged {
            for (index, name) in mesh::effects_of(effect.as_bytes()).into_iter().enumerate() {
                for service in 0..mesh::SERVICES.len() {
                    expected += 1;
                    let name = Bytes::from(name.clone());
                    match effects.get(&(service, name.clone())) {
                        Some((1, count)) if service > 0 || index > 0 || count == told => {}
                        other => return Err(format!("{name:?} was told {told}, service {service} says {other:?}")),
                    }
                }
            }
        }
        if effects.len() != expected {
            return Err(format!("{expected} effects were acknowledged, {} are there", effects.len()));
        }
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for (key, _) in book.acknowledged.values() {
            *counts.entry(key).or_default() += 1;
        }
        for ((service, _, store, key), value) in &self.rows {
            if (*service, *store) == (0, 1) {
                let key = String::from_utf8_lossy(key);
                let (is, expected) = (mesh::number(value), counts.get(&*key).copied().unwrap_or(0));
                if is != expected {
                    return Err(format!("{key} is {is} after {expected} acknowledged increments"));
                }
            }
        }
        Ok(())
    }
}

pub(crate) async fn all(log: &EmbeddedLog, partition: &TopicPartition) -> Result<Vec<StoredRecord>, String> {
    let latest = log.latest(partition).await.map_err(|error| error.to_string())?;
    let limits = FetchLimits { max_bytes_per_partition: 1 << 20, max_wait: Duration::from_secs(5) };
    let (mut records, mut next) = (Vec::new(), Offset::ZERO);
    while next < latest {
        let from = [FetchFrom { partition: partition.clone(), offset: next }];
        for fetched in log.fetch(&from, limits).await.map_err(|error| error.to_string())? {
            let batch = fetched.result.map_err(|error| error.to_string())?;
            next = batch.records.last().map_or(next, |last| last.offset.next());
            records.extend(batch.records);
        }
    }
    Ok(records)
}
