//! Reading many partitions in one wait. Who has come to the end of partitions waits for their [tails](super::tail); for
//! all others there is one request for each broker that leads some of them, all waiting at once.
//!
//! What always holds: records, or an error, end the wait at once. A request that is then still waiting at a broker goes on
//! by itself, and the next fetch from the same offsets takes it over instead of asking again.

use std::sync::Arc;
use std::time::Duration;

use event_log::{FetchFrom, FetchLimits, Fetched, Offset, TopicPartition};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::cluster::{Cluster, Led};
use super::offsets;
use super::tail::Look;

mod direct;
mod parked;

use direct::{Direct, Found, Positions};
pub(crate) use parked::Shared;

/// Most bytes asked of one partition in one answer.
const PARTITION_BYTES_MAX: usize = 16 << 20;
/// How long what is at hand waits for what lies further back: a broker that hangs shall not keep the others' records.
const PROBE: Duration = Duration::from_millis(250);

/// Reads as [`event_log::EventLog::fetch`] says.
pub(crate) async fn fetch(
    cluster: &Arc<Cluster>,
    shared: &Shared,
    from: &[FetchFrom],
    limits: FetchLimits,
) -> Vec<Fetched> {
    let deadline = Instant::now() + limits.max_wait;
    if from.is_empty() {
        sleep_until(deadline).await;
        return Vec::new();
    }
    let mut positions: Positions = from.iter().map(|from| (from.partition.clone(), from.offset)).collect();
    let fetched = |(at, result): (usize, _)| Fetched { partition: from[at].partition.clone(), result };
    let bytes = limits.max_bytes_per_partition.clamp(1, PARTITION_BYTES_MAX);
    if limits.max_wait.is_zero() {
        // Who does not want to wait wants to know what is there now.
        let (found, _) = Direct::new(cluster, shared, bytes, deadline, positions).run().await;
        return found.into_iter().map(fetched).collect();
    }
    let mut reader = shared.tails.reader();
    let mut is_at_end = false;
    loop {
        let Look { ready, outside, further_back } = reader.look(cluster, &positions, bytes);
        let mut answer: Found = ready.into_iter().map(|(at, batch)| (at, Ok(batch))).collect();
        let (now, is_enough) = (Instant::now(), !answer.is_empty());
        // What is at hand does not keep the reader from what lies further back, however much of it there always is.
        if is_enough && !further_back || !is_enough && now >= deadline {
            return answer.into_iter().map(fetched).collect();
        }
        if outside.is_empty() {
            // Over in any case once the deadline is.
            let _ = timeout_at(deadline, reader.woken.notified()).await;
            continue;
        }
        let is_probe = is_enough || further_back && !is_at_end;
        let until = if is_probe { now } else { deadline };
        let asked = outside.iter().map(|at| positions[*at].clone()).collect();
        let (found, reached) = tokio::select! {
            biased;
            found = Direct::new(cluster, shared, bytes, until, asked).run() => found,
            () = reader.woken.notified(), if !is_enough => continue,
            () = sleep(PROBE), if is_enough => return answer.into_iter().map(fetched).collect(),
        };
        is_at_end = true;
        for (place, (at, (partition, offset))) in outside.iter().zip(reached).enumerate() {
            let end = match found.get(&place) {
                None => Some(offset),
                Some(Ok(batch)) => batch.end().filter(|end| *end >= batch.high_watermark),
                Some(Err(_)) => None,
            };
            if let (Some(end), Led::At(broker)) = (end, cluster.metadata().leader(&partition)) {
                shared.tails.begin(cluster, &broker, &partition, end);
            }
            positions[*at].1 = offset;
        }
        answer.extend(found.into_iter().map(|(place, result)| (outside[place], result)));
        if !answer.is_empty() {
            return answer.into_iter().map(fetched).collect();
        }
    }
}

/// Partitions as a request names them, each from its offset.
pub(super) fn wanted<'a>(from: impl Iterator<Item = &'a (TopicPartition, Offset)>, bytes: usize) -> Vec<FetchTopic> {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for (partition, offset) in from {
        let name = offsets::name(&partition.topic);
        let wanted = FetchPartition::default()
            .with_partition(offsets::index(partition))
            .with_fetch_offset(i64::try_from(offset.0).unwrap_or(i64::MAX))
            .with_partition_max_bytes(i32::try_from(bytes).unwrap_or(i32::MAX));
        match topics.iter_mut().find(|topic| topic.topic == name) {
            Some(topic) => topic.partitions.push(wanted),
            None => topics.push(FetchTopic::default().with_topic(name).with_partitions(vec![wanted])),
        }
    }
    topics
}

#[cfg(test)]
mod tests;
