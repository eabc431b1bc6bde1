//! From the bytes of a fetch to records: each batch checked before it is believed, transactions refused.

use bytes::{Buf, Bytes};
use event_log::{Header, Offset, Record, StoredRecord};
use kafka_protocol::records::RecordBatchDecoder;

/// Layout of a batch's head, as far as it is looked at here.
const LENGTH_AT: usize = 8;
const FRAMING: usize = 12;
const MAGIC_AT: usize = 16;
const ATTRIBUTES_AT: usize = 21;
const LAST_DELTA_AT: usize = 23;
const COUNT_AT: usize = 57;
const HEAD: usize = 61;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const CODEC: i16 = 7;
/// Fewest bytes of a record, and the most records that a compressed batch is believed to have.
const RECORD_BYTES_MIN: usize = 7;
const COMPRESSED_COUNT_MAX: usize = 4_000_000;

/// Why a batch is not delivered.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Unreadable {
    #[error(
        "the batch at offset {0} was written in a transaction: topics with transactional producers are not supported"
    )]
    Transactional(i64),
    #[error("the batch at offset {offset} is damaged: {reason}")]
    Damaged { offset: i64, reason: String },
}

/// What the bytes held.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) records: Vec<StoredRecord>,
    /// Offset behind the last whole batch; the one asked for if there was none.
    pub(crate) next: Offset,
}

impl Read {
    /// The high watermark that goes with these records: brokers look at theirs before they read, so that the records may
    /// lie behind what they name.
    pub(crate) fn high_watermark(&self, named: i64) -> Offset {
        let end = self.records.last().map_or(Offset::ZERO, |last| last.offset.next());
        end.max(Offset(u64::try_from(named).unwrap_or(0)))
    }
}

/// The records from offset `from` on. Brokers begin with the batch that has it, and may end within one.
pub(crate) fn read(mut bytes: Bytes, from: Offset) -> Result<Read, Unreadable> {
    let mut read = Read { records: Vec::new(), next: from };
    while bytes.len() >= HEAD {
        let offset = i64_at(&bytes, 0);
        let damaged = |reason: String| Unreadable::Damaged { offset, reason };
        let length = usize::try_from(i32_at(&bytes, LENGTH_AT)).map_err(|error| damaged(error.to_string()))?;
        let whole = length.saturating_add(FRAMING);
        if whole > bytes.len() {
            break;
        }
        if whole < HEAD {
            return Err(damaged(format!("it has {length} bytes")));
        }
        let mut batch = bytes.split_to(whole);
        let delta = i32_at(&batch, LAST_DELTA_AT);
        check(&batch, offset, delta)?;
        match batch_records(&mut batch, from, &mut read.records) {
            // What was read before is delivered; the next fetch begins here, and fails.
            Err(_) if !read.records.is_empty() => break,
            result => result.map_err(damaged)?,
        }
        let behind = offset.saturating_add(i64::from(delta)).saturating_add(1);
        read.next = read.next.max(Offset(u64::try_from(behind).unwrap_or(0)));
    }
    Ok(read)
}

fn check(batch: &Bytes, offset: i64, last_delta: i32) -> Result<(), Unreadable> {
    let damaged = |reason: String| Err(Unreadable::Damaged { offset, reason });
    if batch[MAGIC_AT] != 2 {
        return damaged(format!("its format is {}, not 2", batch[MAGIC_AT]));
    }
    let attributes = (&batch[ATTRIBUTES_AT..]).get_i16();
    if attributes & (TRANSACTIONAL | CONTROL) != 0 {
        return Err(Unreadable::Transactional(offset));
    }
    let count = i32_at(batch, COUNT_AT);
    let most = if attributes & CODEC == 0 { (batch.len() - HEAD) / RECORD_BYTES_MIN } else { COMPRESSED_COUNT_MAX };
    if offset < 0 || last_delta < 0 || usize::try_from(count).map_or(true, |count| count > most) {
        return damaged(format!("it counts {count} records up to {last_delta} behind its offset"));
    }
    Ok(())
}

fn batch_records(batch: &mut Bytes, from: Offset, records: &mut Vec<StoredRecord>) -> Result<(), String> {
    let decoded = RecordBatchDecoder::decode(batch).map_err(|error| format!("{error:#}"))?;
    records.reserve(decoded.records.len());
    for record in decoded.records {
        let Ok(offset) = u64::try_from(record.offset) else { return Err("it has an offset below 0".to_owned()) };
        if offset < from.0 {
            continue;
        }
        let headers = record.headers.into_iter();
        let headers = headers.map(|(name, value)| Header { name: name.into_bytes(), value: value.unwrap_or_default() });
        let (key, value, timestamp_ms) = (record.key, record.value, record.timestamp);
        let record = Record { key, value, headers: headers.collect(), timestamp_ms };
        records.push(StoredRecord { offset: Offset(offset), record });
    }
    Ok(())
}

fn i32_at(bytes: &Bytes, at: usize) -> i32 {
    (&bytes[at..]).get_i32()
}

fn i64_at(bytes: &Bytes, at: usize) -> i64 {
    (&bytes[at..]).get_i64()
}

#[cfg(test)]
mod tests;
