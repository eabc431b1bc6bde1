//! The codec against the protocol crate, byte for byte, and against damaged batches.

use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as kafka;
use proptest::collection::vec;
use proptest::prelude::*;

use event_log::{Header as RecordHeader, Offset};

use super::*;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn record() -> impl Strategy<Value = Record> {
    let header = (bytes(), bytes()).prop_map(|(name, value)| RecordHeader { name, value });
    let timestamp = prop_oneof![any::<i64>(), -5..5_i64, Just(1_763_700_000_000)];
    (proptest::option::of(bytes()), proptest::option::of(bytes()), vec(header, 0..4), timestamp)
        .prop_map(|(key, value, headers, timestamp_ms)| Record { key, value, headers, timestamp_ms })
}

/// What the crate of the Kafka protocol makes of the same records: offsets and sequences count from 0, so that it is one batch.
fn by_the_protocol_crate(records: &[Record]) -> Vec<u8> {
    let records: Vec<kafka::Record> = records
        .iter()
        .zip(0..)
        .map(|(record, offset)| kafka::Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 0,
            producer_id: kafka::NO_PRODUCER_ID,
            producer_epoch: kafka::NO_PRODUCER_EPOCH,
            timestamp_type: kafka::TimestampType::Creation,
            offset: i64::from(offset),
            sequence: offset,
            timestamp: record.timestamp_ms,
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.iter().map(|h| (text(&h.name), Some(h.value.clone()))).collect::<IndexMap<_, _>>(),
        })
        .collect();
    let options = kafka::RecordEncodeOptions { version: 2, compression: kafka::Compression::None };
    let mut encoded = bytes::BytesMut::new();
    kafka::RecordBatchEncoder::encode(&mut encoded, &records, &options).unwrap();
    encoded.to_vec()
}

fn text(bytes: &Bytes) -> StrBytes {
    StrBytes::from_utf8(bytes.clone()).unwrap()
}

proptest! {
    #[test]
    fn records_come_back(records in vec(record(), 1..20), base in 0..u64::MAX / 4) {
        let batch = Encoded::new(&records).at(base);
        prop_assert_eq!(batch.raw().len(), encoded_size(&records));
        let read = Batch::check(&Bytes::copy_from_slice(batch.raw())).unwrap();
        prop_assert_eq!(read.header(), batch.header());
        prop_assert_eq!(read.end(), base + records.len() as u64);
        let expected: Vec<StoredRecord> =
            records.into_iter().zip(base..).map(|(record, o)| StoredRecord { offset: Offset(o), record }).collect();
        prop_assert_eq!(read.records().unwrap(), &expected);
        prop_assert_eq!(batch.records().unwrap(), &expected);
        prop_assert_eq!(read.into_records().unwrap(), expected);
    }

    #[test]
    fn a_changed_byte_is_found(records in vec(record(), 1..5), at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut raw = Encoded::new(&records).at(0).raw().to_vec();
        // The first 16 bytes are the offset, the length and the epoch, which the checksum does not cover.
        let at = 16 + at.index(raw.len() - 16);
        raw[at] ^= 1_u8 << bit;
        prop_assert!(Batch::check(&raw.into()).is_err());
    }

    #[test]
    fn any_bytes_are_refused_without_panic(mut raw in vec(any::<u8>(), 0..300), plausible in any::<bool>()) {
        if plausible && raw.len() >= HEADER_BYTES {
            // A header and a checksum that fit lead further in.
            let length = u32::try_from(raw.len() - LENGTH_END).unwrap();
            raw[..4].fill(0);
            raw[8..12].copy_from_slice(&length.to_be_bytes());
            raw[16] = MAGIC;
            raw[21..23].fill(0);
            raw[23..26].fill(0);
            raw[57..60].fill(0);
            let checksum = crc32c::crc32c(&raw[CHECKED_FROM..]);
            raw[17..21].copy_from_slice(&checksum.to_be_bytes());
        }
        if let Ok(batch) = Batch::check(&raw.into()) {
            let _ = batch.records();
        }
    }
}

#[test]
fn batches_are_what_the_protocol_crate_writes() {
    let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let record = |key, value, headers, timestamp_ms| Record { key, value, headers, timestamp_ms };
    let headers = vec![RecordHeader::new("traceparent", "00-1-2-01"), RecordHeader::new("empty", "")];
    let batches = [
        vec![record(value("key"), value("value"), headers.clone(), 1_763_700_000_000)],
        vec![record(None, None, vec![], 0), record(value(""), value(""), vec![], -7)],
        (0..300).map(|n| record(value("k"), Some(vec![b'x'; n].into()), headers.clone(), n as i64 * 1_000)).collect(),
    ];
    for records in batches {
        let ours = Encoded::new(&records).at(0);
        let mut theirs = by_the_protocol_crate(&records);
        // They cannot say "no sequence" for several records of one batch; the checksum follows from it.
        theirs[53..57].fill(0xff);
        let checksum = crc32c::crc32c(&theirs[CHECKED_FROM..]);
        theirs[17..CHECKED_FROM].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(ours.raw(), theirs);
        let decoded = kafka::RecordBatchDecoder::decode(&mut Bytes::copy_from_slice(ours.raw())).unwrap();
        assert_eq!(decoded.records.len(), records.len());
    }
}

#[test]
fn compressed_batches_are_named_as_such() {
    let mut raw = Encoded::new(&[Record::default()]).at(0).raw().to_vec();
    raw[22] |= 2;
    let checksum = crc32c::crc32c(&raw[CHECKED_FROM..]);
    raw[17..CHECKED_FROM].copy_from_slice(&checksum.to_be_bytes());
    let batch = Batch::check(&raw.into()).unwrap();
    assert_eq!(batch.records(), Err(Damage::Compressed));
}
