//! Kafka v2 record batches, verbatim as they stand on disk and on the wire: encode, check, decode.
//!
//! The codec is our own since batches must carry header names that repeat and keep their order, which the map of the
//! `kafka-protocol` crate loses; tests hold it byte for byte to that crate where both can say the same. Base offset and
//! leader epoch lie outside the checksum, so a batch gets its offset without being encoded again. No input panics.

mod records;

use std::sync::OnceLock;

use bytes::Bytes;
use event_log::{Record, StoredRecord};

/// Bytes before the first record.
pub(crate) const HEADER_BYTES: usize = 61;
/// Bytes before the part that the length field counts.
const LENGTH_END: usize = 12;
/// First byte that the checksum covers.
const CHECKED_FROM: usize = 21;
const MAGIC: u8 = 2;
/// Bits of the attributes that name the compression.
const COMPRESSION_MASK: i16 = 0x07;

/// Why bytes are not a batch. Display says what is wrong, not where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    #[error("the batch is cut short")]
    Short,
    #[error("the batch header is not one")]
    Header,
    #[error("the checksum does not match")]
    Checksum,
    #[error("the offset does not follow the one before")]
    Offset,
    #[error("the records do not fill the batch")]
    Records,
    #[error("the batch is compressed, which this version does not read")]
    Compressed,
}

/// The fixed fields of a batch that the log needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) base: u64,
    /// Length of the whole batch in bytes.
    pub(crate) length: usize,
    attributes: i16,
    last_offset_delta: u32,
    base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    count: u32,
}

impl Header {
    /// Reads the fixed fields. Says nothing about the checksum.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Damage> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(Damage::Short)?;
        let i32_at = |at: usize| i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let i64_at =
            |at: usize| i64::from_be_bytes(*bytes[at..].first_chunk().expect("the field lies within the fixed header"));
        let below = |value: i32| u32::try_from(value).map_err(|_| Damage::Header);
        let header = Self {
            base: u64::try_from(i64_at(0)).map_err(|_| Damage::Header)?,
            length: LENGTH_END + below(i32_at(8))? as usize,
            attributes: i16::from_be_bytes([bytes[21], bytes[22]]),
            last_offset_delta: below(i32_at(23))?,
            base_timestamp: i64_at(27),
            max_timestamp: i64_at(35),
            count: below(i32_at(57))?,
        };
        // Compaction may leave fewer records than offsets, never more, and never none.
        let sound = header.length >= HEADER_BYTES
            && (1..=header.last_offset_delta.saturating_add(1)).contains(&header.count)
            && bytes[16] == MAGIC;
        if sound { Ok(header) } else { Err(Damage::Header) }
    }

    /// Number of records.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The offset behind the batch.
    pub(crate) fn end(&self) -> u64 {
        self.base.saturating_add(u64::from(self.last_offset_delta)).saturating_add(1)
    }
}

/// A batch that has no place in a log yet.
#[derive(Debug)]
pub(crate) struct Encoded {
    header: Header,
    raw: Vec<u8>,
}

/// A batch that has been checked: its bytes, and its records once someone has asked for them.
#[derive(Debug)]
pub(crate) struct Batch {
    header: Header,
    raw: Bytes,
    decoded: OnceLock<Result<Box<[StoredRecord]>, Damage>>,
}

/// Size of the batch that [`Encoded::new`] would make, in bytes.
pub(crate) fn encoded_size(records: &[Record]) -> usize {
    HEADER_BYTES + records::size(records)
}

impl Encoded {
    /// Encodes the records as one uncompressed batch, as a producer without idempotence does.
    ///
    /// There must be at least one record, and `encoded_size` below 2 GiB.
    pub(crate) fn new(records: &[Record]) -> Self {
        let size = encoded_size(records);
        let timestamps = || records.iter().map(|record| record.timestamp_ms);
        let count = u32::try_from(records.len()).expect("a batch below 2 GiB has fewer records than bytes");
        let header = Header {
            base: 0,
            length: size,
            attributes: 0,
            last_offset_delta: count.saturating_sub(1),
            base_timestamp: timestamps().min().unwrap_or_default(),
            max_timestamp: timestamps().max().unwrap_or_default(),
            count,
        };
        let mut raw = Vec::with_capacity(size);
        raw.extend_from_slice(&header.base.to_be_bytes());
        let counted = u32::try_from(size - LENGTH_END).expect("a batch is below 2 GiB");
        raw.extend_from_slice(&counted.to_be_bytes());
        raw.extend_from_slice(&0_i32.to_be_bytes()); // leader epoch
        raw.push(MAGIC);
        raw.extend_from_slice(&[0; 4]); // checksum, below
        raw.extend_from_slice(&header.attributes.to_be_bytes());
        raw.extend_from_slice(&header.last_offset_delta.to_be_bytes());
        raw.extend_from_slice(&header.base_timestamp.to_be_bytes());
        raw.extend_from_slice(&header.max_timestamp.to_be_bytes());
        // No producer id, no epoch, no sequence: -1 each.
        raw.extend_from_slice(&[0xff; 14]);
        raw.extend_from_slice(&count.to_be_bytes());
        records::encode(records, header.base_timestamp, &mut raw);
        debug_assert_eq!(raw.len(), size);
        let checksum = crc32c::crc32c(&raw[CHECKED_FROM..]);
        raw[17..CHECKED_FROM].copy_from_slice(&checksum.to_be_bytes());
        Self { header, raw }
    }

    /// Gives the batch its place. The checksum does not cover it.
    pub(crate) fn at(mut self, base: u64) -> Batch {
        self.raw[..8].copy_from_slice(&base.to_be_bytes());
        Batch { header: Header { base, ..self.header }, raw: self.raw.into(), decoded: OnceLock::new() }
    }

    /// Length of the batch in bytes.
    pub(crate) fn length(&self) -> usize {
        self.raw.len()
    }
}

impl Batch {
    /// Takes the batch at the front of `bytes` after checking it whole.
    pub(crate) fn check(bytes: &Bytes) -> Result<Self, Damage> {
        let header = Header::read(bytes)?;
        let raw = bytes.get(..header.length).ok_or(Damage::Short)?;
        let stated = u32::from_be_bytes(*raw[17..].first_chunk().expect("the header is there"));
        if stated != crc32c::crc32c(&raw[CHECKED_FROM..]) {
            return Err(Damage::Checksum);
        }
        Ok(Self { header, raw: bytes.slice(..header.length), decoded: OnceLock::new() })
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The first offset.
    pub(crate) fn base(&self) -> u64 {
        self.header.base
    }

    /// The offset behind the last record.
    pub(crate) fn end(&self) -> u64 {
        self.header.end()
    }

    /// Memory that the batch occupies once its records were read, in bytes, roughly.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.raw.len() + size_of::<Self>() + self.header.count as usize * (size_of::<StoredRecord>() + 64)
    }

    /// The records. They share the memory of the batch and are decoded once, however many readers come.
    pub(crate) fn records(&self) -> Result<&[StoredRecord], Damage> {
        self.decoded.get_or_init(|| self.decode().map(Vec::into_boxed_slice)).as_deref().map_err(|damage| *damage)
    }

    /// The records of a batch that no other reader will ask.
    pub(crate) fn into_records(self) -> Result<Vec<StoredRecord>, Damage> {
        self.decode()
    }

    fn decode(&self) -> Result<Vec<StoredRecord>, Damage> {
        if self.header.attributes & COMPRESSION_MASK != 0 {
            return Err(Damage::Compressed);
        }
        records::decode(&self.raw, &self.header)
    }
}

#[cfg(test)]
mod tests;
