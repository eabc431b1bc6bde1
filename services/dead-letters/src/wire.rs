//! Bytes and proto to domain and back; the only place that converts.

use bytes::Bytes;
use proto::mesh::v1 as pb;
use service_host::Problem;
use service_host::input::{InputError, decode};
use service_host::timestamp;
use task_runtime::{DeadLetter, Input, Replay};

use crate::domain::{LetterId, Refusal};
use crate::topics;

/// Most of a key, a value or a header that a list of several letters shows, in bytes.
const SHOWN_BYTES_MAX: usize = 4 * 1024;

/// The row of a letter that came in.
pub(crate) fn row(id: &LetterId, input: &Input<'_>) -> pb::DeadLetterRow {
    let DeadLetter { reason, topic, partition, offset, handled_as, cut_from_bytes, headers } =
        DeadLetter::of(input.record);
    let header = |header| {
        let (name, value) = header;
        pb::DeadLetterHeaderRow { name, value }
    };
    pb::DeadLetterRow {
        dead_letter_id: id.to_string(),
        reason,
        topic,
        partition,
        offset,
        handled_as,
        key: input.record.key.clone(),
        value: input.record.value.clone(),
        headers: headers.into_iter().map(header).collect(),
        timestamp_ms: input.record.timestamp_ms,
        cut_from_bytes,
        state: pb::DeadLetterState::Waiting.into(),
        replayed_ms: 0,
    }
}

/// Reads a row.
pub(crate) fn letter(row: &Bytes) -> Result<pb::DeadLetterRow, InputError> {
    decode("DeadLetterRow", row)
}

/// The record of a letter, for the service that could not process it.
pub(crate) fn replay(service: &str, row: &pb::DeadLetterRow) -> Replay {
    Replay {
        replays: topics::replays(service),
        handled_as: row.handled_as.clone(),
        // One that failed again has the place of its replay, and its first place in a header.
        offset: (row.topic == row.handled_as).then_some(row.offset),
        key: row.key.clone(),
        value: row.value.clone(),
        headers: row.headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect(),
        timestamp_ms: row.timestamp_ms,
    }
}

/// A letter as clients see it; its whole value only if that is asked for.
pub(crate) fn letter_to_proto(service: &str, row: pb::DeadLetterRow, whole: bool) -> pb::DeadLetter {
    let value_bytes = row.cut_from_bytes.unwrap_or_else(|| row.value.as_ref().map_or(0, Bytes::len) as u64);
    let shown = |value: Bytes| if whole { value } else { value.slice(..value.len().min(SHOWN_BYTES_MAX)) };
    let header = |header: pb::DeadLetterHeaderRow| pb::DeadLetterHeader {
        name: String::from_utf8_lossy(&header.name).into_owned(),
        value: shown(header.value),
    };
    let is_replayed = row.state() == pb::DeadLetterState::Replayed;
    pb::DeadLetter {
        dead_letter_id: row.dead_letter_id,
        service: service.to_owned(),
        reason: row.reason,
        topic: row.topic,
        partition: i32::try_from(row.partition).unwrap_or(i32::MAX),
        offset: i64::try_from(row.offset).unwrap_or(i64::MAX),
        key: row.key.map(shown),
        value: row.value.map(shown),
        value_bytes: i64::try_from(value_bytes).unwrap_or(i64::MAX),
        headers: row.headers.into_iter().map(header).collect(),
        time: Some(timestamp(row.timestamp_ms)),
        state: row.state,
        replay_time: is_replayed.then(|| timestamp(row.replayed_ms)),
        is_cut: row.cut_from_bytes.is_some(),
    }
}

/// The state that a list asks for; `Ok(None)` for all.
pub(crate) fn state_filter(value: i32) -> Result<Option<i32>, ()> {
    match pb::DeadLetterState::try_from(value) {
        Ok(pb::DeadLetterState::Unspecified) => Ok(None),
        Ok(_) => Ok(Some(value)),
        Err(_) => Err(()),
    }
}

/// What a client is told of a refusal. `earlier` is the letter that an [`Refusal::EarlierWaiting`] speaks of.
pub(crate) fn problem(refusal: &Refusal, row: &pb::DeadLetterRow, earlier: &str) -> Problem {
    let id = &row.dead_letter_id;
    match refusal {
        Refusal::Cut => {
            let pb::DeadLetterRow { topic, partition, offset, .. } = row;
            let message = format!("letter {id} holds only a part of its record, which is {topic}/{partition}/{offset}");
            Problem::refused("LETTER_CUT", message)
                .with("topic", topic)
                .with("partition", partition)
                .with("offset", offset)
        }
        Refusal::NoSource => {
            Problem::refused("LETTER_WITHOUT_SOURCE", format!("letter {id} does not say where it came from"))
        }
        Refusal::EarlierWaiting(_) => {
            let message = format!("letter {earlier} of the same key came before {id}, and waits");
            Problem::refused("EARLIER_LETTER_WAITING", message).with("dead_letter_id", earlier)
        }
    }
}
