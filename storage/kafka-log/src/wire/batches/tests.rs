//! Batches as brokers send them, and what a broken or foreign one turns into.

use bytes::{BufMut, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Record as Sent, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType,
};

use super::*;

fn batch(base: i64, count: i64, compression: Compression, transactional: bool) -> Bytes {
    let records: Vec<Sent> = (0..count)
        .map(|delta| Sent {
            transactional,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            timestamp_type: TimestampType::Creation,
            offset: base + delta,
            sequence: i32::try_from(delta).unwrap(),
            timestamp: 1_000 + delta,
            key: Some(Bytes::from_static(b"key")),
            value: Some(Bytes::from(vec![b'x'; 100])),
            headers: IndexMap::from([("h".to_owned().into(), None)]),
        })
        .collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    bytes.freeze()
}

fn joined(batches: &[Bytes]) -> Bytes {
    let mut bytes = BytesMut::new();
    batches.iter().for_each(|batch| bytes.put_slice(batch));
    bytes.freeze()
}

fn offsets(read: &Read) -> Vec<u64> {
    read.records.iter().map(|stored| stored.offset.0).collect()
}

#[test]
fn every_codec_is_read() {
    for codec in [Compression::None, Compression::Gzip, Compression::Lz4, Compression::Snappy, Compression::Zstd] {
        let read = read(batch(5, 3, codec, false), Offset(5)).unwrap();
        assert_eq!((offsets(&read), read.next), (vec![5, 6, 7], Offset(8)), "{codec:?}");
        let record = &read.records[0].record;
        assert_eq!((record.value.as_ref().unwrap().len(), record.timestamp_ms), (100, 1_000));
        assert_eq!(record.headers, [Header::new("h", "")], "a header without a value has an empty one");
    }
}

#[test]
fn reading_begins_within_a_batch_and_ends_before_a_torn_one() {
    let whole = joined(&[batch(0, 4, Compression::None, false), batch(4, 2, Compression::None, false)]);
    let found = read(whole.slice(..whole.len() - 1), Offset(2)).unwrap();
    assert_eq!((offsets(&found), found.next), (vec![2, 3], Offset(4)));
    let found = read(whole.slice(..30), Offset(2)).unwrap();
    assert_eq!((offsets(&found), found.next), (vec![], Offset(2)));
}

#[test]
fn a_hole_is_passed() {
    // A compacted batch: its offsets stay, its records are gone.
    let found = read(batch(0, 4, Compression::None, false), Offset(4)).unwrap();
    assert_eq!((offsets(&found), found.next), (vec![], Offset(4)));
}

#[test]
fn transactions_are_refused() {
    let refused = read(batch(7, 1, Compression::None, true), Offset(7)).unwrap_err();
    assert_eq!(refused, Unreadable::Transactional(7));
}

#[test]
fn no_flipped_bit_is_believed_and_none_panics() {
    let good = batch(0, 3, Compression::None, false);
    // Offset, length and leader epoch stand outside of the checksum.
    for at in MAGIC_AT..good.len() {
        for bit in 0..8 {
            let mut bytes = BytesMut::from(&good[..]);
            bytes[at] ^= 1 << bit;
            assert!(read(bytes.freeze(), Offset(0)).is_err(), "byte {at}, bit {bit}");
        }
    }
    for at in 0..MAGIC_AT {
        for bit in 0..8 {
            let mut bytes = BytesMut::from(&good[..]);
            bytes[at] ^= 1 << bit;
            let _ = read(bytes.freeze(), Offset(0));
        }
    }
}

#[test]
fn what_stands_before_the_damage_is_delivered() {
    let mut bytes =
        BytesMut::from(&joined(&[batch(0, 2, Compression::None, false), batch(2, 2, Compression::None, false)])[..]);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let bytes = bytes.freeze();
    let found = read(bytes.clone(), Offset(0)).unwrap();
    assert_eq!((offsets(&found), found.next), (vec![0, 1], Offset(2)));
    let next = bytes.slice(bytes.len() / 2..);
    assert!(matches!(read(next, Offset(2)), Err(Unreadable::Damaged { offset: 2, .. })));
}
