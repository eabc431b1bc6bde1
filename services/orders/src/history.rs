//! The history of an order: its row has marks, the topics have the records.

use proto::orders::v1 as api;
use service_host::{Problem, owner};
use task_runtime::{FeedError, Feeds, Source, StoredRecord};

use crate::domain::{Mark, Marked};
use crate::wire::history::{entry, topic};

/// Follows the marks of an order. What its topic does not keep any more is left out.
///
/// # Errors
/// The log does not answer.
pub(crate) async fn entries(
    feeds: &Feeds,
    partition: u32,
    order_id: &str,
    marks: &[Mark],
) -> Result<Vec<api::HistoryEntry>, Problem> {
    let mut entries = Vec::with_capacity(marks.len());
    // Records of orders stand in the order of their numbers, and not before their marks.
    let (mut number, mut offset) = (0, 0);
    for mark in marks {
        let found = match mark.topic {
            Marked::Orders => {
                let from = mark.at.max(offset);
                feeds.find(topic(mark.topic), partition, from, order_id.as_bytes(), number).await
            }
            _ => feeds.record(topic(mark.topic), partition, mark.at).await,
        };
        let Some(stored) = found.map_err(|error| unread(partition, &error))? else { continue };
        if mark.topic == Marked::Orders {
            number = Source::of(&stored.record).map_or(number, |source| source.sequence);
            offset = stored.offset.0 + 1;
        }
        if is_about(&stored, order_id) {
            entries.push(entry(mark.topic, partition, &stored));
        }
    }
    Ok(entries)
}

fn is_about(stored: &StoredRecord, order_id: &str) -> bool {
    stored.record.key.as_deref() == Some(order_id.as_bytes())
}

fn unread(partition: u32, error: &FeedError) -> Problem {
    match error {
        FeedError::Log(error) if error.is_retryable() => Problem::rebalancing(crate::SERVICE, partition),
        error => owner::unreadable("a topic of the history", error),
    }
}
