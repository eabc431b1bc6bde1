//! Reading a partition of a feed from the log: which records are events, which are repeats, and what must not be.

use std::time::Duration;

use event_log::{Error, FetchFrom, FetchLimits, Offset, StoredRecord};

use super::{Channel, Event, Feed, FeedError, FeedPosition, Place, Shared};
use crate::{Source, schema};

/// Longest wait of one fetch: records end it.
const WAIT: Duration = Duration::from_secs(30);
/// Pauses while the log does not answer.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Reads from `at` on into the ring until its turn is over or the log has no more for these readers. Being aborted only spares
/// it the wait for that: it may be past its last `await`.
pub(super) async fn run(feed: Feed, partition: u32, mut at: FeedPosition, turn: u64) {
    let shared = &*feed.0;
    let channel = &shared.partitions[partition as usize];
    let mut pause = PAUSE;
    let accounted = at.sequence;
    let mut base = Base::Unknown;
    loop {
        match read(shared, channel, &mut at, (&mut base, accounted), WAIT).await {
            Ok(events) => {
                pause = PAUSE;
                if !channel.ring().push(turn, base.take(), events, at) {
                    return;
                }
            }
            Err(FeedError::Log(error)) if error.is_retryable() => {
                tracing::warn!(partition = %channel.at, %error, "the feed is delayed");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Err(error) => {
                tracing::warn!(partition = %channel.at, %error, "the feed ends");
                channel.ring().fail(turn, &error);
                return;
            }
        }
    }
}

/// Where the numbers in the log begin for a reader.
///
/// A position can have a higher number than the log at its offset: what a state accounts for may not be published yet. One
/// who reads for others has to show these records too.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// With the number of the position, whatever the log says.
    OfPosition,
    /// With the first record that comes. Is that less, the position accounts for more than the log had then. Is it more, the position
    /// is not true, or records are missing: whoever has not seen what is before it has ended, and nobody else has.
    Unknown,
    /// Here: found out just now.
    Found(u64),
}

impl Base {
    fn take(&mut self) -> Option<u64> {
        match *self {
            Self::Found(base) => {
                *self = Self::OfPosition;
                Some(base)
            }
            Self::OfPosition | Self::Unknown => None,
        }
    }
}

/// One fetch. Returns what is new in it and moves `at` behind it. Records up to the number `accounted` are no news to who
/// began to read: that some of them are not seen from there on is no loss.
pub(super) async fn read(
    shared: &Shared,
    channel: &Channel,
    at: &mut FeedPosition,
    (base, accounted): (&mut Base, u64),
    max_wait: Duration,
) -> Result<Vec<Event>, FeedError> {
    let from = [FetchFrom { partition: channel.at.clone(), offset: Offset(at.offset) }];
    let limits = FetchLimits { max_bytes_per_partition: shared.config.fetch_bytes, max_wait };
    let Some(fetched) = shared.log.fetch(&from, limits).await?.pop() else { return Ok(Vec::new()) };
    let records = match fetched.result {
        Ok(batch) => batch.records,
        Err(Error::OffsetOutOfRange { earliest, .. }) => return Err(FeedError::Expired { earliest: earliest.0 }),
        Err(error) => return Err(error.into()),
    };
    let mut events = Vec::with_capacity(records.len());
    for stored in &records {
        events.extend(event(shared, channel, at, (base, accounted), stored)?);
    }
    Ok(events)
}

/// What a record is to readers who stand at `at`, which moves behind it.
fn event(
    shared: &Shared,
    channel: &Channel,
    at: &mut FeedPosition,
    (base, accounted): (&mut Base, u64),
    stored: &StoredRecord,
) -> Result<Option<Event>, FeedError> {
    let StoredRecord { offset, record } = stored;
    if offset.0 < at.offset {
        return Ok(None);
    }
    // Only the task writes here; a record without its name comes from somewhere else and has no place in its order.
    let Some(source) = Source::of(record).filter(|source| source.task == channel.task) else {
        at.offset = offset.0 + 1;
        return Ok(None);
    };
    if source.incarnation != at.incarnation {
        return Err(FeedError::AnotherLife);
    }
    if *base == Base::Unknown {
        let before = source.sequence.saturating_sub(1);
        at.sequence = if before > accounted { before } else { before.min(at.sequence) };
        *base = Base::Found(at.sequence);
    }
    // A repeat that landed late may be the first that is seen: then the numbers behind it stand before, and are accounted for.
    if source.sequence > at.sequence.max(accounted).saturating_add(1) {
        tracing::error!(partition = %channel.at, %offset, sequence = source.sequence, seen = at.sequence, "records are missing");
        return Err(FeedError::Expired { earliest: offset.0 });
    }
    at.offset = offset.0 + 1;
    if source.sequence <= at.sequence {
        return Ok(None);
    }
    at.sequence = source.sequence;
    let place = Place { partition: channel.at.partition, sequence: source.sequence };
    let content = (shared.decode)(&schema::bare(record), place);
    let key = record.key.clone().unwrap_or_default();
    Ok(content.map(|content| Event { offset: offset.0, sequence: source.sequence, key, content }))
}
