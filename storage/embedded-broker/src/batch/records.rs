//! The records inside a batch: lengths and deltas as zigzag varints, keys and values as slices of the batch.

use bytes::Bytes;
use event_log::{Header as RecordHeader, Offset, Record, StoredRecord};

use super::{Damage, HEADER_BYTES, Header};

/// Bytes of a record apart from its key, value and headers, at least: a bound on how many a batch can hold.
const RECORD_BYTES_MIN: usize = 7;

pub(super) fn size(records: &[Record]) -> usize {
    let base_timestamp = records.iter().map(|record| record.timestamp_ms).min().unwrap_or_default();
    let sizes = records.iter().zip(0..).map(|(record, delta)| {
        let body = body_size(record, base_timestamp, delta);
        varint_size(length(body)) + body
    });
    sizes.sum()
}

pub(super) fn encode(records: &[Record], base_timestamp: i64, out: &mut Vec<u8>) {
    for (record, delta) in records.iter().zip(0..) {
        put_varint(length(body_size(record, base_timestamp, delta)), out);
        out.push(0); // attributes, unused
        put_varint(record.timestamp_ms.wrapping_sub(base_timestamp), out);
        put_varint(delta, out);
        put_optional(record.key.as_ref(), out);
        put_optional(record.value.as_ref(), out);
        put_varint(length(record.headers.len()), out);
        for header in &record.headers {
            put_optional(Some(&header.name), out);
            put_optional(Some(&header.value), out);
        }
    }
}

fn body_size(record: &Record, base_timestamp: i64, delta: i64) -> usize {
    let headers: usize =
        record.headers.iter().map(|h| optional_size(Some(&h.name)) + optional_size(Some(&h.value))).sum();
    1 + varint_size(record.timestamp_ms.wrapping_sub(base_timestamp))
        + varint_size(delta)
        + optional_size(record.key.as_ref())
        + optional_size(record.value.as_ref())
        + varint_size(length(record.headers.len()))
        + headers
}

fn length(bytes: usize) -> i64 {
    i64::try_from(bytes).expect("nothing in memory is that large")
}

fn optional_size(bytes: Option<&Bytes>) -> usize {
    bytes.map_or(1, |bytes| varint_size(length(bytes.len())) + bytes.len())
}

/// Absent is a length of -1.
fn put_optional(bytes: Option<&Bytes>, out: &mut Vec<u8>) {
    match bytes {
        None => put_varint(-1, out),
        Some(bytes) => {
            put_varint(length(bytes.len()), out);
            out.extend_from_slice(bytes);
        }
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn varint_size(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn put_varint(value: i64, out: &mut Vec<u8>) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Decodes the records of a batch whose header was read and whose length was checked.
pub(super) fn decode(raw: &Bytes, header: &Header) -> Result<Vec<StoredRecord>, Damage> {
    let count = header.count as usize;
    // The count is not trusted with memory: a batch of this length cannot have more records than this.
    let mut records = Vec::with_capacity(count.min(raw.len() / RECORD_BYTES_MIN));
    let mut input = Cursor { raw, at: HEADER_BYTES };
    for _ in 0..count {
        records.push(input.record(header)?);
    }
    if input.at == raw.len() { Ok(records) } else { Err(Damage::Records) }
}

/// A place in a batch. Reading past its end is damage, never a panic.
struct Cursor<'a> {
    raw: &'a Bytes,
    at: usize,
}

impl Cursor<'_> {
    fn record(&mut self, header: &Header) -> Result<StoredRecord, Damage> {
        let size = self.length()?.ok_or(Damage::Records)?;
        let end = self.at.checked_add(size).filter(|end| *end <= self.raw.len()).ok_or(Damage::Records)?;
        self.byte()?;
        let timestamp_ms = header.base_timestamp.wrapping_add(self.varint()?);
        let delta = u32::try_from(self.varint()?).map_err(|_| Damage::Records)?;
        if delta > header.last_offset_delta {
            return Err(Damage::Records);
        }
        let offset = Offset(header.base.saturating_add(u64::from(delta)));
        let key = self.optional()?;
        let value = self.optional()?;
        let count = self.length()?.ok_or(Damage::Records)?;
        let mut headers = Vec::with_capacity(count.min(self.raw.len() / 2));
        for _ in 0..count {
            let name = self.optional()?.ok_or(Damage::Records)?;
            // The port knows no absent header value: other producers' absent ones read as empty.
            headers.push(RecordHeader { name, value: self.optional()?.unwrap_or_default() });
        }
        if self.at != end {
            return Err(Damage::Records);
        }
        Ok(StoredRecord { offset, record: Record { key, value, headers, timestamp_ms } })
    }

    fn byte(&mut self) -> Result<u8, Damage> {
        let byte = *self.raw.get(self.at).ok_or(Damage::Records)?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<i64, Damage> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(Damage::Records)
    }

    /// A length, or -1 for absent.
    fn length(&mut self) -> Result<Option<usize>, Damage> {
        match self.varint()? {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| Damage::Records),
        }
    }

    fn optional(&mut self) -> Result<Option<Bytes>, Damage> {
        let Some(length) = self.length()? else { return Ok(None) };
        let end = self.at.checked_add(length).filter(|end| *end <= self.raw.len()).ok_or(Damage::Records)?;
        let bytes = self.raw.slice(self.at..end);
        self.at = end;
        Ok(Some(bytes))
    }
}
